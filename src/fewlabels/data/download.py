"""Fetch an archive from a stranger: resumed where it was cut, measured, and unpacked whole or not at all."""

import errno
import logging
import os
import shutil
import tarfile
import urllib.request
import zlib
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from fewlabels.data.progress import progress
from fewlabels.data.store import locked
from fewlabels.errors import UserError

log = logging.getLogger(__name__)
_ATTEMPTS = 5
_BLOCK = 1 << 20  # bytes read at a time
_SILENCE = 60  # seconds without a byte that count as a cut connection
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


def fetch_archive(url: str, folder: Path, archive_bytes: int | None = None) -> None:
    """Download a tar archive and unpack it to `folder`, which must not hold anything yet.

    What was received of a download that was cut is kept beside `folder` and continued next time. The archive is
    deleted once it is unpacked. Several processes may call this at once: one works, the others wait for it.

    Args:
        url: Of the archive, http or https.
        folder: Where its contents go.
        archive_bytes: The length it must have; None: what the server announces.

    Raises:
        UserError: the server cannot be reached or sends something else, the archive is damaged or would write
            outside `folder`, or the disk is full.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"data.url={url} must begin with https:// or http://.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with locked(folder.parent / f".{folder.name}.lock"):
            if folder.exists() and any(folder.iterdir()):
                return  # another process fetched it while this one waited
            archive = folder.parent / Path(urlsplit(url).path).name
            archive = archive.with_name(f".{folder.name}.{archive.name or 'archive'}")  # ours: no file of the user's
            if not archive.exists():
                _download(url, archive, archive_bytes)
            _unpack(archive, folder)
            archive.unlink()
    except OSError as error:
        if error.errno not in (*_UNWRITABLE, errno.ENOTDIR):
            raise
        raise UserError(
            f"{folder.parent} cannot take the download for data.root={folder} ({error.strerror}). Make room, or give "
            "a data.root where you may write and that has room for the archive and its contents."
        ) from error


def _download(url: str, archive: Path, archive_bytes: int | None) -> None:
    """Receive `url` into `<archive>.part`, in several attempts if need be, and rename it when its length is right."""
    part = archive.with_name(f"{archive.name}.part")
    expected, reason = archive_bytes, "the connection was cut"
    for _ in range(_ATTEMPTS):
        before = _length(part)
        try:
            expected = _receive(url, part, archive_bytes)
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", None) in _UNWRITABLE:
                raise
            reason, code = str(error), 0
            if isinstance(error, HTTPError):
                code = error.code
                error.close()
            if 400 <= code < 500 and code != 416:
                raise UserError(
                    f"{url}: the server answers {reason}. Check data.url, or fetch the archive yourself, unpack it and "
                    "give data.root=FOLDER."
                ) from error
            if code == 416:  # what is here is no beginning of what is there: start anew
                part.unlink()
                continue
        if _length(part) == expected:
            part.replace(archive)
            return
        if _length(part) <= before:
            break  # no use in asking again
    raise UserError(
        f"{part}: received {_length(part):,} bytes of {expected or 'an unknown number'} from {url} ({reason}). Run the "
        "same command again to go on from there, or unpack the archive yourself and give data.root=FOLDER."
    )


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _receive(url: str, part: Path, archive_bytes: int | None) -> int:
    """Append what is missing to `part` in one connection; return the length it should then have, in bytes.

    Raises:
        UserError: the server's file does not have the length that was asked for.
    """
    have = _length(part)
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    with urllib.request.urlopen(request, timeout=_SILENCE) as answer:
        if answer.status != 206:
            have = 0  # a server that cannot resume sends all of it
        rest = answer.headers["Content-Length"]
        total = have + int(rest) if rest else archive_bytes
        if archive_bytes not in (None, total):
            part.unlink(missing_ok=True)
            raise UserError(
                f"{url} is {total:,} bytes long, and data.archive_bytes says {archive_bytes:,}: it is not the "
                "file that this program knows. If you trust it all the same, give data.archive_bytes=null."
            )
        with progress(f"Downloading {url}", total) as advance, part.open("ab" if have else "wb") as file:
            advance(have)
            while block := answer.read(_BLOCK):
                file.write(block)
                advance(len(block))
    return _length(part) if total is None else total


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack beside `folder` and rename when whole."""
    for stale in folder.parent.glob(f".{folder.name}.*.unpacking"):
        shutil.rmtree(stale)  # of a process that was killed; we hold the lock, so it is not at work
    part = folder.parent / f".{folder.name}.{os.getpid()}.unpacking"
    log.info("Unpacking %s to %s", archive, folder)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(part, filter="data")  # refuses paths and links that lead outside
        if not part.exists():
            raise tarfile.ReadError("it is empty")
        if folder.exists():
            folder.rmdir()
        part.rename(folder)
    except tarfile.FilterError as error:
        archive.unlink()
        raise UserError(f"{archive} is not to be trusted and was deleted, nothing was unpacked: {error}.") from error
    except (tarfile.TarError, EOFError, KeyError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            raise
        kind, first = _kind(archive), str(error).partition("\n")[0].rstrip(":")
        archive.unlink()
        raise UserError(
            f"{archive} is {kind}, not a whole tar archive that can be unpacked here, and was deleted ({first}). Check "
            "data.url; if it is right, run the same command again to download it anew."
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _kind(file: Path) -> str:
    """What a file looks to be by its first bytes, and its length."""
    with file.open("rb") as handle:
        start = handle.read(512).lstrip()
    known = {b"PK": "a zip archive", b"<": "a web page", b"Rar": "a rar archive", b"7z": "a 7z archive"}
    name = next((name for magic, name in known.items() if start.startswith(magic)), "a file")
    return f"{name} of {_length(file):,} bytes"
