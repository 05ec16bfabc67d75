"""Projection head: a small network between backbone and loss, discarded after pretraining."""

from torch import nn

from fewlabels.core.errors import UserError


def projection_head(*, inputs: int, layers: int, hidden: int, outputs: int, batch_norm: bool = True) -> nn.Sequential:
    """Linear layers with ReLU between them, and optionally batch normalisation before each ReLU.

    SimCLR's first version has two layers (Chen et al. 2020a, §2.1), its second three (Chen et al. 2020b, §3.1).

    Args:
        inputs: D, the dimension of the embedding.
        layers: Number of linear layers, at least 1.
        hidden: Width of the hidden layers.
        outputs: Dimension of the output.
        batch_norm: Normalise the hidden layers, whose biases are then omitted as redundant.

    Raises:
        UserError: A number is not a positive integer.
    """
    if not all(isinstance(number, int) for number in (layers, hidden, outputs)) or min(hidden, outputs) < 1:
        raise UserError(
            f"method.head: layers={layers}, hidden={hidden}, outputs={outputs}: give whole numbers above 0, such as "
            "layers=2, hidden=512, outputs=128."
        )
    if layers < 1:
        raise UserError(f"method.head.layers={layers}: give at least 1 layer; 2 and 3 are usual.")
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules.append(nn.Linear(inputs, hidden, bias=not batch_norm))
        modules += [nn.BatchNorm1d(hidden), nn.ReLU()] if batch_norm else [nn.ReLU()]
        inputs = hidden
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
