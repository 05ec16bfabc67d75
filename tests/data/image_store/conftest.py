"""A local server of archives."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Server(ThreadingHTTPServer):
    """Serves one archive.

    Attributes:
        content: The archive.
        cuts: Bytes after which to close the connection, one per request; then never.
        resumes: Whether it supports ranges.
        sends_length: Whether it sends Content-Length.
        missing: Whether it answers 404.
        ranges: The range of every request.
        conditions: The If-Range of every request.
        tag: ETag of the archive, if any.
        date: Last-Modified, if any.
        obeys: Whether it compares If-Range.
    """

    content = b""
    resumes = sends_length = True
    missing = False
    tag = date = None
    obeys = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts: list[int] = []
        self.ranges: list[str | None] = []
        self.conditions: list[str | None] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files/set.tar?version=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        requested = self.headers["Range"]
        self.server.ranges.append(requested)
        if self.server.missing:
            self.send_error(404)
            return
        self.server.conditions.append(condition := self.headers["If-Range"])
        same = condition in (None, self.server.tag, self.server.date) or not self.server.obeys
        start = int(requested[6:-1]) if requested and self.server.resumes and same else 0
        if start >= len(self.server.content) > 0:
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        for name, value in (("ETag", self.server.tag), ("Last-Modified", self.server.date)):
            if value:
                self.send_header(name, value)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{start + len(body) - 1}/{start + len(body)}")
        if self.server.sends_length:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def archive_server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        yield server
        server.shutdown()
