"""Predict the classes of images from the labels of some, and count them: predictions.csv, counts.csv."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.data.splits.keys import group_names
from fewlabels.evaluation.result import save_figures
from fewlabels.figures.dataset import estimated_counts_figure, examples_figure
from fewlabels.figures.galleries import MAX_SHOWN, contact_sheet
from fewlabels.labelling.classifier import MIN_CALIBRATION, UNKNOWN, Classifier, check_names
from fewlabels.labelling.counts import class_counts
from fewlabels.labelling.embedded import EmbeddedImages, embed_images, load_source
from fewlabels.labelling.formats.export import check_formats, export
from fewlabels.labelling.learning import advice, learning
from fewlabels.probing.propagation import neighbour_graph
from fewlabels.probing.selection import neighbour_space
from fewlabels.training.run_dir import as_text

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

log = logging.getLogger(__name__)
OF_CLASSES = ("data.unlabelled", "data.class_level", "data.seen", "data.unseen", "data.min_class_size")
"""Overrides that say which classes there are."""
MAX_CLASSES = 30
"""In the figure of doubtful guesses of each class: those with the most guesses."""
PER_CLASS = 10


class Known(NamedTuple):
    """Labelled images, and the embeddings of the folder that they are in.

    Attributes:
        vectors: float32 [M, D] of all images of another folder; none if the labels are in the folder to predict.
        rows: int64 [n] of the labelled ones among `vectors`, then the images to predict.
        labels: int64 [n].
        classes: Names that these index into.
    """

    vectors: NDArray[np.float32]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: list[str]


def predict(settings: dict[str, Any], directory: Path) -> None:
    """Write predictions.csv, counts.csv and figures.

    Args:
        settings: As in conf/predict.yaml, in plain containers.
        directory: Where to write.

    Raises:
        UserError: As `load_source`, `embed_images` and `export`; there are no labels, or they are of a single class.
    """
    source = load_source(_without_classes(settings))
    check_formats(settings["formats"], source.data)
    images = embed_images(source, settings["orientations"])
    known = labelled_images(settings, images)
    points = neighbour_space(np.concatenate([known.vectors, images.embeddings.vectors]))
    check_names(known.classes, settings["unknown"])
    classifier = Classifier(
        points, neighbour_graph(points), known.rows, known.labels, len(known.classes), settings["unknown"],
        settings["seed"],
    )  # fmt: skip
    table = predictions_table(images, known, classifier)
    write_text(directory / "predictions.csv", table.to_csv(index=False))
    samples = sample_rows(images, settings["sample"], len(known.vectors))
    counts = class_counts(classifier, samples, known.classes, shifted=len(known.vectors) > 0)
    write_text(directory / "counts.csv", counts.to_csv(index=False))
    total = counts[counts["sample"] == "all"]
    save_figures(_figures(table, total, images), directory)
    _report(classifier, total, directory)
    export(settings["formats"], table, images, known.classes, directory)


def _figures(table: "pd.DataFrame", total: "pd.DataFrame", images: EmbeddedImages) -> "dict[str, tuple[Figure, str]]":
    """Counts, the most doubtful guesses, and those of each class."""
    synthetic = images.data.synthetic
    guesses = table[(table["class"] != UNKNOWN) & (table["from"] == "guess")]
    guesses = guesses.assign(probability=guesses["probability"].astype(float))
    guesses = guesses.sort_values("probability", kind="stable")
    figures = {"counts": (estimated_counts_figure(total, synthetic=synthetic), "Counts")}
    if guesses.empty:
        return figures
    first = guesses.head(MAX_SHOWN)
    names = [f"{name}\n{100 * sure:.0f}%" for name, sure in zip(first["class"], first["probability"], strict=True)]
    sheet = contact_sheet(
        images.data.images(first.index.to_numpy()).numpy(), names, synthetic=synthetic,
        text=f"of {len(guesses):,} guesses, the most doubtful first",
    )  # fmt: skip
    largest = guesses["class"].value_counts().index[:MAX_CLASSES]
    each = guesses[guesses["class"].isin(largest)].groupby("class", sort=False).head(PER_CLASS)
    of_class = each["class"].map(list(largest).index).to_numpy(np.int64)
    left_out = guesses["class"].nunique() - len(largest)
    text = "guesses: the most doubtful of each class first" + (f"; {left_out} classes left out" if left_out else "")
    by_class = examples_figure(
        images.data.images(each.index.to_numpy()).numpy(), of_class, list(largest), text=text, synthetic=synthetic
    )
    return figures | {
        "most_doubtful": (sheet, "Most doubtful"),
        "doubtful_by_class": (by_class, "Most doubtful of each class"),
    }


def labelled_images(settings: dict[str, Any], images: EmbeddedImages) -> Known:
    """The labelled images: of another folder if `labelled.root` names one, else of the folder to predict.

    Raises:
        UserError: There are none, or they are of a single class.
    """
    other, data = settings["labelled"], images.data
    vectors = images.embeddings.vectors[:0]
    if other["root"] or other["labels"]:
        overrides = [o for o in settings["data"] if not o.startswith(("data.root=", "data.labels="))]
        overrides += [f"data.{key}={as_text(other[key])}" for key in ("root", "labels") if other[key]]
        try:
            source = load_source(settings | {"data": overrides})
        except UserError as error:
            named = str(error).replace("data.root", "labelled.root").replace("data.labels", "labelled.labels")
            raise UserError(named) from error
        embedded = embed_images(source, settings["orientations"])
        vectors, data = embedded.embeddings.vectors, embedded.data
    rows = np.flatnonzero(data.labels >= 0)
    classes = [data.classes[label] for label in np.unique(data.labels[rows])]
    if len(classes) < 2:
        raise UserError(
            f"{len(rows)} images of {len(classes)} classes are labelled in data.root={data.root}, and predictions need "
            "2 classes. Give data.labels=labels.csv; or, if other images are labelled, labelled.root=FOLDER and "
            "labelled.labels=labels.csv."
        )
    labels = np.searchsorted(np.unique(data.labels[rows]), data.labels[rows])
    return Known(vectors, rows, labels, classes)


def _without_classes(settings: dict[str, Any]) -> dict[str, Any]:
    """The settings of the images to predict: if others are labelled, these have the classes."""
    if not settings["labelled"]["root"]:
        return settings
    return settings | {"data": [o for o in settings["data"] if o.partition("=")[0] not in OF_CLASSES]}


def predictions_table(images: EmbeddedImages, known: Known, classifier: Classifier) -> "pd.DataFrame":
    """A row per image: path, class, probability, second class with its probability, novelty, and "label" or "guess".

    The class of an image that looks like no label is "unknown", without a probability, and its most probable class is
    the second one.
    """
    import pandas as pd

    probabilities = classifier.probabilities[len(known.vectors) :]
    own = classifier.own_labels[len(known.vectors) :]
    given = np.flatnonzero(own >= 0)
    order = np.argsort(-probabilities, 1, kind="stable")
    first, second = order[:, 0].copy(), order[:, 1].copy()
    second[given] = np.where(first[given] == own[given], second[given], first[given])
    first[given] = own[given]
    every, names = np.arange(len(own)), np.array([*known.classes, UNKNOWN], object)
    sure = np.where(own >= 0, 1.0, probabilities[every, first])
    other = np.where(own >= 0, 0.0, probabilities[every, second])
    unlike = classifier.is_unknown[len(known.vectors) :]
    first, second = np.where(unlike, len(known.classes), first), np.where(unlike, first, second)
    sure, other = np.where(unlike, np.nan, sure), np.where(unlike, sure, other)
    return pd.DataFrame({
        "path": images.data.paths, "class": names[first], "probability": sure.round(4), "second_class": names[second],
        "second_probability": other.round(4),
        "novelty": classifier.novelty[len(known.vectors) :].round(4), "from": np.where(own >= 0, "label", "guess"),
    }, dtype=object)  # fmt: skip


def sample_rows(images: EmbeddedImages, sample: str | int | None, first: int) -> dict[str, NDArray[np.int64]]:
    """The rows of each sample, and of "all".

    Args:
        images: That are counted.
        sample: See `group_names`; None: no samples.
        first: Row of the first image.
    """
    try:
        names = group_names(images.data.paths, sample)
    except UserError as error:
        raise UserError(str(error).replace("data.group=", "sample=")) from error
    found: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            found.setdefault(name, []).append(first + row)
    rows = {name: np.array(found[name], np.int64) for name in sorted(found)}
    return rows | {"all": np.arange(first, first + len(names))}


def _report(classifier: Classifier, total: "pd.DataFrame", directory: Path) -> None:
    if classifier.unknown and len(classifier.rows) < MIN_CALIBRATION:
        log.warning("%d labels are too few to tell which images look like none of them: %d are needed. Every image "
                    "gets the most probable class.", len(classifier.rows), MIN_CALIBRATION)  # fmt: skip
    for row in total.sort_values("expected", ascending=False).to_dict("records"):
        log.info("%s: %.0f (95%% interval %.0f to %.0f); predictions counted: %d",
                 row["class"], row["expected"], row["low"], row["high"], row["raw"])  # fmt: skip
    if found := learning(classifier):
        log.info("%s", advice(found))
    log.info("Predictions: %s", directory / "predictions.csv")
    log.info("Counts: %s", directory / "counts.csv")
