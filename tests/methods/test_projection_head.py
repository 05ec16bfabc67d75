"""The layers of projection heads."""

import pytest
import torch
from torch import nn

from fewlabels.core.errors import UserError
from fewlabels.methods.projection_head import projection_head


def layer_types(head):
    return [type(layer) for layer in head]


@pytest.mark.parametrize(
    ("layers", "hidden"),
    [(1, []), (2, [nn.Linear, nn.BatchNorm1d, nn.ReLU]), (3, 2 * [nn.Linear, nn.BatchNorm1d, nn.ReLU])],
)
def test_hidden_layers_have_batch_norm_and_relu(layers, hidden):
    head = projection_head(inputs=6, layers=layers, hidden=5, outputs=4)
    assert layer_types(head) == [*hidden, nn.Linear]
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [6, 5, 5][:layers]
    assert linear[-1].out_features == 4
    assert [layer.bias is None for layer in linear] == [True] * (layers - 1) + [False]
    assert head(torch.rand(3, 6)).shape == (3, 4)


def test_without_batch_norm_hidden_layers_have_a_bias():
    head = projection_head(inputs=6, layers=2, hidden=5, outputs=4, batch_norm=False)
    assert layer_types(head) == [nn.Linear, nn.ReLU, nn.Linear]
    assert head[0].bias is not None


@pytest.mark.parametrize(("sizes", "message"), [
    ({"layers": 0, "hidden": 5, "outputs": 4}, r"method\.head\.layers=0: give at least 1"),
    ({"layers": 2, "hidden": 0, "outputs": 4}, r"method\.head: layers=2, hidden=0, outputs=4: give whole numbers"),
    ({"layers": 2, "hidden": 5, "outputs": 4.5}, r"method\.head: layers=2, hidden=5, outputs=4\.5"),
])  # fmt: skip
def test_sizes_that_are_not_positive_integers_are_refused(sizes, message):
    with pytest.raises(UserError, match=message):
        projection_head(inputs=6, **sizes)
