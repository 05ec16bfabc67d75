"""Names of what is written, valid and unique, and links to images."""

import errno
import os
import re
import shutil
import unicodedata
from pathlib import Path

from fewlabels.core.errors import UserError

MAX_NAME = 255
"""Bytes of a file name on Linux and macOS."""
INVALID = re.compile(r"%(?=[0-9a-fA-F]{2})|[/\\\x00-\x1f\x7f]|^[. ]|^_(?=_MACOSX$)| $")
"""What a file name cannot have, or what makes the file hidden, or its path another one in a labels.csv; and "%41"."""
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)
"""What file systems answer that have no symbolic links, such as exFAT."""


def safe_name(name: str) -> str:
    """A file name for any text: invalid characters as in an address, "/" as "%2F", so that `unquote` gives the text.

    Raises:
        UserError: It is longer than `MAX_NAME` bytes, or empty.
    """
    safe = INVALID.sub(lambda found: _quoted(found[0]), name)
    if not 0 < len(os.fsencode(safe)) <= MAX_NAME:
        raise UserError(
            f"{name!r} cannot be the name of a file: it needs 1 to {MAX_NAME} bytes. Rename the class, or the file."
        )
    return safe


def unique_name(name: str, taken: set[str], path: str | None = None) -> str:
    """A file name for `name` that is not `taken`, to which it is added.

    Names that differ only in case or in Unicode's form are one file on macOS. Of a name that is taken, as many first
    characters are written as "%43" as make it unique.

    Args:
        name: Any text.
        taken: Names in this folder, as `folded` gives them.
        path: Quoted in the place of `name` if that is taken; None: `name`.
    """
    safe, whole, quoted = safe_name(name), name if path is None else path, 0
    while folded(safe) in taken:
        quoted += 1
        safe = _quoted(whole[:quoted]) + INVALID.sub(lambda found: _quoted(found[0]), whole[quoted:])
    taken.add(folded(safe))
    return safe


def folded(name: str) -> str:
    """Equal for names of one file on a file system that ignores case and Unicode's form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(text))


def link_or_copy(source: Path, target: Path) -> bool:
    """Make `target` a symbolic link to `source`, or a copy if the file system has no links; the folders are made.

    Args:
        source: An absolute path.
        target: A new file.

    Returns:
        Whether it is a link.

    Raises:
        UserError: There is no such image any more.
    """
    if not source.is_file():
        raise UserError(f"{source} cannot be read any more. Put it back, or leave out formats=.")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.symlink_to(source)
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        shutil.copyfile(source, target)
        return False
    return True
