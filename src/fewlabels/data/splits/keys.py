"""The keys that splits are drawn by: images that must lie on one side of every split share a key."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from fewlabels.core.errors import UserError

SPLIT_BY = ("name", "path")


def split_keys(
    paths: Sequence[str], digests: NDArray[np.int64], *, by: str = "name", group: str | int | None = None
) -> list[str]:
    """Give every image the key that splits, label subsets and the halving of unseen classes are drawn by.

    Images of one group share a key, and so do exact copies. Without either, the key is the file name, in Unicode's
    composed form (NFC), with as many of its parent folders as tell it from other images of that name. So sorting a
    flat folder into class folders, or copying it between systems, moves no image to another split.

    Args:
        paths: [N] relative posix paths.
        digests: int64 [N]; equal values are copies.
        by: "name" as above; "path": the whole path, as version 0.1 did, copies not kept together.
        group: See `group_names`.

    Returns:
        [N].

    Raises:
        UserError: `group` is no valid pattern, or no image is in a group.
    """
    groups = group_names(paths, group)
    names = list(paths) if by == "path" else shortest_unique_names(paths)
    keys = [name if inside is None else f"group {inside}" for name, inside in zip(names, groups, strict=True)]
    return keys if by == "path" else _joined(keys, digests)


def shortest_unique_names(paths: Sequence[str]) -> list[str]:
    """The shortest end of every path that no other path has, in NFC: the file name, with parents if that repeats."""
    parts = [unicodedata.normalize("NFC", path).split("/") for path in paths]
    names, repeated, length = [""] * len(paths), list(range(len(paths))), 1
    while repeated:
        for row in repeated:
            names[row] = "/".join(parts[row][-length:])
        counts = Counter(names[row] for row in repeated)
        repeated = [row for row in repeated if counts[names[row]] > 1 and length < len(parts[row])]
        length += 1
    return names


def group_names(paths: Sequence[str], group: str | int | None) -> list[str | None]:
    """The group of every image, such as the specimen that several images show; None: a group of its own.

    Args:
        paths: [N] relative posix paths.
        group: A number n: the folder at depth n and those above it. A regular expression, searched in the path: what
            its first parentheses match, or, without any, the whole match. None: no groups.

    Raises:
        UserError: The pattern is invalid, or no image is in a group.
    """
    if group is None:
        return [None] * len(paths)
    if isinstance(group, int):
        folders = [path.split("/")[:-1] for path in paths]
        found = ["/".join(names[:group]) if len(names) >= group > 0 else None for names in folders]
    else:
        try:
            pattern = re.compile(group)
        except re.error as error:
            raise UserError(
                f"data.group={group} is no valid regular expression ({error}). Give one that matches what images of a "
                "group have in common in their path, such as '^(.*)_view', or the depth of a folder, such as 2."
            ) from error
        matches = [pattern.search(path) for path in paths]
        found = [match and match[1 if pattern.groups else 0] for match in matches]
    if paths and not any(found):
        raise UserError(
            f"data.group={group} finds no group in any of the {len(paths)} paths, such as {paths[0]}. Give a regular "
            "expression that matches a part of the path, or the depth of a folder that exists; null for no groups."
        )
    return [name or None for name in found]


def _joined(keys: list[str], digests: NDArray[np.int64]) -> list[str]:
    """The least key of each set of images that are connected by equal keys or equal digests."""
    names, key_of = np.unique(np.array(keys, dtype=object), return_inverse=True)
    contents, content_of = np.unique(digests, return_inverse=True)
    if len(contents) == len(keys):
        return keys
    # Every image is an edge between its key and its content
    size = len(names) + len(contents)
    edges = coo_array((np.ones(len(keys), bool), (key_of, len(names) + content_of)), shape=(size, size))
    component = connected_components(edges, directed=False)[1][: len(names)]
    _, least = np.unique(component, return_index=True)  # `names` are sorted, so the first is the least
    return [str(names[least[number]]) for number in component[key_of]]
