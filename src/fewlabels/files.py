"""Writing files that are whole or not there."""

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write beside `path` and rename, so that nobody ever reads half of it.

    Raises:
        OSError: As the file system refused it; what was at `path` before is untouched.
    """
    part = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        part.write_text(text, encoding="utf-8", errors="surrogateescape")  # as names of files may be no UTF-8
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
