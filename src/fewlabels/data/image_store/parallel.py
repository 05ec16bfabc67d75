"""Decode the files of a folder in parallel processes, but those that an earlier store has."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Decoded, Decoding, Target, decode_chunk
from fewlabels.data.image_store.facts import FACTS, facts_notices, white_point
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Store, Written

DEFAULT_WHITE = 65535
"""Of images of more than 8 bits, as long as their values are not known."""
_CHUNK = 64  # images per call of a worker
_COPIED = 256  # images per write of copied ones
_MIN_CHUNKS = 4  # chunks per worker: a worker starts in the time that 256 images take to decode


def processors() -> int:
    """How many CPU cores this process may use; a batch system or a container often grants fewer than there are.

    The least of SLURM's cores per task and of what joblib finds: CPU affinity, and the quota of the control group.
    """
    import joblib

    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(joblib.cpu_count(), int(slurm) if slurm.isdigit() else sys.maxsize))


def decode_all(
    root: str, paths: list[str], versions: NDArray[np.int64], decoding: Decoding, target: Target, advance: Advance,
    earlier: Store | None = None,
) -> Written:  # fmt: skip
    """Decode `paths` into the rows of `target`, in parallel unless they are few; copy rows of unchanged files.

    If images of more than 8 bits turn out to have another white than they were decoded with, they are decoded again.

    Args:
        root: Absolute folder.
        paths: [N] below it, perhaps with the number of a page.
        versions: int64 [N, 2]: length in bytes and modification time in ns of each file.
        decoding: How.
        target: Where to.
        advance: Called with the number of images just written.
        earlier: A store of the same folder, decoded in the same way.

    Raises:
        OSError: `target` cannot be written, such as on a full disk.
        UserError: A worker was killed.
    """
    decoded = Decoded(np.zeros(len(paths), np.int64), {}, np.zeros(len(paths), FACTS))
    copied = _copy_rows(paths, versions, target, advance, earlier, decoded)
    whites = np.where(copied, (earlier and earlier.white) or DEFAULT_WHITE, DEFAULT_WHITE)  # that rows are scaled by
    new = np.flatnonzero(~copied).tolist() if copied.any() else range(len(paths))
    for rows, part in _decode_rows(root, paths, new, decoding, target):
        decoded.digests[rows], decoded.facts[rows] = part.digests, part.facts
        decoded.reasons.update({rows[place]: reason for place, reason in part.reasons.items()})
        advance(len(rows))
    read = decoded.facts["width"] > 0
    decoded.facts["bytes"][read], decoded.facts["modified"][read] = versions[read].T
    white = white_point(decoded.facts)
    deep = (decoded.facts["bits"] > 8) & ~decoded.facts["real"]
    if decoding.white is None and (again := np.flatnonzero(deep & (whites != white)).tolist()):
        for _ in _decode_rows(root, paths, again, replace(decoding, white=white), target):
            pass
    notices = facts_notices(decoded.facts, paths, decoding.white, decoding.pages)
    return Written(*decoded, tuple(notices), (decoding.white or white) if deep.any() else None, int(copied.sum()))


def _copy_rows(
    paths: list[str], versions: NDArray[np.int64], target: Target, advance: Advance, earlier: Store | None,
    decoded: Decoded,
) -> NDArray[np.bool_]:  # fmt: skip
    """Copy the rows of files that `earlier` has, of the same path, length and modification time.

    Returns:
        bool [N]: which rows are copied; what is known of them is in `decoded`.
    """
    copied = np.zeros(len(paths), bool)
    if earlier is None or (facts := earlier.facts) is None or facts.dtype != FACTS:
        return copied
    if not 0 < len(facts) == len(earlier.paths) == len(earlier.images):
        return copied  # damaged
    known = {path: row for row, path in enumerate(earlier.paths)}
    old = np.array([known.get(path, -1) for path in paths], np.int64)
    same = (facts["bytes"][old] == versions[:, 0].astype(np.uint64)) & (facts["modified"][old] == versions[:, 1])
    copied = (old >= 0) & same
    rows = np.flatnonzero(copied)
    decoded.digests[rows], decoded.facts[rows] = earlier.digests[old[rows]], facts[old[rows]]
    for run in np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1):
        for start in range(0, len(run), _COPIED):
            part = run[start : start + _COPIED]
            target.put(int(part[0]), earlier.images[old[part]])
            advance(len(part))
    return copied


def _decode_rows(
    root: str, paths: list[str], rows: Sequence[int], decoding: Decoding, target: Target
) -> Iterator[tuple[Sequence[int], Decoded]]:
    """Decode some of `paths` into their rows of `target`, and yield them chunk by chunk."""
    from joblib import Parallel, delayed, parallel_config
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    calls = (delayed(decode_chunk)(root, [paths[row] for row in chunk], decoding, target, chunk) for chunk in chunks)
    workers = max(1, min(processors(), len(chunks) // _MIN_CHUNKS))  # 1: joblib decodes in this process
    try:
        with parallel_config("loky", n_jobs=workers, inner_max_num_threads=1):
            yield from Parallel(return_as="generator_unordered")(calls)
    except TerminatedWorkerError as error:
        raise UserError(
            f"data.root={root}: a process that decodes images was killed, probably because memory ran out. Free "
            "memory, or remove the image that is too large."
        ) from error
