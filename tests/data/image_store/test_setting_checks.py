"""Checks of settings, and notices."""

import math

import numpy as np
import pytest

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.setting_checks import (
    check_choice,
    check_minimum,
    excluded_notices,
    image_notices,
    normalisation,
)
from fewlabels.data.image_store.store import Source, Store, Written


def test_check_choice_lists_the_accepted_values():
    check_choice("resize", "pad", ("pad", "crop"))
    with pytest.raises(UserError, match=r"data\.resize=x must be one of pad, crop"):
        check_choice("resize", "x", ("pad", "crop"))


@pytest.mark.parametrize("value", [0, math.nan])
def test_check_minimum_states_minimum_and_unit(value):
    check_minimum("size", 8, 8, "pixels")
    with pytest.raises(UserError, match=rf"data\.size={value}: give at least 8 pixels\."):
        check_minimum("size", value, 8, "pixels")
    with pytest.raises(UserError, match=rf"data\.passes={value}: give at least 1\."):
        check_minimum("passes", value, 1)


def test_normalisation_combines_colours_with_the_weights_of_luminance():
    assert normalisation([0.5], [0.25], 3) == ((0.5,) * 3, (0.25,) * 3)
    mean, std = normalisation([1.0, 0.0, 0.0], [0.2, 0.2, 0.2], 1)
    assert mean == pytest.approx((0.299,))
    assert std == pytest.approx((0.2,))


@pytest.mark.parametrize(
    ("mean", "std", "message"),
    [
        ([0.5, 0.5], [0.2], r"data\.mean=\[0\.5, 0\.5\] has 2 values for data\.channels=3; give 1 or 3"),
        ([math.nan], [0.2], r"data\.mean=\[nan\]: give finite numbers"),
        ([0.5], [0.0], r"data\.std=\[0\.0\]: give values above 0"),
    ],
)
def test_normalisation_refuses_unusable_values(mean, std, message):
    with pytest.raises(UserError, match=message):
        normalisation(mean, std, 3)


def test_notices_name_synthetic_and_corrupt_images():
    store = Store(
        np.zeros((3, 1, 8, 8), np.uint8), ["a", "b", "c"], np.arange(3), {f"{n}.png": "empty" for n in range(7)}, "key"
    )
    source = Source(
        "some", (1, 8, 8), "stamp", lambda: ([], lambda *_: Written(np.arange(3), {})), where="here", synthetic=True
    )
    synthetic, corrupt = image_notices("some", source, store, ["auto", "download"])
    assert synthetic.startswith("SYNTHETIC DATA: the 3 images of some are synthetic")
    assert synthetic.endswith("give data.root=FOLDER or data.download=true.")
    assert corrupt.startswith("7 of 10 files cannot be read and are excluded: 0.png (empty); 1.png")
    assert "5.png" not in corrupt
    real = Source("some", (1, 8, 8), "stamp", source.read, where="here")
    assert list(image_notices("some", real, Store(store.images, store.paths, store.digests, {}, "key"), ["auto"])) == []


def test_excluded_notices_count_images_and_name_three_classes():
    sizes = {"a": 1, "b": 2, "c": 3, "d": 4, "e": 50}
    (notice,) = excluded_notices(["a", "b", "c", "d"], sizes, 10)
    assert notice.startswith("10 images of 4 classes are excluded (fewer than data.min_class_size=10 images")
    assert notice.endswith("a, b, c, …")
    assert next(excluded_notices(["a"], sizes, 10)).endswith(": a")
    assert not [*excluded_notices([], sizes, 10)]
