"""Decode the files of a folder in parallel processes."""

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from fewlabels.core.errors import UserError
from fewlabels.data.image_store.decode import Decoded, Decoding, Target, decode_chunk
from fewlabels.data.image_store.facts import FACTS, facts_notices, white_point
from fewlabels.data.image_store.progress import Advance
from fewlabels.data.image_store.store import Written

DEFAULT_WHITE = 65535
"""Of images of more than 8 bits, as long as their values are not known."""
_CHUNK = 64  # images per call of a worker
_MIN_CHUNKS = 4  # chunks per worker: a worker starts in the time that 256 images take to decode


def processors() -> int:
    """How many CPU cores this process may use; a batch system or a container often grants fewer than there are.

    The least of SLURM's cores per task and of what joblib finds: CPU affinity, and the quota of the control group.
    """
    import joblib

    slurm = os.environ.get("SLURM_CPUS_PER_TASK", "")
    return max(1, min(joblib.cpu_count(), int(slurm) if slurm.isdigit() else sys.maxsize))


def decode_all(root: str, paths: list[str], decoding: Decoding, target: Target, advance: Advance) -> Written:
    """Decode `paths` into the rows of `target`, in parallel unless they are few.

    If grey images of more than 8 bits turn out to have another white than 65535, these are decoded twice.

    Raises:
        OSError: `target` cannot be written, such as on a full disk.
        UserError: A worker was killed.
    """
    decoded = Decoded(np.zeros(len(paths), np.int64), {}, np.zeros(len(paths), FACTS))
    for rows, part in _decode_rows(root, paths, range(len(paths)), decoding, target):
        decoded.digests[rows], decoded.facts[rows] = part.digests, part.facts
        decoded.reasons.update({rows[place]: reason for place, reason in part.reasons.items()})
        advance(len(rows))
    white = white_point(decoded.facts)
    deep = np.flatnonzero((decoded.facts["bits"] > 8) & ~decoded.facts["real"]).tolist()
    if decoding.white is None and deep and white != DEFAULT_WHITE:
        for _ in _decode_rows(root, paths, deep, replace(decoding, white=white), target):
            pass
    notices = facts_notices(decoded.facts, paths, decoding.white, decoding.pages)
    return Written(*decoded, tuple(notices), (decoding.white or white) if deep else None)


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
