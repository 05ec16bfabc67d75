"""Suggest which images to label next: suggestions.csv, and a contact sheet of them."""

import csv
import io
import logging
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.figures.galleries import MAX_SHOWN, contact_sheet
from fewlabels.labelling.embedded import EmbeddedImages, embed_images, load_source
from fewlabels.probing.propagation import neighbour_graph, spread, uncertainty
from fewlabels.probing.selection import covering, typical

log = logging.getLogger(__name__)


def suggest(settings: dict[str, Any], directory: Path) -> None:
    """Write suggestions.csv and figures/suggestions.png.

    suggestions.csv has the columns path, label and order: the suggested images in their order, with an empty label to
    be filled in, and then all that are labelled already; so it can be given as `data.labels` for the next ones.

    Args:
        settings: As in conf/suggest.yaml, in plain containers.
        directory: Where to write.

    Raises:
        UserError: As `load_source` and `embed_images`, or all images are labelled.
    """
    images = embed_images(load_source(settings), settings["orientations"])
    rows = choose(images, settings["n"], settings["strategy"], settings["seed"])
    paths, data = images.data.paths, images.data
    labelled = np.flatnonzero(data.labels >= 0)
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [
            ("path", "label", "order"),
            *((paths[row], "", order) for order, row in enumerate(rows, 1)),
            *((paths[row], data.classes[data.labels[row]], "") for row in labelled),
        ]
    )
    write_text(directory / "suggestions.csv", table.getvalue())
    shown = rows[:MAX_SHOWN]
    figure = contact_sheet(
        images.data.images(shown).numpy(), [str(order) for order in range(1, len(shown) + 1)],
        text=f"of {len(rows)} suggested images, in their order; {settings['strategy']}",
        synthetic=images.data.synthetic,
    )  # fmt: skip
    (directory / "figures").mkdir(exist_ok=True)
    figure.savefig(directory / "figures" / "suggestions.png")
    log.info("%d of %s images to label next (%s are labelled): %s", len(rows), f"{len(paths):,}", f"{len(labelled):,}",
             directory / "suggestions.csv")  # fmt: skip
    log.info("Look at them: %s", directory / "figures" / "suggestions.png")
    log.info("Fill in the column label; for the next ones add data.labels=%s", directory / "suggestions.csv")


def choose(
    images: EmbeddedImages,
    count: int,
    strategy: str,
    seed: int,
    labels: NDArray[np.int64] | None = None,
    doubt: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """Rows of the images to label next, the most useful first.

    Exact copies of an image are not suggested beside it, nor copies of labelled ones. Once two classes have labels,
    "covering" covers images by how uncertain their class is (as in Bae et al. 2025, Uncertainty Herding).

    Args:
        images: N images.
        count: Of images.
        strategy: One of `STRATEGIES`.
        seed: Of clusters, and of random choice.
        labels: int64 [N], -1 is unlabelled; None: those of the data module.
        doubt: [N], how uncertain the class of each is; None: see `class_doubt`.

    Raises:
        UserError: All images are labelled.
    """
    labels = images.data.labels if labels is None else labels
    distinct = _distinct(images.data.digests, labels >= 0)
    points, labelled = images.points[distinct], np.flatnonzero(labels[distinct] >= 0)
    if len(labelled) == len(distinct):
        raise UserError(
            f"All {len(labels):,} images of data.root={images.data.root} are labelled: there is none to suggest. "
            "Labels are those of data.labels, or else the folders that images are in."
        )
    if strategy == "typical":
        return distinct[typical(points, count, labelled, seed)]
    if strategy == "covering":
        weights = class_doubt(points, labelled, labels[distinct]) if doubt is None else doubt[distinct]
        return distinct[covering(points, count, labelled, seed, weights)]
    free = np.setdiff1d(np.arange(len(distinct)), labelled)
    return distinct[np.random.default_rng(seed).permutation(free)[:count]]


def _distinct(digests: NDArray[np.int64], known: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of labelled images, and of one of each other content."""
    _, first = np.unique(digests, return_index=True)
    return np.union1d(first[~np.isin(digests[first], digests[known])], np.flatnonzero(known))


def class_doubt(
    points: NDArray[np.float32], labelled: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """How uncertain each image's class is after spreading the labels, [N]; None while fewer than 2 classes have any."""
    if len(np.unique(labels[labelled])) < 2:
        return None
    return uncertainty(spread(neighbour_graph(points), labelled, labels[labelled], int(labels.max()) + 1))
