"""The labelling page: a server on this machine alone, which a token opens."""

import logging
import secrets
import socket
import threading
import webbrowser
from pathlib import Path
from typing import Any

from fewlabels.core.errors import UserError
from fewlabels.labelling.embedded import embed_images, load_source
from fewlabels.labelling.labels_file import LabelsFile, only_editor
from fewlabels.labelling.routes import HOST, application
from fewlabels.labelling.session import Board, LabellingSession

log = logging.getLogger(__name__)


def free_socket(port: int) -> socket.socket:
    """A socket that listens on this machine alone.

    Args:
        port: 0 takes a free one.

    Raises:
        UserError: The port is in use.
    """
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind((HOST, port))
        opened.listen()
    except OSError as error:
        opened.close()
        raise UserError(
            f"port={port} cannot be used ({error.strerror}): give another one, or 0 for a free one."
        ) from error
    return opened


def label(settings: dict[str, Any]) -> None:
    """Open the labelling page of a folder, and serve it until it is interrupted.

    Args:
        settings: As in conf/label.yaml, in plain containers.

    Raises:
        UserError: As `load_source`; the port is in use, or the labels cannot be written or are being edited already.
    """
    import uvicorn

    source = load_source(settings)
    root = source.data.root or f"data/{source.data.name}"
    file = Path(settings["labels"] or Path(root) / "labels.csv").expanduser().absolute()
    opened, token = free_socket(settings["port"]), secrets.token_urlsafe(24)
    with opened, only_editor(file, address := f"http://{HOST}:{(port := opened.getsockname()[1])}/"):
        board, labels = Board(len(source.data.paths)), LabelsFile(file)
        log.info("Labels are in %s (%s so far).", file, f"{len(labels.labels):,}")
        log.info("Label at %s?token=%s   (Ctrl-C ends the server; all labels are saved)", address, token)

        def make() -> LabellingSession:
            return LabellingSession(embed_images(source, settings["orientations"], board.advance), labels)

        threading.Thread(target=board.prepare, args=(make,), daemon=True).start()
        if settings["browse"]:
            webbrowser.open(f"{address}?token={token}")
        config = uvicorn.Config(application(board, token, port), log_level="warning", lifespan="off")
        uvicorn.Server(config).run(sockets=[opened])
