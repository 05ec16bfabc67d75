"""Everything that is worth knowing of a data module's images, as sentences with what to type."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.data.base import ImageDataModule
from fewlabels.data.doctor import pixels
from fewlabels.data.doctor.duplicates import near_duplicates
from fewlabels.data.splits.class_names import likely_unlabelled
from fewlabels.data.splits.labels import similar_names

NARROW = 10
"""Longer side over shorter side of extreme images."""
SHOWN = 3


class Finding(NamedTuple):
    """One kind of thing.

    Attributes:
        name: Short, as a heading.
        number: Of images, files, pairs or classes.
        text: A sentence.
        remedy: What to type, or to do; "" if there is nothing to do.
        decide: Whether results depend on what the user decides.
        rows: int64 [n] of images that show it, or [n, 2] of pairs.
    """

    name: str
    number: int
    text: str
    remedy: str = ""
    decide: bool = False
    rows: NDArray[np.int64] = pixels.NONE


def examine(data: ImageDataModule) -> list[Finding]:
    """Examine a data module that is set up; what must be decided comes first.

    Its own notices are not among the findings; see `ImageDataModule.notices`.
    """
    images, names = data.table().samples, class_of(data)
    found = [*_classes(names), *_copies(data, images, names), *_pixels(images), *_files(data), *_marks(data)]
    return sorted((finding for finding in found if finding.number), key=lambda finding: not finding.decide)


def class_of(data: ImageDataModule) -> NDArray[np.object_]:
    """Class name of every image, "" of those that are unlabelled or excluded, object [N]."""
    names = np.array([*data.classes, ""], dtype=object)
    return np.asarray(names[data.labels])


def _classes(names: NDArray[np.object_]) -> list[Finding]:
    sizes = Counter(names[names != ""].tolist())
    single = sorted(name for name, size in sizes.items() if size == 1)
    alike, unnamed = similar_names(sizes), likely_unlabelled(sizes)
    groups = "; ".join(" and ".join(f"{name} ({sizes[name]})" for name in group) for group in alike[:SHOWN])
    return [
        Finding(
            "Classes with a single image", len(single),
            f"{len(single)} of {len(sizes)} classes, such as {_some(single)}: the image can be trained on or tested, "
            "not both.", "data.min_class_size=2 leaves them out",
        ),
        Finding(
            "Class names that are nearly the same", len(alike), groups, "give them one name, if they are the same",
            decide=True,
        ),
        Finding(
            "Classes that may not be any", len(unnamed), f"{_some(unnamed)}: are these images not labelled?",
            f"if so, 'data.unlabelled=[{','.join(unnamed)}]'", True, np.flatnonzero(np.isin(names, unnamed)),
        ),
    ]  # fmt: skip


def _copies(data: ImageDataModule, images: NDArray[np.uint8], names: NDArray[np.object_]) -> list[Finding]:
    _, first, content = np.unique(data.digests, return_index=True, return_inverse=True)
    copies = np.setdiff1d(np.arange(len(content)), first)
    exact, near = np.stack([first[content[copies]], copies], 1), near_duplicates(images, data.digests)
    keys = np.array(data.keys, dtype=object)
    apart = int((keys[near[:, 0]] != keys[near[:, 1]]).sum())
    found = [
        Finding("Exact copies", len(exact), "They stay on one side of every split.", rows=exact),
        Finding(
            "Nearly the same images", len(near), f"{apart} of these pairs may be divided between training and test.",
            "remove one of each, or give data.group= what they have in common", rows=near,
        ),
    ]  # fmt: skip
    for kind, pairs in (("Exact copies", exact), ("Nearly the same images", near)):
        one, other = names[pairs[:, 0]], names[pairs[:, 1]]
        differ = pairs[(one != other) & (one != "") & (other != "")]
        text = "One label of each pair is wrong, or the image shows both."
        found.append(Finding(
            f"{kind} of different classes", len(differ), text, "correct the labels, or remove both", True, differ,
        ))  # fmt: skip
    return found


def _pixels(images: NDArray[np.uint8]) -> list[Finding]:
    facts = pixels.pixel_facts(images)
    blank, clipped, inverted = pixels.blank(facts), pixels.clipped(facts), pixels.inverted(facts)
    dark = len(inverted) and facts[inverted[0], 2] <= pixels.DARK
    return [
        Finding("Blank images", len(blank), "They show nothing.", "remove them", rows=blank),
        Finding(
            "Mostly black or white images", len(clipped), "Over half of their pixels, which is rare here.",
            "look at them", rows=clipped,
        ),
        Finding(
            "Images on the other background", len(inverted),
            f"Theirs is {'dark' if dark else 'light'}, and that of most images is not.",
            "invert them, if the objects are the same", True, inverted,
        ),
    ]  # fmt: skip


def _files(data: ImageDataModule) -> list[Finding]:
    facts = data.file_facts
    if facts is None:
        return []
    sides = np.stack([facts["width"], facts["height"]], 1).astype(float)
    longest = sides.max(1)
    narrow = np.flatnonzero(longest > NARROW * np.maximum(sides.min(1), 1))
    small = np.flatnonzero(longest < data.size)
    turned, clear = np.flatnonzero(facts["orientation"] > 1), np.flatnonzero(facts["alpha"])
    lost = {"crop": "; only the middle is seen", "squash": "; they are distorted"}.get(data.resize, "")
    usual = max(16, 16 * round(float(np.median(longest)) / 16)) if len(small) > len(sides) / 2 else data.size
    return [
        Finding(
            "Extreme shapes", len(narrow), f"One side is over {NARROW} times the other{lost}.",
            "data.resize=pad keeps all of them" if lost else "", rows=narrow,
        ),
        Finding(
            "Small images", len(small), f"Their sides are below data.size={data.size}; they are enlarged.",
            f"data.size={usual} is near the usual size" if usual < data.size else "", rows=small,
        ),
        Finding("Turned images", len(turned), "Their EXIF data say how; they are read upright.", rows=turned),
        Finding("Transparent images", len(clear), "They are put on white.", rows=clear),
    ]  # fmt: skip


def _marks(data: ImageDataModule) -> list[Finding]:
    if data.folder is None or any(data.decoding.crop_edges):
        return []
    edges = pixels.burned_in_edges(data.folder, data.paths, data.white)
    if edges is None:
        return []
    named = zip(edges, ("top", "right", "bottom", "left"), strict=True)
    sides = ", ".join(f"{depth} px at the {side}" for depth, side in named if depth)
    return [
        Finding(
            "Marks in all images", len(data.paths), f"The same pixels at the same place, such as a scale bar: {sides}.",
            f"'data.crop_edges=[{','.join(map(str, edges))}]' cuts them off", True, np.arange(min(12, len(data.paths))),
        )
    ]  # fmt: skip


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", …" if len(names) > SHOWN else "")
