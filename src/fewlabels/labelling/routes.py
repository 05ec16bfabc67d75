"""The interface of the labelling page: what a request may ask for and change."""

import hmac
import io
import json
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import numpy as np
from PIL import Image
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from fewlabels.core.atomic_io import spelled
from fewlabels.core.errors import UserError
from fewlabels.data.image_store.depths import eight_bits
from fewlabels.data.image_store.facts import FORMATS
from fewlabels.figures.style import displayed
from fewlabels.labelling.labels_file import ConflictError
from fewlabels.labelling.session import Board, LabellingSession

HOST = "127.0.0.1"
PAGE = ("index.html", "app.js", "curve.js", "grid.js", "map.js", "style.css")
TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8"}
MAX_BODY = 10_000_000
MAX_SIDE = 1600


def cookie_name(host: str) -> str:
    """Of the token: one for each port, since browsers give the cookies of a port to all others of this machine."""
    return f"fewlabels_token_{host.rpartition(':')[2]}"


class OnlyWithToken:
    """Refuses requests of other sites and of who does not know the token.

    Args:
        app: The application.
        token: As in the cookie.
        hosts: Values of the Host header that are this server, which no other site's name is (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, token: str, hosts: tuple[str, ...]) -> None:
        self.app, self.token, self.hosts = app, token, hosts
        self.cookie = cookie_name(hosts[0])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass the request on."""
        if scope["type"] == "http":
            request = Request(scope)
            given = request.cookies.get(self.cookie, ""), request.query_params.get("token", "")
            known = any(hmac.compare_digest(token.encode(), self.token.encode()) for token in given)
            if request.headers.get("host") not in self.hosts or not known:
                refusal = "Open the address that fewlabels label printed: it has the token of this page."
                return await PlainTextResponse(refusal, 403)(scope, receive, send)
        return await self.app(scope, receive, send)


def application(board: Board, token: str, port: int) -> Starlette:
    """The page and its interface: see the routes.

    GET /api/state, /api/map, /api/rows?view=…&argument=…, /api/images?rows=…, /thumbnail/ROW, /image/ROW; POST
    /api/label with {"rows", "label", "seen", "editor"} and /api/undo with {"editor"}. Changes are on disk before they
    are answered; 409 says that labels are not what the page saw, 507 that they could not be written.
    """
    routes = [
        Route("/", _index), Route("/plotly.min.js", _plotly), Route("/{name}", _static),
        Route("/api/state", _state), Route("/api/map", _map), Route("/api/rows", _rows),
        Route("/api/images", _images), Route("/thumbnail/{row:int}", _thumbnail), Route("/image/{row:int}", _image),
        Route("/api/label", _label, methods=["POST"]), Route("/api/undo", _undo, methods=["POST"]),
    ]  # fmt: skip
    guard = Middleware(OnlyWithToken, token=token, hosts=(f"{HOST}:{port}", f"localhost:{port}"))
    app = Starlette(routes=routes, middleware=[guard])
    app.state.board, app.state.token = board, token
    return app


def _answer(work: Callable[[], Any]) -> Response:
    """The result of some work as JSON; a user's mistake, a conflict or a full disk as their codes."""
    try:
        return JSONResponse(work())
    except UserError as error:
        return JSONResponse({"message": spelled(str(error))}, 400)
    except ConflictError as error:
        labels = {spelled(path): label for path, label in error.labels.items()}
        return JSONResponse({"message": "Changed meanwhile, in another tab or program.", "labels": labels}, 409)
    except OSError as error:
        message = f"Not saved: {error.strerror or error}. Free some space, or check the folder, and label again."
        return JSONResponse({"message": spelled(message)}, 507)


def _session(request: Request) -> LabellingSession:
    session: LabellingSession | None = request.app.state.board.session
    if session is None:
        raise UserError(request.app.state.board.failure or "The images are still being embedded.")
    return session


async def _index(request: Request) -> Response:
    if "token" in request.query_params:  # keep it out of the history, and of the Referer header
        response: Response = RedirectResponse("/", 303)
        response.set_cookie(
            cookie_name(request.headers["host"]), request.app.state.token, httponly=True, samesite="strict"
        )
        return response
    return _file("index.html")


async def _static(request: Request) -> Response:
    name = request.path_params["name"]
    return _file(name) if name in PAGE else PlainTextResponse("There is no such file.", 404)


def _file(name: str) -> Response:
    content = (files("fewlabels.labelling") / "page" / name).read_bytes()
    return Response(content, media_type=TYPES[name.rpartition(".")[2]], headers={"Cache-Control": "no-store"})


