"""Archives from a local server: whole, cut short, resumed, broken, malicious."""

import errno
import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from fewlabels.data.download import fetch_archive
from fewlabels.data.flowers import Flowers
from fewlabels.data.plankton import Plankton
from fewlabels.errors import UserError


class Server(ThreadingHTTPServer):
    """Serves one archive.

    Attributes:
        content: The archive.
        cuts: After how many bytes to hang up, one per request; then never.
        resumes: Whether ranges are answered.
        announces: Whether the length is told.
        missing: Whether it answers 404.
        asked: The range that every request asked for.
    """

    content = b""
    resumes = announces = True
    missing = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.cuts: list[int] = []
        self.asked: list[str | None] = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/files/set.tar?version=1"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self):
        asked = self.headers["Range"]
        self.server.asked.append(asked)
        if self.server.missing:
            self.send_error(404)
            return
        start = int(asked[6:-1]) if asked and self.server.resumes else 0
        if start >= len(self.server.content) > 0:
            self.send_error(416)
            return
        body = self.server.content[start:]
        self.send_response(206 if start else 200)
        if self.server.announces:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.cuts.pop(0)] if self.server.cuts else body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    with Server() as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
        server.content = archive({f"rose/{number}.png": png(number) for number in range(20)})
        yield server
        server.shutdown()


def png(shade):
    buffer = io.BytesIO()
    Image.new("L", (8, 8), shade).save(buffer, "PNG")
    return buffer.getvalue()


def archive(files, mode="w"):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@pytest.fixture
def target(tmp_path):
    return tmp_path / "data" / "set"


def around(target):
    return sorted(path.name for path in target.parent.iterdir())


def test_a_whole_archive_is_unpacked_and_then_deleted(server, target):
    fetch_archive(server.url, target, len(server.content))
    assert len(list(target.glob("rose/*.png"))) == 20
    assert around(target) == [".set.lock", "set"]


def test_what_is_there_is_not_fetched_again(server, target):
    target.mkdir(parents=True)
    (target / "mine.png").touch()
    fetch_archive(server.url, target)
    assert server.asked == []


@pytest.mark.parametrize("known", [True, False])
def test_a_cut_download_goes_on_where_it_stopped(server, target, known):
    server.cuts = [5000, 7000]
    fetch_archive(server.url, target, len(server.content) if known else None)
    assert server.asked == [None, "bytes=5000-", "bytes=12000-"]
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_server_that_cannot_resume_sends_it_all_again(server, target):
    server.cuts, server.resumes = [5000], False
    fetch_archive(server.url, target)
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_download_that_never_ends_says_how_far_it_got_and_goes_on_next_time(server, target):
    server.cuts = [5000, 1000, 0]
    with pytest.raises(UserError, match=r"set\.tar\.part: received 6,000 bytes of 30720 .* to go on from there"):
        fetch_archive(server.url, target, len(server.content))
    assert not target.exists()
    fetch_archive(server.url, target, len(server.content))
    assert server.asked[-1] == "bytes=6000-"
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_server_silent_on_the_length_is_believed_if_the_archive_is_whole(server, target):
    server.announces = False
    fetch_archive(server.url, target)
    assert len(list(target.glob("rose/*.png"))) == 20


def test_a_stale_piece_longer_than_the_archive_is_dropped(server, target):
    target.parent.mkdir(parents=True)
    (target.parent / ".set.set.tar.part").write_bytes(bytes(100_000))
    fetch_archive(server.url, target)
    assert server.asked == ["bytes=100000-", None]
    assert len(list(target.glob("rose/*.png"))) == 20


