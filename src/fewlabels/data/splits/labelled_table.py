"""A table of samples of which some are labelled: the labels of a fraction, and training on labelled samples alone."""

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.distributed import rank
from fewlabels.data.batches import TableDataModule
from fewlabels.data.splits import assignment, classes


class LabelledTable(TableDataModule):
    """Splits of which a fraction of the training labels is used.

    Attributes:
        labels: int64 [N], -1 is unlabelled.
        keys: [N] see `keys.split_keys`.
        seen_classes: Names of the classes of the training split.
        label_fraction: Of the training labels.
        labelled_only: Whether to train on labelled samples alone.
    """

    labels: NDArray[np.int64]
    keys: list[str]
    seen_classes: list[str]
    label_fraction: float
    seed: int
    labelled_only = False

    def labelled(self, fraction: float | None = None) -> np.ndarray:
        """Rows of the training images whose labels may be used, int64 [m], sorted; see `assignment.nested_subset`."""
        fraction = self.label_fraction if fraction is None else fraction
        return assignment.nested_subset(self.keys, self.labels, self.indices("train"), fraction, self.seed)

    def use_labelled_only(self) -> NDArray[np.int64]:
        """Train on the `labelled` images only, and use only labelled images of val and test, from now on.

        Returns:
            int64 [K], the number of training images of each of the `seen_classes`.

        Raises:
            UserError: There are fewer than two classes, or some without any labelled training image.
        """
        self.labelled_only = True
        for split in ("val", "test") if rank() == 0 else ():
            classes.warn_missing_classes(split, self.labels[self.indices(split)], self.seen_classes)
        sizes = np.bincount(self.labels[self.labels >= 0], minlength=len(self.seen_classes)).tolist()
        return classes.count_labels(self.labels[self.labelled()], self.seen_classes, sizes)

    def training_rows(self) -> NDArray[np.int64]:
        """Rows of an epoch: "train", or its labelled images."""
        return self.labelled() if self.labelled_only else self.indices("train")

    def held_out_rows(self, split: str) -> NDArray[np.int64]:
        """Rows of "val" or "test", shuffled in the same way for all seeds.

        In order they would give batches of one class, whose contrastive loss is not comparable with that of training.
        """
        rows = self.indices(split)
        return np.random.default_rng(0).permutation(rows[self.labels[rows] >= 0] if self.labelled_only else rows)
