"""Projection heads: the small networks that the loss sees and that are thrown away afterwards."""

from torch import nn

from fewlabels.errors import UserError


def projection_head(*, inputs: int, layers: int, hidden: int, outputs: int, batch_norm: bool = True) -> nn.Sequential:
    """Linear layers with ReLU between them, and batch normalisation before each ReLU if asked for.

    SimCLR's first version has two layers (Chen et al. 2020a, §2.1), its second three (Chen et al. 2020b, §3.1).

    Args:
        inputs: D, the dimension of the embedding.
        layers: Number of linear layers, at least 1.
        hidden: Width of those between.
        outputs: Dimension that the loss sees.
        batch_norm: Normalise between layers; biases before a normalisation are left out, since it removes them.

    Raises:
        UserError: Fewer than one layer.
    """
    if not all(isinstance(number, int) for number in (layers, hidden, outputs)) or min(hidden, outputs) < 1:
        raise UserError(
            f"method.head: layers={layers}, hidden={hidden}, outputs={outputs} must be whole numbers above 0."
        )
    if layers < 1:
        raise UserError(f"method.head.layers={layers}: a projection head has at least 1 layer; 2 and 3 are usual.")
    modules: list[nn.Module] = []
    for _ in range(layers - 1):
        modules.append(nn.Linear(inputs, hidden, bias=not batch_norm))
        modules += [nn.BatchNorm1d(hidden), nn.ReLU()] if batch_norm else [nn.ReLU()]
        inputs = hidden
    return nn.Sequential(*modules, nn.Linear(inputs, outputs))
