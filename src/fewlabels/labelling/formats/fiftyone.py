"""Predictions as FiftyOne imports them: a FiftyOneImageClassificationDataset."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from fewlabels.core.atomic_io import atomic_folder, spelled, write_text
from fewlabels.labelling.formats.ecotaxa import Prediction
from fewlabels.labelling.formats.files import folded, link_or_copy


def write_fiftyone(predictions: Sequence[Prediction], root: Path, folder: Path) -> int:
    """Write labels.json, and data/ with absolute symbolic links to the images (or copies without links).

    FiftyOne's documentation of the format (dataset_creation/datasets): labels.json has "classes", and "labels", which
    maps the path of an image in data/ without its extension to {"label": index of its class, "confidence": optional};
    guesses have a confidence, labels have none. Images whose paths differ in the extension alone get another name.

    Args:
        predictions: Of the images.
        root: The folder of images, which is only read.
        folder: A new one.

    Returns:
        How many images are copies.

    Raises:
        UserError: An image cannot be read any more.
    """
    classes = sorted({str(prediction.category) for prediction in predictions})
    index = {name: number for number, name in enumerate(classes)}
    labels, taken, copies, root = dict[str, dict[str, Any]](), set[str](), 0, root.resolve()
    with atomic_folder(folder) as temporary:
        for path, category, validated, score in predictions:
            name = PurePosixPath(spelled(path))
            while folded(str(name.with_suffix(""))) in taken:
                name = name.with_stem(f"{name.stem}_{name.suffix[1:]}")  # "a.png" beside "a.jpg": "a_png.png"
            taken.add(folded(str(name.with_suffix(""))))
            labels[str(name.with_suffix(""))] = {"label": index[str(category)]} | (
                {} if validated or score is None else {"confidence": score}
            )
            copies += not link_or_copy(root / path, temporary / "data" / name)
        write_text(temporary / "labels.json", json.dumps({"classes": classes, "labels": labels}))
    return copies
