"""Embeddings of a data set, with labels, paths and splits: the input of all evaluation."""

import json
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import batch_norm
from torch.nn.modules.batchnorm import _BatchNorm

from fewlabels.core.atomic_io import atomic_write, is_utf8, spelled, unspelled
from fewlabels.core.batch import Batch
from fewlabels.core.errors import UserError

COLUMNS = ("path", "split", "label", "index", "embedding")


@dataclass(frozen=True)
class Embeddings:
    """Embedding vectors of N samples, and their metadata.

    Attributes:
        vectors: float32 [N, D].
        labels: int64 [N] class index; -1 means unlabelled.
        index: int64 [N] position in the data module's table of samples.
        paths: [N] relative paths of the images; empty if unknown.
        splits: [N] "train", "val", "test" or "unseen"; empty if unknown.
        classes: Class names that `labels` index into; empty if unknown.
        provenance: What the embeddings were made from: "checkpoint" (SHA-256) and "store" (key of the decoded images).
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    paths: NDArray[np.str_] = field(default_factory=lambda: np.array([], np.str_))
    splits: NDArray[np.str_] = field(default_factory=lambda: np.array([], np.str_))
    classes: tuple[str, ...] = ()
    provenance: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse columns of different lengths: a row would be another image's."""
        rows = {len(self.vectors), len(self.labels), len(self.index)}
        rows |= {len(column) for column in (self.paths, self.splits) if len(column)}
        if len(rows) > 1:
            raise ValueError(f"Embeddings need as many vectors, labels, paths … as samples, not {sorted(rows)}.")

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def select(self, rows: NDArray[Any]) -> "Embeddings":
        """Select rows by a mask bool [N] or by their numbers."""
        paths, splits = (column[rows] if len(column) else column for column in (self.paths, self.splits))
        vectors, labels, index = self.vectors[rows], self.labels[rows], self.index[rows]
        return replace(self, vectors=vectors, labels=labels, index=index, paths=paths, splits=splits)

    def described(
        self, paths: Sequence[str], splits: Sequence[str] | NDArray[np.str_], classes: Sequence[str]
    ) -> "Embeddings":
        """Add paths [N], splits [N] and class names."""
        return replace(self, paths=np.array(paths, np.str_), splits=np.array(splits, np.str_), classes=tuple(classes))

    def save(self, file: str | Path, provenance: dict[str, str] | None = None) -> None:
        """Write Parquet, atomically: one row per sample, with columns path, split, label, index and embedding.

        Class names and provenance are JSON in the schema's metadata, under "classes" and "provenance". If file names
        are not UTF-8, which Parquet requires, all paths are `spelled`, as in `caf%E9.png`; "spelled" is then true.

        Args:
            file: The file.
            provenance: Written instead of `self.provenance`, if given.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = Path(file)
        unknown = np.full(len(self), "")
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self.vectors.ravel()), self.vectors.shape[1])
        spells = not all(map(is_utf8, self.paths.tolist()))
        paths = np.array([spelled(path) for path in self.paths.tolist()]) if spells else self.paths
        text = [pa.array(column if len(column) else unknown, pa.string()) for column in (paths, self.splits)]
        table = pa.table([*text, pa.array(self.labels), pa.array(self.index), vectors], names=list(COLUMNS))
        metadata: dict[str, Any] = {"classes": self.classes, "provenance": provenance or self.provenance}
        metadata |= {"spelled": True} if spells else {}
        table = table.replace_schema_metadata({key: json.dumps(value) for key, value in metadata.items()})
        with atomic_write(file) as temporary:
            pq.write_table(table, temporary)

    @classmethod
    def load(cls, file: str | Path) -> "Embeddings":
        """Read what `save` wrote.

        Raises:
            UserError: There is no such file, or it is not a table of embeddings.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(file)
            columns = {name: table.column(name).combine_chunks() for name in COLUMNS}
            classes = json.loads(table.schema.metadata[b"classes"])
            provenance = json.loads(table.schema.metadata.get(b"provenance", b"{}"))
            spells = json.loads(table.schema.metadata.get(b"spelled", b"false"))
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"{file} is not a table of embeddings ({type(error).__name__}: {error}). Give an embeddings.parquet "
                "that evaluate.py wrote."
            ) from error
        vectors = columns["embedding"].flatten().to_numpy().reshape(len(table), -1)
        labels, index = (np.array(columns[name].to_numpy()) for name in ("label", "index"))
        texts = [columns[name].to_pylist() for name in ("path", "split")]
        paths, splits = (np.array([unspelled(t) for t in text] if spells else text, np.str_) for text in texts)
        paths, splits = (column if any(column) else column[:0] for column in (paths, splits))
        return cls(vectors.astype(np.float32), labels, index, paths, splits, tuple(classes), provenance)