def test_another_length_than_the_known_one_is_refused(server, target):
    with pytest.raises(UserError, match=r"30,720 bytes long.*data\.archive_bytes says 12,345"):
        fetch_archive(server.url, target, 12345)
    assert around(target) == [".set.lock"]


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("damage", ["cut", "noise"])
def test_a_broken_archive_leaves_nothing(server, target, mode, damage):
    whole = archive({f"a/{number}.png": png(number) * 30 for number in range(20)}, mode)
    server.content = whole[: len(whole) // 2] if damage == "cut" else b"noise" * 1000
    with pytest.raises(UserError, match="not a whole tar archive"):
        fetch_archive(server.url, target)
    assert around(target) == [".set.lock"]


def hard_link_to_nothing():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.LNKTYPE, "nowhere"
        tar.addfile(link)
    return buffer.getvalue()


STRANGE = {
    "a zip archive": (b"PK\x03\x04" + bytes(100), "is a zip archive of 104 bytes"),
    "a web page": (b"<!doctype html><title>Please log in</title>", "is a web page of 43 bytes"),
    "nothing": (b"", "is a file of 0 bytes"),
    "no member": (archive({}), "is empty"),
    "a folder that is a file": (archive({"a": b"1", "a/0.png": b"2"}), "cannot|can be unpacked here"),
    "a hard link to nothing": (hard_link_to_nothing(), "nowhere"),
    "a name longer than names may be": (archive({"n" * 300: b"1"}), "File name too long"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_what_cannot_be_unpacked_is_named_in_one_line_and_leaves_nothing(server, target, case):
    server.content, said = STRANGE[case]
    with pytest.raises(UserError, match=said) as caught:
        fetch_archive(server.url, target)
    assert "\n" not in str(caught.value)
    assert "data.url" in str(caught.value)
    assert around(target) == [".set.lock"]


def test_an_address_where_nothing_is_is_said_to_be_wrong(server, target):
    server.missing = True
    with pytest.raises(UserError, match=r"404.*Check data\.url") as caught:
        fetch_archive(server.url, target)
    assert "received" not in str(caught.value)


@pytest.mark.parametrize("name", ["../outside.png", "a/../../outside.png", "/../outside.png"])
def test_an_archive_that_reaches_outside_leaves_nothing(server, target, name):
    server.content = archive({"a/0.png": png(0), name: png(1)})
    with pytest.raises(UserError, match="not to be trusted"):
        fetch_archive(server.url, target)
    assert around(target) == [".set.lock"]
    assert not list(target.parent.parent.rglob("outside.png"))


def test_a_link_that_reaches_outside_leaves_nothing(server, target):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        link = tarfile.TarInfo("a")
        link.type, link.linkname = tarfile.SYMTYPE, "../../elsewhere"
        tar.addfile(link)
    server.content = buffer.getvalue()
    with pytest.raises(UserError, match="not to be trusted"):
        fetch_archive(server.url, target)
    assert around(target) == [".set.lock"]


def test_a_full_disk_says_so(server, target, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tarfile.TarFile, "extractall", full)
    with pytest.raises(UserError, match=r"cannot take the download for data\.root=.*No space left"):
        fetch_archive(server.url, target)
    assert not target.exists()


def test_no_server_and_no_web_address_are_said(target):
    with pytest.raises(UserError, match="received 0 bytes of an unknown number from http://127"):
        fetch_archive("http://127.0.0.1:9/set.tar", target)
    with pytest.raises(UserError, match=r"data\.url=file:///etc/passwd must begin with https"):
        fetch_archive("file:///etc/passwd", target)


def test_flowers_arrive_in_the_layout_of_flower_photos(server, settings, target):
    files = {f"flower_photos/{name}/{number}.jpg": png(9) for name in ("daisy", "tulips") for number in range(9)}
    server.content = archive(files | {"flower_photos/LICENSE.txt": b"CC-BY"}, "w:gz")
    settings |= {"root": str(target), "download": True, "url": server.url}
    module = Flowers(archive_bytes=len(server.content), **settings)
    module.prepare_data()
    module.setup()
    assert module.classes == ["daisy", "tulips"]
    assert len(module.paths) == 18
    assert not module.synthetic


def test_plankton_arrives_in_the_layout_of_flowcamnet(server, settings, target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = {f"FlowCamNet/imgs/{name}/{number}.png": png(9) for name in ("Retaria", "Odontella") for number in range(9)}
    server.content = archive(files | {"FlowCamNet/taxa.csv.gz": b"objid"})
    module = Plankton(**settings | {"source": "download", "url": server.url, "unseen": ["Retaria"]})
    module.prepare_data()
    module.setup()
    assert (module.seen_classes, module.unseen_classes) == (["Odontella"], ["Retaria"])
    assert (tmp_path / "data" / "plankton" / "FlowCamNet" / "taxa.csv.gz").exists()
    assert module.paths[0] == "Odontella/0.png"
