import pytest
import torch
from torch import nn

from fewlabels.errors import UserError
from fewlabels.methods.heads import projection_head


def kinds(head):
    return [type(layer) for layer in head]


@pytest.mark.parametrize(
    ("layers", "between"),
    [(1, []), (2, [nn.Linear, nn.BatchNorm1d, nn.ReLU]), (3, 2 * [nn.Linear, nn.BatchNorm1d, nn.ReLU])],
)
def test_batch_norm_and_relu_stand_between_linear_layers(layers, between):
    head = projection_head(inputs=6, layers=layers, hidden=5, outputs=4)
    assert kinds(head) == [*between, nn.Linear]
    linear = [layer for layer in head if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [6, 5, 5][:layers]
    assert linear[-1].out_features == 4
    assert [layer.bias is None for layer in linear] == [True] * (layers - 1) + [False]
    assert head(torch.rand(3, 6)).shape == (3, 4)


def test_without_batch_norm_there_are_biases():
    head = projection_head(inputs=6, layers=2, hidden=5, outputs=4, batch_norm=False)
    assert kinds(head) == [nn.Linear, nn.ReLU, nn.Linear]
    assert head[0].bias is not None


def test_no_layer_is_refused():
    with pytest.raises(UserError, match=r"method\.head\.layers=0"):
        projection_head(inputs=6, layers=0, hidden=5, outputs=4)