def sample(rows: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """Draw at most `count` of the rows at random, sorted."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def extract(
    embed: Callable[[Tensor], Tensor],
    loader: Iterable[Batch],
    network: nn.Module,
    device: torch.device | str = "cpu",
    context: AbstractContextManager[object] | None = None,
) -> Embeddings:
    """Embed all batches of `loader`, in eval mode and without gradients.

    The mode of every submodule is restored afterwards: a backbone left in eval mode would not update its batch norms.

    Args:
        embed: Maps samples [B, ...] to embeddings [B, D].
        loader: Batches in a fixed order.
        network: The module that `embed` uses.
        device: Where the network is.
        context: Context manager for `embed`, such as an autocast.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    try:
        with torch.inference_mode(), context or nullcontext():
            for x, y, index in loader:
                parts.append((embed(x.to(device)).float().cpu(), y, index))
    finally:
        for module, mode in modes.items():
            module.training = mode
    vectors, labels, rows = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    return Embeddings(vectors, labels, rows)


def calibrate_batch_norms(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Replace the running statistics of all batch norms by the averages over `batches`, in one pass without labels.

    As a pass in train mode with `momentum=None`, but all else stays in eval mode (so nothing is drawn at random), and
    synchronised batch norms do not wait for other processes. A random network whose running mean is still 0 and
    variance 1 normalises nothing: it would be a weaker baseline than the architecture is. No parameter and no mode
    changes; batches of a single sample, which have no variance, are left out.

    Args:
        network: On the device of the batches; one without batch norms is left as it is, and no batch is read.
        batches: The network's inputs [B, ...], normalised; best shuffled, and of equal size, since each counts once.
    """
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None]
    if not norms:
        return
    seen = dict.fromkeys(norms, 0)

    def update(norm: _BatchNorm, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        seen[norm] += 1
        return batch_norm(
            inputs[0], norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True,
            momentum=1 / seen[norm], eps=norm.eps,
        )  # fmt: skip

    modes = {module: module.training for module in network.modules()}
    network.eval()
    hooks = [norm.register_forward_hook(update) for norm in norms]
    try:
        with torch.no_grad():
            for x in batches:
                if len(x) > 1:
                    network(x)
    finally:
        for hook in hooks:
            hook.remove()
        for module, mode in modes.items():
            module.training = mode


def pooled_blocks(backbone: nn.Module, blocks: dict[str, nn.Module]) -> Callable[[Tensor], Tensor]:
    """Make a function that embeds by all blocks in one forward pass, for `extract`.

    Args:
        backbone: The network.
        blocks: Some of its modules by name; each returns images [B, C, H, W] or tokens [B, T, C].

    Returns:
        A function from the network's input to [B, D]: the blocks' outputs, averaged over positions and concatenated in
        the order of `blocks`. Once called, its attribute `sizes` lists the number of columns of each block.
    """
    outputs: dict[str, Tensor] = {}

    def embed(x: Tensor) -> Tensor:
        hooks = [
            block.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: _pooled(out)}))
            for name, block in blocks.items()
        ]
        try:
            backbone(x)
        finally:
            for hook in hooks:
                hook.remove()
        embed.sizes = [outputs[name].shape[1] for name in blocks]  # type: ignore[attr-defined]
        return torch.cat([outputs[name] for name in blocks], 1)

    return embed


def _pooled(out: Tensor) -> Tensor:
    """Average over pixels [B, C, H, W] or tokens [B, T, C]; vectors [B, C] are returned unchanged."""
    return out.mean((2, 3)) if out.dim() == 4 else out.mean(1) if out.dim() == 3 else out