async def _plotly(_: Request) -> Response:
    content = await run_in_threadpool((files("plotly") / "package_data" / "plotly.min.js").read_bytes)
    return Response(content, media_type=TYPES["js"], headers={"Cache-Control": "max-age=86400"})


def _state(request: Request) -> Response:
    board: Board = request.app.state.board
    if board.session is None:
        return JSONResponse(
            {"ready": False, "done": board.done, "total": board.total, "failure": spelled(board.failure)}
        )
    session = board.session

    def work() -> dict[str, Any]:
        session.refresh()
        return session.state()

    return _answer(work)


def _map(request: Request) -> Response:
    def work() -> dict[str, Any]:
        session = _session(request)
        with session.lock:
            plane = np.round(np.asarray(request.app.state.board.plane, np.float64), 3)
            return {"x": plane[:, 0].tolist(), "y": plane[:, 1].tolist(), "labels": session.labels.tolist(),
                    "guesses": session.guesses.tolist(), "version": session.version}  # fmt: skip

    return _answer(work)


def _rows(request: Request) -> Response:
    query = request.query_params
    return _answer(lambda: _session(request).rows(query.get("view", "all"), query.get("argument", "")))


def _images(request: Request) -> Response:
    """Path, label, guess and its probability of some rows."""

    def work() -> list[dict[str, Any]]:
        session = _session(request)
        rows = [int(row) for row in request.query_params.get("rows", "").split(",") if row.isdecimal()]
        with session.lock:
            name = [*session.classes, None]
            return [
                {"row": row, "path": spelled(session.paths[row]), "label": name[session.labels[row]],
                 "guess": name[session.guesses[row]],
                 "probability": round(float(session.probabilities[row].max(initial=0)), 3)}
                for row in rows if row < len(session.paths)
            ]  # fmt: skip

    return _answer(work)


def _thumbnail(request: Request) -> Response:
    session: LabellingSession | None = request.app.state.board.session
    row = request.path_params["row"]
    if session is None or row >= len(session.paths):
        return PlainTextResponse("There is no such image.", 404)
    return _png(Image.fromarray(displayed(session.images.data.images([row])[0].numpy())))


def _image(request: Request) -> Response:
    """The file itself, at most `MAX_SIDE` pixels wide and high; the thumbnail if there are no files, or of .npy."""
    session: LabellingSession | None = request.app.state.board.session
    row = request.path_params["row"]
    if session is None or row >= len(session.paths) or session.images.data.folder is None:
        return _thumbnail(request)
    if session.images.data.channels not in (1, 3) or session.images.data.paths[row].lower().endswith(".npy"):
        return _thumbnail(request)
    try:
        with Image.open(session.images.data.folder / session.images.data.paths[row], formats=FORMATS) as opened:
            large = eight_bits(opened, session.images.data.white)
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        return PlainTextResponse(spelled(f"{session.paths[row]} cannot be read any more: {error}"), 404)
    large.thumbnail((MAX_SIDE, MAX_SIDE))
    return _png(large)


def _png(image: Image.Image) -> Response:
    buffer = io.BytesIO()
    image.save(buffer, "png", compress_level=1)
    return Response(buffer.getvalue(), media_type="image/png", headers={"Cache-Control": "max-age=3600"})


async def _body(request: Request) -> dict[str, Any]:
    if int(request.headers.get("content-length", MAX_BODY + 1)) > MAX_BODY:
        return {}
    try:
        body = json.loads(await request.body())
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


async def _label(request: Request) -> Response:
    body = await _body(request)

    def work() -> dict[str, Any]:
        rows, label, seen = body.get("rows"), body.get("label"), body.get("seen")
        if not isinstance(rows, list) or not isinstance(seen, list) or not all(isinstance(row, int) for row in rows):
            raise UserError('Give {"rows": [int], "label": text or null, "seen": [text or null], "editor": text}.')
        if not isinstance(label, str | None):
            raise UserError("label must be a text, or null.")
        session = _session(request)
        session.assign(rows, label, seen, str(body.get("editor", "")))
        return session.state()

    return await run_in_threadpool(_answer, work)


async def _undo(request: Request) -> Response:
    body = await _body(request)

    def work() -> dict[str, Any]:
        session = _session(request)
        rows = session.undo(str(body.get("editor", "")))
        return session.state() | {"rows": rows}

    return await run_in_threadpool(_answer, work)
