"""A labelling session: the images, their labels on disk, the guesses for the others, and what the page may ask."""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.data.splits.labels import normal_path
from fewlabels.labelling.classifier import UNKNOWN, Classifier, is_unknown
from fewlabels.labelling.embedded import EmbeddedImages
from fewlabels.labelling.labels_file import LabelsFile
from fewlabels.labelling.learning import Learning, advice, learning
from fewlabels.labelling.suggest import choose
from fewlabels.probing.projections import MIN_SAMPLES, principal_components, umap_projection
from fewlabels.probing.propagation import classify, neighbour_graph, uncertainty
from fewlabels.probing.selection import central_first, cluster

log = logging.getLogger(__name__)
CLUSTERS = 40
SUGGESTIONS = 24
QUIET = 1.0


class LabellingSession:
    """State of a page; every method may be called by several threads at once.

    Args:
        images: All images of the folder; their `data.labels` are not used.
        labels: Where labels are read from and written to.
    """

    def __init__(self, images: EmbeddedImages, labels: LabelsFile) -> None:
        self.images, self.file = images, labels
        self.paths = [normal_path(path) for path in images.data.paths]
        self.row_of = {path: row for row, path in enumerate(self.paths)}
        self.graph = neighbour_graph(images.points)
        self.clusters = cluster(images.points, min(CLUSTERS, len(images.points)))
        self.lock = threading.RLock()
        self.version = 0
        self.classifier: Classifier | None = None
        self.learning: Learning | None = None
        self.changed = threading.Event()  # since the last estimate
        self._update()

    def _update(self) -> None:
        """Compute what follows from the labels: classes, guesses, and their uncertainty."""
        known = {self.row_of[path]: label for path, label in self.file.labels.items() if path in self.row_of}
        self.classes = list(dict.fromkeys(known.values()))  # in the order of their first label: keys 1 to 9
        self.labels = np.full(len(self.paths), -1, np.int64)
        for row, label in known.items():
            self.labels[row] = self.classes.index(label)
        rows = np.flatnonzero(self.labels >= 0)
        self.classifier = None
        self.probabilities = np.zeros((len(self.paths), len(self.classes)))
        if len(rows):
            self.classifier = Classifier(self.images.points, self.graph, rows, self.labels[rows], len(self.classes))
            self.probabilities = self.classifier.probabilities
        self.guesses = classify(self.probabilities) if len(rows) else np.full(len(self.paths), -1, np.int64)
        self.doubt = uncertainty(self.probabilities) if len(rows) else np.zeros(len(self.paths))
        self.version += 1
        self.changed.set()

    def estimate(self) -> None:
        """Compute what the labels tell about the guesses, which takes seconds for 30,000 images; see `learning`."""
        with self.lock:
            self.changed.clear()
            classifier = self.classifier
        found = learning(classifier) if classifier else None
        with self.lock:
            self.learning = found

    def keep_estimating(self) -> None:
        """Estimate anew whenever labels have changed and then `QUIET` seconds have passed without a change; no end."""
        while self.changed.wait():
            self.changed.clear()
            if not self.changed.wait(QUIET):
                self.estimate()

    def refresh(self) -> None:
        """Take over what another program wrote into labels.csv."""
        with self.lock:
            if self.file.refresh():
                self._update()

    def assign(self, rows: Sequence[int], label: str | None, seen: Sequence[str | None], editor: str) -> None:
        """Give a label to images, or take it away (None); on disk when this returns.

        Args:
            rows: Of images.
            label: Not empty.
            seen: [len(rows)] the labels that the editor saw.
            editor: Of the change, for `undo`.

        Raises:
            UserError: A row is none, or the label is empty.
            ConflictError: An image has another label than the editor saw.
            OSError: labels.csv cannot be written.
        """
        if len(seen) != len(rows) or not all(0 <= row < len(self.paths) for row in rows):
            raise UserError("rows and seen must be rows of images and their labels.")
        if label is not None and (not label.strip() or not label.isprintable() or is_unknown(label)):
            raise UserError(
                f"A label needs a name of printable characters other than {UNKNOWN!r}, which is what images are called "
                "that look like no label."
            )
        with self.lock:
            paths = [self.paths[row] for row in rows]
            self.file.assign(dict.fromkeys(paths, label), dict(zip(paths, seen, strict=True)), editor)
            self._update()

    def undo(self, editor: str) -> list[int]:
        """Take back the editor's last change; returns the rows of its images."""
        with self.lock:
            change = self.file.undo(editor)
            self._update()
            return [self.row_of[path] for path in change.before if path in self.row_of] if change else []

    def state(self) -> dict[str, Any]:
        """What the page shows beside images: classes with their numbers of labels and guesses, and the estimates."""
        with self.lock:
            labels, guesses = Counter(self.labels.tolist()), Counter(self.guesses[self.labels < 0].tolist())
            return {
                "ready": True, "version": self.version, "images": len(self.paths),
                "labelled": int((self.labels >= 0).sum()), "clusters": int(self.clusters.max()) + 1,
                "classes": [{"name": name, "labels": labels[k], "guesses": guesses[k]}
                            for k, name in enumerate(self.classes)],
                "advice": advice(self.learning) if self.learning else "",
                "curve": self._curve(),
            }  # fmt: skip

    def _curve(self) -> list[tuple[int, float]]:
        """Accuracy against the number of labels, the last of them expected."""
        if not self.learning or not self.learning.gain:
            return []
        found, gain = self.learning, self.learning.gain
        reached = found.accuracy.mean
        return [*found.curve, (found.labels, reached), (found.labels + found.more, min(reached + gain.mean, 1.0))]

    def rows(self, view: str, argument: str = "") -> list[int]:
        """The images of a view, in its order.

        Args:
            view: "suggestions", "doubtful", "unlike" (the farthest from all labels first), "guess" (of a class, the
                most certain first), "label" (of a class), "cluster" (by its number, the most central first), "near" (a
                row), or "all".
            argument: The class, the number or the row.

        Raises:
            UserError: Another view, or an argument that is none of its own.
        """
        with self.lock:
            free = np.flatnonzero(self.labels < 0)
            if view == "all":
                return list(range(len(self.paths)))
            if view == "doubtful":
                return [int(row) for row in free[np.argsort(-self.doubt[free], kind="stable")]]
            if view == "unlike" and self.classifier:
                return [int(row) for row in free[np.argsort(-self.classifier.novelty[free], kind="stable")]]
            if view in ("guess", "label") and argument in self.classes:
                return self._of_class(view, self.classes.index(argument), free)
            if view == "cluster" and argument.isdecimal():
                return central_first(self.images.points, np.flatnonzero(self.clusters == int(argument))).tolist()
            if view == "near" and argument.isdecimal() and int(argument) < len(self.paths):
                return [int(row) for row in np.argsort(-(self.images.points @ self.images.points[int(argument)]))]
            if view == "suggestions":
                return self._suggestions()
        raise UserError(f"There is no view {view!r} of {argument!r}.")

    def _of_class(self, view: str, label: int, free: NDArray[np.int64]) -> list[int]:
        rows = np.flatnonzero(self.labels == label) if view == "label" else free[self.guesses[free] == label]
        return [int(row) for row in rows[np.argsort(-self.probabilities[rows, label], kind="stable")]]

    def _suggestions(self) -> list[int]:
        if (self.labels >= 0).all():
            return []
        doubt = self.doubt if len(self.classes) > 1 else np.ones(len(self.paths))
        return [int(row) for row in choose(self.images, SUGGESTIONS, "covering", 0, self.labels, doubt)]


class Board:
    """What there is to show: nothing but progress at first, then a session, and a map when it is drawn.

    Attributes:
        total: Images to embed.
        done: Of these, so far.
        session: None until they are embedded.
        plane: float32 [N, 2], principal components and later UMAP; None until then.
        failure: Why there will be no session.
    """

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0
        self.session: LabellingSession | None = None
        self.plane: Any = None
        self.failure = ""

    def advance(self, count: int) -> None:
        """Count embedded images."""
        self.done += count

    def prepare(self, make: Callable[[], LabellingSession]) -> None:
        """Make the session, then the map, then estimate after every change; in a thread of its own, without an end."""
        try:
            session = make()
            points = session.images.points
            self.plane = principal_components(points, 2)[0] if points.shape[1] > 1 else np.c_[points, points]
            self.session = session
            if len(points) >= MIN_SAMPLES:
                self.plane = umap_projection(points)
                with session.lock:
                    session.version += 1  # the page draws its map anew
            session.keep_estimating()
        except Exception as error:
            self.failure = str(error)
            log.exception("The labelling page could not be prepared")
