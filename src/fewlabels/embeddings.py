"""What a network makes of a data set, on one process and in a fixed order; everything after pretraining starts here."""

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from fewlabels.batch import Batch
from fewlabels.errors import UserError

COLUMNS = ("path", "split", "label", "index", "embedding")


@dataclass(frozen=True)
class Embeddings:
    """Vectors and what is known of each.

    Attributes:
        vectors: float32 [N, D].
        labels: int64 [N]; -1 means unlabelled.
        index: int64 [N] position in the data module's table of samples.
        paths: [N] relative paths of the images; empty where nobody said.
        splits: [N] "train", "val", "test" or "unseen"; likewise.
        classes: Names that the labels index into; likewise.
    """

    vectors: NDArray[np.float32]
    labels: NDArray[np.int64]
    index: NDArray[np.int64]
    paths: NDArray[np.str_] = field(default_factory=lambda: np.array([], np.str_))
    splits: NDArray[np.str_] = field(default_factory=lambda: np.array([], np.str_))
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """N."""
        return len(self.labels)

    def select(self, rows: NDArray[Any]) -> "Embeddings":
        """Some rows, by mask bool [N] or by number."""
        paths, splits = (part[rows] if len(part) else part for part in (self.paths, self.splits))
        return Embeddings(self.vectors[rows], self.labels[rows], self.index[rows], paths, splits, self.classes)

    def described(
        self, paths: Sequence[str], splits: Sequence[str] | NDArray[np.str_], classes: Sequence[str]
    ) -> "Embeddings":
        """The same with paths and splits [N], and the class names."""
        known = np.array(paths, np.str_), np.array(splits, np.str_), tuple(classes)
        return Embeddings(self.vectors, self.labels, self.index, *known)

    def save(self, file: str | Path) -> None:
        """Write Parquet: one row per sample, columns path, split, label, index and embedding.

        The class names are in the schema's metadata under "classes". Written beside and renamed.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        file = Path(file)
        blank = np.full(len(self), "")
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(self.vectors.ravel()), self.vectors.shape[1])
        text = [pa.array(part if len(part) else blank, pa.string()) for part in (self.paths, self.splits)]
        table = pa.table([*text, pa.array(self.labels), pa.array(self.index), vectors], names=list(COLUMNS))
        part = file.with_name(f"{file.name}.{os.getpid()}.tmp")
        try:
            pq.write_table(table.replace_schema_metadata({"classes": json.dumps(self.classes)}), part)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)

    @classmethod
    def load(cls, file: str | Path) -> "Embeddings":
        """Read what `save` wrote.

        Raises:
            UserError: There is no such file, or it is no table of embeddings.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(file)
            columns = {name: table.column(name).combine_chunks() for name in COLUMNS}
            classes = json.loads(table.schema.metadata[b"classes"])
        except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
            raise UserError(f"{file} is no table of embeddings ({type(error).__name__}: {error}).") from error
        vectors = columns["embedding"].flatten().to_numpy().reshape(len(table), -1)
        labels, index = (np.array(columns[name].to_numpy()) for name in ("label", "index"))
        paths, splits = (np.array(columns[name].to_pylist(), np.str_) for name in ("path", "split"))
        said = [part if any(part) else part[:0] for part in (paths, splits)]
        return cls(vectors.astype(np.float32), labels, index, said[0], said[1], tuple(classes))


def sample(rows: NDArray[np.int64], count: int, seed: int = 0) -> NDArray[np.int64]:
    """At most `count` of some rows, drawn with a seed of their own, in their order."""
    return np.sort(np.random.default_rng(seed).permutation(rows)[:count])


def extract(
    embed: Callable[[Tensor], Tensor],
    loader: Iterable[Batch],
    network: nn.Module,
    device: torch.device | str = "cpu",
    context: AbstractContextManager[object] | None = None,
) -> Embeddings:
    """Embed everything that `loader` yields, in eval mode and without gradients.

    Every submodule gets its own mode back: a backbone left in eval mode would freeze its batch norms and learn
    nothing, while its loss still moves.

    Args:
        embed: [B, ...] to [B, D].
        loader: Batches in a fixed order.
        network: The module whose modes `embed` depends on.
        device: Where it lies.
        context: Such as an autocast.
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


def pooled_blocks(backbone: nn.Module, blocks: dict[str, nn.Module]) -> Callable[[Tensor], Tensor]:
    """Make a function that embeds by every block at once, for `extract`.

    Args:
        backbone: The network.
        blocks: Some of its modules by name, from the input to the output; each gives [B, C, H, W] or tokens [B, T, C].

    Returns:
        A function from the network's input to [B, D]: every block's output averaged over places, one after another, in
        the order of `blocks`. Its attribute `sizes` holds each block's share of D once it has been called.
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
    return out.mean((2, 3)) if out.dim() == 4 else out.mean(1) if out.dim() == 3 else out
