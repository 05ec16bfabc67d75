"""Download an archive: resumable, with its version, length and SHA-256 checked, and unpacked atomically."""

import errno
import hashlib
import json
import logging
import os
import shutil
import tarfile
import urllib.request
import zlib
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit

from fewlabels.core.atomic_io import write_text
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.progress import progress
from fewlabels.data.image_store.store import file_lock

log = logging.getLogger(__name__)
_ATTEMPTS = 5
_BLOCK = 1 << 20  # bytes read at a time
_TIMEOUT = 60  # seconds without data before the connection counts as lost
_NOT_WRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS)


class _ChangedError(Exception):
    """The file on the server is another one than that of which a part is here."""


def download_archive(url: str, folder: Path, archive_bytes: int | None = None, *, sha256: str | None = None) -> None:
    """Download a tar archive and unpack it to `folder`, which must be empty or missing.

    An interrupted download is kept beside `folder` and resumed by the next call. The archive is deleted after it is
    unpacked. Several processes may call this at once: one works, the others wait for it.

    Args:
        url: Address of the archive, http or https.
        folder: Where to unpack it.
        archive_bytes: The length it must have; None: the length that the server states.
        sha256: The SHA-256 it must have, in hexadecimal; None: it is not checked, and the log says so.

    Raises:
        UserError: The server cannot be reached or sends something else, or another version of the archive than that of
            which a part is here (which is deleted then); the archive is damaged or would write
            outside `folder`, or the disk is full.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise UserError(f"data.url={url} must start with https:// or http://.")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with file_lock(folder.parent / f".{folder.name}.lock"):
            if folder.exists() and any(folder.iterdir()):
                return  # another process downloaded it while this one waited
            archive = folder.parent / Path(urlsplit(url).path).name
            archive = archive.with_name(f".{folder.name}.{archive.name or 'archive'}")  # never a file of the user's
            if not archive.exists():
                _download(url, archive, archive_bytes)
            _check_sum(archive, sha256)
            _unpack(archive, folder)
            archive.unlink()
    except OSError as error:
        if error.errno not in (*_NOT_WRITABLE, errno.ENOTDIR):
            raise
        raise UserError(
            f"{folder.parent} cannot store the download for data.root={folder} ({error.strerror}). Free space, or give "
            "a writable data.root with space for the archive and its contents."
        ) from error


def _download(url: str, archive: Path, archive_bytes: int | None) -> None:
    """Receive `url` into `<archive>.part`, in several attempts if necessary; rename it when its length is correct."""
    part = archive.with_name(f"{archive.name}.part")
    expected, reason = archive_bytes, "the connection was closed"
    for _ in range(_ATTEMPTS):
        before = _length(part)
        try:
            expected = _receive(url, part, archive_bytes)
        except _ChangedError as change:
            _discard(part)
            raise UserError(
                f"{url} has changed since its download began ({change}). The {before:,} bytes of the earlier file were "
                "deleted. Run the same command again to download the present one, if you trust it."
            ) from None
        except (OSError, HTTPException) as error:
            if getattr(error, "errno", None) in _NOT_WRITABLE:
                raise
            reason = str(error)
            if _not_resumable(url, error):
                _discard(part)
                continue
        if _length(part) == expected:
            part.replace(archive)
            _discard(part)
            return
        if _length(part) <= before:
            break  # no progress: another attempt would not help
    raise UserError(
        f"{part}: received {_length(part):,} bytes of {expected or 'an unknown number'} from {url} ({reason}). Run the "
        "same command again to resume, or unpack the archive yourself and give data.root=FOLDER."
    )


def _not_resumable(url: str, error: Exception) -> bool:
    """Whether the server refused to resume because the partial download is not a prefix of its file (code 416).

    Raises:
        UserError: The server refused the address (any other code from 400 to 499).
    """
    if not isinstance(error, HTTPError):
        return False
    error.close()
    if error.code != 416 and 400 <= error.code < 500:
        raise UserError(
            f"{url}: the server answers {error}. Check data.url, or download the archive yourself, unpack it and give "
            "data.root=FOLDER."
        ) from error
    return error.code == 416


def _check_sum(archive: Path, sha256: str | None) -> None:
    """Compare the SHA-256 of an archive, and delete it if it is another one."""
    with archive.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 is None:
        log.info("The download was not compared with a known one (data.sha256=null); its SHA-256 is %s.", found)
    elif found != sha256.lower():
        archive.unlink()
        raise UserError(
            f"{archive} has the SHA-256 {found}; expected data.sha256={sha256}: it is damaged, or another file. It was "
            "deleted; nothing was unpacked. Run the same command again, or if you trust it give data.sha256=null."
        )


def _discard(part: Path) -> None:
    """Delete a partial download, and what is known of its file."""
    part.unlink(missing_ok=True)
    _record(part).unlink(missing_ok=True)


def _record(part: Path) -> Path:
    """JSON beside a partial download: what the server said that its file is."""
    return part.with_name(f"{part.name}.json")


def _known(part: Path) -> dict[str, str]:
    """What the server said when the download began; empty if nothing is known."""
    try:
        return dict(json.loads(_record(part).read_text())) if part.exists() else {}
    except (OSError, ValueError, TypeError):
        return {}


def _version(response: HTTPResponse) -> dict[str, str]:
    """What tells this version of a file from another one, as far as the server says: entity tag, date and length."""
    ranged = response.headers["Content-Range"] or ""
    length = ranged.rpartition("/")[2].strip("*") if response.status == 206 else response.headers["Content-Length"]
    said = {"ETag": response.headers["ETag"], "Last-Modified": response.headers["Last-Modified"], "length": length}
    return {name: value for name, value in said.items() if value}


def _range_headers(received: int, known: dict[str, str]) -> dict[str, str]:
    """Ask for the rest of the same version (RFC 9110, 13.1.5: of another one, or of a weak tag, all is sent)."""
    if not received:
        return {}
    same = known["ETag"] if known.get("ETag", "W/")[:2] != "W/" else known.get("Last-Modified")
    return {"Range": f"bytes={received}-"} | ({"If-Range": same} if same else {})


def _length(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _receive(url: str, part: Path, archive_bytes: int | None) -> int:
    """Append the missing bytes to `part` in one connection; return the length of the complete file in bytes.

    Raises:
        UserError: The server's file does not have the length `archive_bytes`.
        _ChangedError: It is another one than that of which `part` is the beginning.
    """
    received, known = _length(part), _known(part)
    request = urllib.request.Request(url, headers=_range_headers(received, known))
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
        now = _version(response)
        for name in known.keys() & now.keys():
            if received and known[name] != now[name]:
                raise _ChangedError(f"{name} was {known[name]}, and is {now[name]}")
        if response.status != 206:
            received = 0  # a server that cannot resume sends the complete file
        remaining = response.headers["Content-Length"]
        total = received + int(remaining) if remaining else archive_bytes
        if archive_bytes not in (None, total):
            _discard(part)
            raise UserError(
                f"{url} has {total:,} bytes; expected data.archive_bytes={archive_bytes}: the file on the server has "
                "changed. If you trust it, give data.archive_bytes=null."
            )
        if not received:
            part.unlink(missing_ok=True)
            write_text(_record(part), json.dumps(now))
        with progress(f"Downloading {url}", total) as advance, part.open("ab" if received else "wb") as file:
            advance(received)
            while block := response.read(_BLOCK):
                file.write(block)
                advance(len(block))
    return _length(part) if total is None else total


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack to a temporary folder and rename it when complete."""
    for stale in folder.parent.glob(f".{folder.name}.*.unpacking"):
        shutil.rmtree(stale)  # left by a process that was killed: a running one would hold the lock
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.unpacking"
    log.info("Unpacking %s to %s", archive, folder)
    try:
        with tarfile.open(archive) as tar:
            tar.extractall(temporary, filter="data")  # refuses paths and links that point outside
        if not temporary.exists():
            raise tarfile.ReadError("it is empty")
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    except tarfile.FilterError as error:
        archive.unlink()
        raise UserError(
            f"{archive} is unsafe and was deleted; nothing was unpacked: {error}. Check data.url."
        ) from error
    except (tarfile.TarError, EOFError, KeyError, zlib.error, OSError) as error:
        if isinstance(error, OSError) and error.errno in _NOT_WRITABLE:
            raise
        description, first_line = _describe(archive), str(error).partition("\n")[0].rstrip(":")
        archive.unlink()
        raise UserError(
            f"{archive} is {description}, not a complete tar archive that can be unpacked here ({first_line}). It was "
            "deleted. Check data.url; if it is correct, run the same command again to repeat the download."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _describe(file: Path) -> str:
    """The type of a file according to its first bytes, and its length."""
    with file.open("rb") as handle:
        start = handle.read(512).lstrip()
    types = {b"PK": "a zip archive", b"<": "a web page", b"Rar": "a rar archive", b"7z": "a 7z archive"}
    name = next((name for magic, name in types.items() if start.startswith(magic)), "a file")
    return f"{name} of {_length(file):,} bytes"
