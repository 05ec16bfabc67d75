"""Files of weights."""

import pytest
import torch

from fewlabels.core.backbones.weight_files import is_file_name, normalisation, read_weights
from fewlabels.core.errors import UserError


@pytest.mark.parametrize(
    ("weights", "file"),
    [(None, False), ("imagenet", False), ("IMAGENET1K_V1", False), ("n.pth", True), ("a/n", True)],
)  # fmt: skip
def test_files_are_told_from_names_of_weights(weights, file):
    assert is_file_name(weights) is file


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: {"state_dict": s, "epoch": 3}, lambda s: {"model": s}])
def test_a_state_dict_is_found_in_its_wrapping(tmp_path, wrap):
    torch.save(wrap({"module.a": torch.ones(2)}), tmp_path / "w.pth")
    assert {name: value.tolist() for name, value in read_weights(tmp_path / "w.pth").items()} == {"a": [1.0, 1.0]}


class Anything:
    """Whatever a pickle may execute."""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"no such file\. Give imagenet"), (b"", r"cannot be read as weights"), (b"text", r"cannot be read"),
        ([1, 2], r"holds no state dict"), ({}, r"holds no state dict"), ({"a": 1}, r"holds no state dict"),
        (Anything(), r"cannot be read as weights"), ({"fewlabels": {}}, r"of this project\. Use checkpoint="),
    ],
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_holds_no_weights_is_rejected(tmp_path, content, message, suffix):
    file = tmp_path / f"w{suffix}"
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        torch.save(content, file)
    if suffix == ".safetensors" and content is not None:
        message = "cannot be read as weights"  # torch.save does not write this format
    with pytest.raises(UserError, match=rf"backbone\.weights=.*{message}"):
        read_weights(file)


def test_a_greyscale_image_is_normalised_with_the_average_over_rgb():
    assert normalisation([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], 3) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    mean, std = normalisation([0.1, 0.2, 0.3], [0.4, 0.5, 0.6], 1)
    assert mean == pytest.approx((0.2,))
    assert std == pytest.approx((0.5,))
