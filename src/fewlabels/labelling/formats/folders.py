"""Predictions as a folder of links per class, to look through in a file manager."""

from collections.abc import Sequence
from pathlib import Path

from fewlabels.core.atomic_io import atomic_folder
from fewlabels.data.splits.keys import shortest_unique_names
from fewlabels.labelling.formats.ecotaxa import Prediction
from fewlabels.labelling.formats.files import link_or_copy, unique_name


def write_folders(predictions: Sequence[Prediction], root: Path, folder: Path) -> tuple[int, list[str]]:
    """Write CLASS/FILE: absolute symbolic links to the images, or copies on a file system without links.

    A file keeps its name, with as many parent folders, joined by "%2F", as tell it from others of its class. Names
    that cannot be a file's are written as `safe_name` and `unique_name` do; `urllib.parse.unquote` reads them.

    Args:
        predictions: Of the images.
        root: The folder of images, which is only read.
        folder: A new one.

    Returns:
        How many images are copies; and names of classes and paths of images that are written differently.

    Raises:
        UserError: An image cannot be read any more, or a name is too long.
    """
    of_class: dict[str, list[str]] = {}
    for prediction in predictions:
        of_class.setdefault(str(prediction.category), []).append(prediction.path)
    copies, renamed, classes = 0, list[str](), set[str]()
    root = root.resolve()
    with atomic_folder(folder) as temporary:
        for category, paths in of_class.items():
            name, files = unique_name(category, classes), set[str]()
            renamed += [category] * (name != category)
            for path, short in zip(paths, shortest_unique_names(paths), strict=True):
                file = unique_name(short, files, path)
                renamed += [path] * (file != path.rpartition("/")[2])
                copies += not link_or_copy(root / path, temporary / name / file)
    return copies, renamed
