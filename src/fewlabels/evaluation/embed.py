"""Embeddings of a data module's samples: computed, or read from the run's embeddings.parquet."""

import logging
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fewlabels.core.backbones import Backbone
from fewlabels.core.checkpoints import digest
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import DataModule, is_images
from fewlabels.probing.embeddings import Embeddings, extract
from fewlabels.probing.orientations import mean_embedding

log = logging.getLogger(__name__)
SPLITS = ("train", "val", "test", "unseen")


def provenance_of(path: Path, data: DataModule, orientations: int = 1) -> dict[str, str]:
    """What determines the embeddings of all samples: equal values mean equal embeddings.

    Returns:
        "checkpoint" (SHA-256); of images also "store" (key of the decoded pixels), "normalisation", and, if there are
        several, "orientations".
    """
    provenance = {"checkpoint": digest(path)}
    if data.store_key:
        provenance |= {"store": data.store_key, "normalisation": f"mean {list(data.mean)}, std {list(data.std)}"}
    if orientations > 1:
        provenance["orientations"] = str(orientations)
    return provenance


def stored_or_embedded(
    backbone: Backbone, data: DataModule, rows: NDArray[np.int64], orientations: int, path: Path
) -> tuple[Embeddings, dict[str, str]]:
    """Embed samples, or reuse the run's embeddings.parquet if its provenance is the same.

    Args:
        backbone: The network of the checkpoint.
        data: Its images or points.
        rows: int64 [N], sorted.
        orientations: As in `embed_rows`.
        path: The checkpoint.

    Returns:
        The embeddings, and their provenance.

    Raises:
        UserError: Embeddings are not finite, or these are several orientations of points.
    """
    provenance = provenance_of(path, data, orientations)
    file = path.parent.parent / "embeddings.parquet"
    stored = _stored_embeddings(file, data, rows, provenance) if "store" in provenance and file.is_file() else None
    embeddings = embed_rows(backbone, data, rows, orientations) if stored is None else stored
    if broken := int((~np.isfinite(embeddings.vectors)).any(1).sum()):
        raise UserError(
            f"{path}: {broken} of {len(embeddings)} embeddings are not finite: the training diverged. Pretrain again "
            "with a lower method.optimizer.lr."
        )
    return embeddings, provenance


def _stored_embeddings(
    file: Path, data: DataModule, rows: NDArray[np.int64], provenance: dict[str, str]
) -> Embeddings | None:
    """Read the embeddings of `rows` from embeddings.parquet; None if it is damaged or its provenance differs."""
    try:
        stored = Embeddings.load(file)
    except UserError as error:
        log.warning("%s Embedding all samples again.", error)
        return None
    if stored.provenance != provenance or not np.isin(rows, stored.index).all():
        return None
    log.info("Reusing %s: same checkpoint, same images.", file)
    vectors = stored.vectors[np.searchsorted(stored.index, rows)]
    return _with_description(Embeddings(vectors, data.labels[rows], rows), data)


def embed_rows(network: Backbone, data: DataModule, rows: NDArray[np.int64], orientations: int = 1) -> Embeddings:
    """Embed rows of a data module's table, with their paths, splits and labels.

    Args:
        network: In any mode; it is evaluated in eval mode, on the device that it is on.
        data: Its images or points.
        rows: int64 [N].
        orientations: Of every image, over which its embedding is the mean; see `mean_embedding`.

    Raises:
        UserError: Several orientations of points.
    """
    if orientations > 1 and not is_images(data):
        raise UserError(f"orientations={orientations}: the data are points, not images. Leave it at 1.")

    def embed(x: Tensor) -> Tensor:
        return mean_embedding(network, network.normalise(x), orientations)

    return _with_description(extract(embed, data.loader(rows), network, next(network.parameters()).device), data)


def _with_description(embeddings: Embeddings, data: DataModule) -> Embeddings:
    """The same embeddings with the paths, splits and class names of a data module."""
    split_of = np.full(len(data.labels), "", dtype="<U6")
    for split in SPLITS:
        split_of[data.indices(split)] = split
    return embeddings.described([data.paths[row] for row in embeddings.index], split_of[embeddings.index], data.classes)
