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
from fewlabels.labelling.embedded import EmbeddedImages, load_embedded
from fewlabels.probing.propagation import neighbour_graph, spread, uncertainty
from fewlabels.probing.selection import covering, typical

log = logging.getLogger(__name__)


def suggest(settings: dict[str, Any], directory: Path) -> None:
    """Write suggestions.csv and figures/suggestions.png.

    suggestions.csv has the columns path, label (empty, to be filled in) and order; with its labels filled in it can be
    given as `data.labels`.

    Args:
        settings: As in conf/suggest.yaml, in plain containers.
        directory: Where to write.

    Raises:
        UserError: As `load_embedded`, or all images are labelled.
    """
    images = load_embedded(settings)
    rows = choose(images, settings["n"], settings["strategy"], settings["seed"])
    paths = images.data.paths
    table = io.StringIO()
    csv.writer(table, lineterminator="\n").writerows(
        [("path", "label", "order"), *((paths[row], "", order) for order, row in enumerate(rows, 1))]
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
    labelled = int((images.data.labels >= 0).sum())
    for notice in images.data.notices:
        log.info(notice)
    log.info("%d of %s images to label next (%s are labelled): %s", len(rows), f"{len(paths):,}", f"{labelled:,}",
             directory / "suggestions.csv")  # fmt: skip
    log.info("Look at them: %s", directory / "figures" / "suggestions.png")
    log.info("Fill in the column label; for the next ones add data.labels=%s", directory / "suggestions.csv")


def choose(images: EmbeddedImages, count: int, strategy: str, seed: int) -> NDArray[np.int64]:
    """Rows of the images to label next, the most useful first.

    Exact copies of an image are not suggested beside it, nor copies of labelled ones. Once two classes have labels,
    "covering" covers images by how uncertain their class is (as in Bae et al. 2025, Uncertainty Herding).

    Args:
        images: With their labels; -1 is unlabelled.
        count: Of images.
        strategy: One of `STRATEGIES`.
        seed: Of clusters, and of random choice.

    Raises:
        UserError: All images are labelled.
    """
    data = images.data
    known = data.labels >= 0
    _, first = np.unique(data.digests, return_index=True)
    distinct = np.union1d(first[~np.isin(data.digests[first], data.digests[known])], np.flatnonzero(known))
    labelled = np.flatnonzero(known[distinct])
    if len(labelled) == len(distinct):
        raise UserError(
            f"All {len(known):,} images of data.root={data.root} are labelled: there is none to suggest. Labels are "
            "those of data.labels, or else the folders that images are in."
        )
    points = images.points[distinct]
    if strategy == "typical":
        return distinct[typical(points, count, labelled, seed)]
    if strategy == "covering":
        return distinct[covering(points, count, labelled, seed, doubt(points, labelled, data.labels[distinct]))]
    free = np.setdiff1d(np.arange(len(distinct)), labelled)
    return distinct[np.random.default_rng(seed).permutation(free)[:count]]


def doubt(
    points: NDArray[np.float32], labelled: NDArray[np.int64], labels: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    """How uncertain each image's class is after spreading the labels, [N]; None while fewer than 2 classes have any."""
    if len(np.unique(labels[labelled])) < 2:
        return None
    return uncertainty(spread(neighbour_graph(points), labelled, labels[labelled], int(labels.max()) + 1))
