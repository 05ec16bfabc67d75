"""What a network was trained on: classes, and a digest of every image, kept in its checkpoints and checked later."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, is_images

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingRecord:
    """What a network was trained on, including the network that its weights were initialised with.

    Attributes:
        digests: int64 [M], sorted; of all samples of its training and validation splits.
        samples: Training samples, without those of the initial network.
        seen: Names of the classes of these samples; empty if they were unlabelled.
        unseen: Names of the classes that were held out.
    """

    digests: NDArray[np.int64]
    samples: int
    seen: list[str]
    unseen: list[str]

    @classmethod
    def of(cls, data: DataModule, *, labelled: bool, initial: "TrainingRecord | None" = None) -> "TrainingRecord":
        """Record what training on `data` uses.

        Args:
            data: The data module, set up.
            labelled: Whether only labelled samples are used, as in supervised training.
            initial: Of the network whose weights training begins with.
        """
        train, val = data.indices("train"), data.indices("val")
        if labelled and is_images(data):
            train, val = data.labelled(), val[data.labels[val] >= 0]
        used = [data.digests[train], data.digests[val], *([initial.digests] if initial else [])]
        before = initial.seen if initial else []
        seen = [*before, *(name for name in data.seen_classes if name not in before)]
        unseen = [name for name in data.unseen_classes if name not in seen]
        return cls(np.unique(np.concatenate(used)), len(train), seen, unseen)

    @classmethod
    def of_nothing(cls, data: DataModule) -> "TrainingRecord":
        """Of a network that is not trained: every image of `data` is new to it."""
        return cls(np.empty(0, np.int64), 0, [], list(data.unseen_classes))

    @classmethod
    def read(cls, state: dict[str, Any]) -> "TrainingRecord":
        """Read what `state` returned."""
        return cls(state["digests"].numpy(), state["samples"], state["seen"], state["unseen"])

    def state(self) -> dict[str, Any]:
        """The record in containers that `torch.load(weights_only=True)` reads."""
        return {"digests": torch.from_numpy(self.digests), "samples": self.samples, "seen": self.seen,
                "unseen": self.unseen}  # fmt: skip

    def includes(self, data: DataModule) -> NDArray[np.bool_]:
        """Whether the network was trained on each sample of a data module, [N]."""
        return np.isin(data.digests, self.digests)

    def check_unseen(self, data: DataModule) -> None:
        """Check that the network was not trained on the unseen classes of a data module.

        Raises:
            UserError: It was trained on a class of that name, or on images of one of the classes.
        """
        named = sorted({*data.unseen_classes} & {*self.seen})
        rows = data.indices("unseen")
        trained = rows[self.includes(data)[rows]]
        if not named and not len(trained):
            return
        names = named or sorted({data.classes[label] for label in data.labels[trained]})
        reason = "classes of these names" if named else f"{len(trained):,} of the {len(rows):,} images of these classes"
        remedy = f"[{','.join(self.unseen)}]" if self.unseen else "null"
        raise UserError(
            f"data.unseen includes {', '.join(names)}, but the network was trained on {reason}: they are not unseen. "
            f"Give data.unseen={remedy}, as it was trained, or pretrain again with the data.unseen=[…] that you want."
        )


def hold_out_test(data: DataModule, record: TrainingRecord | None, checkpoint: Path) -> None:
    """Leave out of the test split what a network was trained on; the log and `data.notices` say how many there were.

    Args:
        data: The data module, set up.
        record: What the network was trained on; None if that is unknown, which is then said instead.
        checkpoint: The network's file, for messages.

    Raises:
        UserError: It was trained on all test samples.
    """
    if record is None:
        notice = (
            f"Not checked: whether {checkpoint} was trained on some of the test images. An earlier version wrote it, "
            "which kept no list of the training images, and these are not the images that it was trained on."
        )
        log.warning(notice)
        data.notices.append(notice)
        return
    rows = data.indices("test")
    kept = rows[~record.includes(data)[rows]]
    if len(rows) and not len(kept):
        raise UserError(
            f"{checkpoint} was trained on all {len(rows):,} images of the test split, so none is left to test it on. "
            "Give the data.root, data.test_fraction and data.split_seed that it was trained with, or other images, or "
            "pretrain again with another test split."
        )
    data.restrict_test(kept)
    if left_out := len(rows) - len(kept):
        notice = (
            f"{left_out:,} images of the test split are left out, because {checkpoint} was trained on them; "
            f"{len(kept):,} remain."
        )
        log.info(notice)
        data.notices.append(notice)
