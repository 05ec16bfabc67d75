"""Class names of images, by their folders or a labels.csv; and folders that are splits rather than classes."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.data.splits.labels import file_names

SPLIT_FOLDERS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
    "testing": "test",
}  # fmt: skip
"""Names of folders, in any case, that are taken as splits if there are no others beside them."""
LIKELY_UNLABELLED = frozenset({
    "nocategory", "unlabelled", "unlabeled", "unknown", "unclassified", "unsorted", "unidentified", "notlabelled",
})  # fmt: skip
"""Class names, without case, spaces and punctuation, that often mean that nobody has named these images."""
SHOWN = 3


@dataclass(frozen=True)
class ClassNaming:
    """What names the classes of images.

    Attributes:
        labels: A labels.csv; None: folders.
        level: Depth of the folder that names the class: 1 is directly below the root, -1 the innermost; None: 1, or 2
            below folders that are splits.
        unlabelled: Names that mean that an image is not labelled.
    """

    labels: str | None = None
    level: int | None = None
    unlabelled: tuple[str, ...] = ()

    def names(self, paths: Sequence[str]) -> tuple[np.ndarray, list[str]]:
        """Class name of every image, object [N], "" of unlabelled ones; and sentences on what a user should know.

        Raises:
            UserError: No path has a folder at this depth, no image has one of the `unlabelled` names, or the labels
                cannot be read.
        """
        if self.labels:
            names, notices = file_names(paths, self.labels)
        else:
            level = self.level if self.level is not None else (2 if split_folders(paths) else 1)
            names, notices = folder_names(paths, level), self._folder_notices(paths)
        return self._without_unlabelled(names, notices)

    def folder_splits(self, paths: Sequence[str]) -> np.ndarray | None:
        """The split of every image, str [N], if folders are splits and the settings say nothing else."""
        splits = None if self.labels or self.level is not None else split_folders(paths)
        return None if splits is None else np.array([splits[path.partition("/")[0]] for path in paths])

    def _folder_notices(self, paths: Sequence[str]) -> list[str]:
        if self.level is None and (splits := split_folders(paths)):
            return [
                f"The folders {', '.join(sorted(splits))} are taken as splits, and the folders in them as classes. If "
                "they are classes, give data.class_level=1."
            ]
        top = {path.partition("/")[0] if "/" in path else "" for path in paths}
        depths = Counter(path.count("/") for path in paths)
        if self.level is None and len(top) == 1 and "" not in top and any(depth > 1 for depth in depths):
            only = next(iter(top))
            return [
                f"All {len(paths)} images are in the folder {only!r}, which is then their only class. Did you mean "
                f"data.root=…/{only}?"
            ]
        if self.level is None and any(depth > 1 for depth in depths):
            deep = sum(count for depth, count in depths.items() if depth > 1)
            return [
                f"{deep} of {len(paths)} images are in folders inside class folders. Classes are the folders directly "
                "below data.root; if the innermost ones name them, give data.class_level=-1."
            ]
        return []

    def _without_unlabelled(self, names: np.ndarray, notices: list[str]) -> tuple[np.ndarray, list[str]]:
        present = {*names.tolist()} - {""}
        if missing := [name for name in self.unlabelled if name not in present]:
            raise UserError(
                f"data.unlabelled names the class {missing[0]!r}, which is not among the {len(present)} classes: "
                f"{', '.join(sorted(present)[:10])}."
            )
        if likely := likely_unlabelled(present - {*self.unlabelled}):
            notices = [
                *notices, f"Is {likely[0]!r} a class, or are its images not labelled? For these give "
                f"'data.unlabelled=[{','.join([*self.unlabelled, *likely])}]'."
            ]  # fmt: skip
        return np.where(np.isin(names, self.unlabelled), "", names) if self.unlabelled else names, notices


def folder_names(paths: Sequence[str], level: int = 1) -> np.ndarray:
    """The folder at a depth of every path, object [N]; "" of images that are not so deep, which are unlabelled.

    Raises:
        UserError: No image is so deep, though there are folders.
    """
    if level == 0:
        raise UserError("data.class_level=0: give 1 for the folder directly below data.root, or -1 for the innermost.")
    folders = [path.split("/")[:-1] for path in paths]
    found = [names[level - 1 if level > 0 else level] if len(names) >= abs(level) else "" for names in folders]
    if level not in (1, -1) and not any(found):
        deepest = max(map(len, folders), default=0)
        raise UserError(
            f"data.class_level={level}: no image is in so many folders; the deepest is in {deepest}. Give "
            f"{f'1 to {deepest}' if deepest > 1 else '1'}, or -1 for the innermost folder."
        )
    return np.array(found, dtype=object)


def split_folders(paths: Sequence[str]) -> dict[str, str] | None:
    """{folder: split} if the folders below the root are splits, train among them, with class folders in all of them."""
    folders = {path.partition("/")[0] for path in paths}
    splits = {folder: SPLIT_FOLDERS.get(folder.casefold()) for folder in folders}
    deep = all(path.count("/") > 1 for path in paths)
    known = {folder: split for folder, split in splits.items() if split}
    return known if deep and len(known) == len(splits) > 1 and "train" in known.values() else None


def likely_unlabelled(names: Iterable[str]) -> list[str]:
    """The names among `names` that often mean that an image is not labelled, sorted."""
    return sorted(name for name in names if "".join(filter(str.isalnum, name)).casefold() in LIKELY_UNLABELLED)
