"""Everything that is worth knowing of a data module's images, as sentences with what to type."""

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fewlabels.data.base import ImageDataModule
from fewlabels.data.doctor import pixels
from fewlabels.data.doctor.duplicates import near_duplicates
from fewlabels.data.image_store.facts import WHITES, white_point
from fewlabels.data.image_store.folder import scan_folder
from fewlabels.data.splits.class_names import likely_unlabelled
from fewlabels.data.splits.labels import similar_names

NARROW = 10
"""Longer side over shorter side of extreme images."""
SHOWN = 3
MANY = 0.05
"""Files that are not read, as a share of the images, above which they may be half of the data."""


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
    only = next(iter(sizes)) if len(sizes) == 1 else ""
    groups = "; ".join(" and ".join(f"{name} ({sizes[name]})" for name in group) for group in alike[:SHOWN])
    return [
        Finding(
            "A single class", int(bool(only)), f"All labelled images are in {only!r}: is it a class?",
            f"if not, 'data.unlabelled=[{only}]'",
        ),
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
    cut = np.flatnonzero(4 * sides.min(1) < 3 * longest) if data.resize == "crop" else pixels.NONE
    lost = {"crop": "; only the middle is seen", "squash": "; they are distorted"}.get(data.resize, "")
    usual = max(16, 16 * round(float(np.median(longest)) / 16)) if len(small) > len(sides) / 2 else data.size
    return [
        *_unread(data), *_rare_depth(facts, data.decoding.white),
        Finding(
            "Cut images", len(cut), f"Over a quarter of these {len(cut):,} of {len(sides):,} images is cut off.",
            "data.resize=pad keeps all of it", rows=cut,
        ),
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


def _unread(data: ImageDataModule) -> list[Finding]:
    """Files that are no readable images; to be decided if they are many."""
    found = data.unreadable
    left_out = scan_folder(data.folder).unread() if data.folder else {}
    kinds = ", ".join(f"{count:,} {name}" for name, count in list(left_out.items())[:SHOWN])
    damaged = "; ".join(f"{path} ({reason})" for path, reason in list(found.items())[:SHOWN])
    many = MANY * len(data.paths)
    return [
        Finding(
            "Files that are not read", (total := sum(left_out.values())), f"{kinds}.",
            "save them as PNG or TIFF, if they are images", total > many,
        ),
        Finding(
            "Files that cannot be read", len(found), f"{damaged}.", "repair or remove them", len(found) > many,
        ),
    ]  # fmt: skip


def _rare_depth(facts: NDArray[np.void], white: float | None) -> list[Finding]:
    """Images that need a higher white point than nearly all others."""
    deep = np.flatnonzero((facts["bits"] > 8) & ~facts["real"])
    chosen = white_point(facts)
    if white is not None or not len(deep) or chosen == WHITES[0]:
        return []
    lower = WHITES[WHITES.index(chosen) - 1]
    above = deep[facts["high"][deep] > lower]
    usual = next(value for value in WHITES if value >= np.quantile(facts["high"][deep], 0.95))
    if usual == chosen:
        return []
    return [
        Finding(
            "Brighter than nearly all others", len(above),
            f"Because of these {chosen:,} is white, and the others are dark: have they hot pixels?",
            f"data.white={usual}, if the others are right", True, above,
        )
    ]  # fmt: skip


def _marks(data: ImageDataModule) -> list[Finding]:
    facts = data.file_facts
    if data.folder is None or facts is None or any(data.decoding.crop_edges):
        return []
    sides = np.minimum(facts["width"], facts["height"]).astype(np.int64)
    edges = pixels.burned_in_edges(data.folder, data.paths, sides, data.white)
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
