"""The images of a folder with their embeddings, which are computed once for each network and folder."""

import hashlib
import logging
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from fewlabels.core.backbones import Backbone
from fewlabels.core.checkpoints import load_backbone, read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.core.interfaces import ImageData, is_images
from fewlabels.data.image_store.progress import Advance, progress
from fewlabels.data.image_store.store import cache_folder
from fewlabels.evaluation.embed import embed_rows
from fewlabels.probing.embeddings import Embeddings
from fewlabels.probing.selection import neighbour_space
from fewlabels.training.build import build_data, evaluation_data_node
from fewlabels.training.config_types import trusted_config

log = logging.getLogger(__name__)
CHUNK = 1024
"""Images that are embedded between two steps of the progress bar."""


@dataclass(frozen=True)
class EmbeddedImages:
    """All N images of a folder.

    Attributes:
        data: Their data module, set up.
        embeddings: N rows, in the order of its table.
        points: float32 [N, d], see `neighbour_space`.
    """

    data: ImageData
    embeddings: Embeddings
    points: NDArray[np.float32]


class Source(NamedTuple):
    """Images that are not embedded yet, and the network to embed them."""

    data: ImageData
    network: Backbone


def load_source(settings: dict[str, Any]) -> Source:
    """Load the images of a folder, and a trained network, onto a GPU where there is one.

    Args:
        settings: `run`, a run directory or checkpoint; `data`, overrides of its data; and `trust`.

    Raises:
        UserError: There is no such run, its network embeds points, or the images cannot be read.
    """
    checkpoint, path = read_checkpoint(settings["run"])
    config, trained = trusted_config(checkpoint, path, settings.get("trust", [])), checkpoint["fewlabels"]["backbone"]
    data = build_data(evaluation_data_node(config["data"], settings["data"], trained))
    if not is_images(data):
        raise UserError(f"run={settings['run']} embeds points, and images are labelled. Give a run of images.")
    data.setup()
    if len(data.paths) < 2:
        raise UserError(f"data.root={data.root} has a single image: at least 2 are needed to compare them.")
    network = load_backbone(path)
    return Source(data, network.to(torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")))


def embed_images(source: Source, orientations: int, advance: Advance | None = None) -> EmbeddedImages:
    """Embed all images, or read their embeddings from the cache folder, where they are kept.

    They are read if network, images and orientations are the same.

    Args:
        source: Images and network.
        orientations: Of an image, over which its embedding is the mean.
        advance: Called with the number of images just embedded; None: a progress bar in the terminal.

    Raises:
        UserError: Embeddings are not finite.
    """
    embeddings = _cached(source, orientations, advance)
    if broken := int((~np.isfinite(embeddings.vectors)).any(1).sum()):
        raise UserError(f"{broken} of {len(embeddings)} embeddings are not finite: the training diverged.")
    return EmbeddedImages(source.data, embeddings, neighbour_space(embeddings.vectors))


def _cached(source: Source, orientations: int, advance: Advance | None) -> Embeddings:
    data, network = source
    provenance = {"network": network_digest(network), "store": str(data.store_key), "orientations": str(orientations)}
    key = hashlib.sha256(repr(sorted(provenance.items())).encode()).hexdigest()[:12]
    file = cache_folder(data.cache_dir) / f"{data.store_key}-{key}.parquet"
    stored = _read(file) if file.is_file() else None
    if stored is not None and stored.provenance == provenance and len(stored) == len(data.labels):
        log.info("Reusing the embeddings in %s: same network, same images.", file)
        return Embeddings(stored.vectors, data.labels, stored.index, stored.paths, classes=tuple(data.classes))
    rows = np.arange(len(data.labels))
    with progress(f"Embedding {len(rows):,} images", len(rows)) if advance is None else nullcontext(advance) as done:
        vectors = [_embed(source, rows[i : i + CHUNK], orientations, done) for i in rows[::CHUNK]]
    made = Embeddings(np.concatenate(vectors), data.labels, rows, np.array(data.paths), classes=tuple(data.classes))
    made.save(file, provenance)
    return made


def _embed(source: Source, rows: NDArray[np.int64], orientations: int, done: Advance) -> NDArray[np.float32]:
    vectors = embed_rows(source.network, source.data, rows, orientations).vectors
    done(len(rows))
    return vectors


def _read(file: Path) -> Embeddings | None:
    try:
        return Embeddings.load(file)
    except UserError as error:
        log.warning("%s Embedding all images again.", error)
        return None


def network_digest(network: Backbone) -> str:
    """SHA-256 of a network's weights and of the images that it expects."""
    digest = hashlib.sha256(repr((network.size, network.channels, network.mean, network.std)).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
