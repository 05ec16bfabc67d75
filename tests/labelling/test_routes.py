"""The interface of the labelling page: who may ask, what is answered, and that mistakes are answers too."""

import errno
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from fewlabels.labelling.labels_file import LabelsFile
from fewlabels.labelling.routes import application
from fewlabels.labelling.session import Board, LabellingSession

ADDRESS = "http://127.0.0.1:99"


@pytest.fixture
def board(session):
    board = Board(60)
    board.session, board.plane = session, np.zeros((60, 2), np.float32)
    return board


@pytest.fixture
def client(board):
    with TestClient(
        application(board, "secret", 99), base_url=ADDRESS, cookies={"fewlabels_token_99": "secret"}
    ) as client:
        yield client


def post(client, path, **body):
    return client.post(path, json=body)


def test_the_token_becomes_a_cookie_that_no_other_site_can_use(board):
    with TestClient(application(board, "secret", 99), base_url=ADDRESS) as stranger:
        for path in ("/", "/?token=guess", "/api/state", "/thumbnail/0", "/app.js"):
            assert stranger.get(path).status_code == 403
        assert post(stranger, "/api/label", rows=[0], label="a", seen=[None]).status_code == 403
        entered = stranger.get("/?token=secret", follow_redirects=False)
        assert (entered.status_code, entered.headers["location"]) == (303, "/")
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert "samesite=strict" in entered.headers["set-cookie"].lower()
        assert stranger.get("/").status_code == 200
        assert stranger.get("/", headers={"Host": "evil.example:99"}).status_code == 403
    assert board.session.state()["labelled"] == 0


def test_the_cookie_of_another_server_does_not_shut_out_who_has_the_address(board):
    cookies = {"fewlabels_token_98": "other", "fewlabels_token_99": "of an earlier server on this port"}
    with TestClient(application(board, "secret", 99), base_url=ADDRESS, cookies=cookies) as browser:
        assert browser.get("/api/state").status_code == 403
        assert browser.get("/?token=secret").status_code == 200
        assert browser.get("/api/state").status_code == 200


def test_a_broken_labels_file_is_said_and_not_overwritten_until_it_is_repaired(client, board):
    post(client, "/api/label", rows=[0], label="a", seen=[None])
    file = board.session.file.file
    file.write_text(file.read_text() + "sub/1.png,b\nsub/2.png\n")
    for answer in (
        client.get("/api/state"),
        client.get("/api/state"),
        post(client, "/api/label", rows=[3], label="a", seen=[None]),
    ):
        assert answer.status_code == 400
        assert "line 4 has not one value for each of the columns" in answer.json()["message"]
    assert file.read_text().endswith("sub/2.png\n")
    file.write_text(file.read_text().replace("sub/2.png\n", "sub/2.png,c\n"))
    assert client.get("/api/state").json()["labelled"] == 3


@pytest.mark.parametrize("name", ["unknown", " Unknown", "a\nb", "\0", "\ud800"])
def test_names_that_no_class_can_have_are_refused(client, board, name):
    body = json.dumps({"rows": [0], "label": name, "seen": [None]})
    answer = client.post("/api/label", content=body)
    assert answer.status_code == 400
    assert "printable characters other than 'unknown'" in answer.json()["message"]
    assert board.session.file.labels == {}


@pytest.mark.parametrize(("path", "kind", "within"), [
    ("/", "text/html", b"Label images"), ("/app.js", "text/javascript", b"import { Grid }"),
    ("/grid.js", "text/javascript", b"class Grid"), ("/map.js", "text/javascript", b"scattergl"),
    ("/curve.js", "text/javascript", b"drawCurve"), ("/image/3", "image/png", b"PNG"),
    ("/style.css", "text/css", b"#grid"), ("/plotly.min.js", "text/javascript", b"plotly.js v"),
    ("/thumbnail/3", "image/png", b"PNG"),
])  # fmt: skip
def test_the_page_and_its_parts_are_served_without_another_site(client, path, kind, within):
    answer = client.get(path)
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)
    assert within in answer.content
    if path != "/plotly.min.js":
        assert b"https://" not in answer.content


def test_a_label_is_on_disk_when_it_is_answered_and_undone_by_its_tab_alone(client, tmp_path):
    answer = post(client, "/api/label", rows=[0, 1], label="a", seen=[None, None], editor="one")
    assert (answer.status_code, answer.json()["labelled"]) == (200, 2)
    assert (tmp_path / "labels.csv").read_text() == "path,label\nsub/0.png,a\nsub/1.png,a\n"
    assert post(client, "/api/undo", editor="two").json()["rows"] == []
    assert post(client, "/api/undo", editor="one").json()["rows"] == [0, 1]
    assert client.get("/api/state").json()["labelled"] == 0


def test_two_tabs_do_not_overwrite_each_other(client):
    post(client, "/api/label", rows=[0], label="a", seen=[None], editor="one")
    answer = post(client, "/api/label", rows=[0], label="b", seen=[None], editor="two")
    assert (answer.status_code, answer.json()["labels"]) == (409, {"sub/0.png": "a"})
    assert client.get("/api/images?rows=0").json()[0]["label"] == "a"


def test_a_full_disk_is_an_answer_and_the_label_is_not_shown(client, board, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("fewlabels.core.atomic_io.os.fsync", full)
    answer = post(client, "/api/label", rows=[0], label="a", seen=[None])
    assert answer.status_code == 507
    assert "Not saved: No space left on device" in answer.json()["message"]
    assert client.get("/api/state").json()["labelled"] == 0


@pytest.mark.parametrize("body", [
    {}, {"rows": [0]}, {"rows": ["0"], "label": "a", "seen": [None]}, {"rows": [0], "label": 3, "seen": [None]},
    {"rows": [99], "label": "a", "seen": [None]}, {"rows": [0], "label": "", "seen": [None]}, [1],
])  # fmt: skip
def test_a_body_that_is_no_label_is_refused(client, body):
    assert client.post("/api/label", json=body).status_code == 400
    assert client.post("/api/label", content=b"{").status_code == 400
    assert client.get("/api/state").json()["labelled"] == 0


def test_rows_and_map_have_every_image(client):
    assert client.get("/api/rows?view=all").json() == list(range(60))
    assert client.get("/api/rows?view=guess&argument=none").status_code == 400
    found = client.get("/api/map").json()
    assert [len(found[key]) for key in ("x", "y", "labels", "guesses")] == [60] * 4
    assert client.get("/thumbnail/60").status_code == 404
    assert client.get("/secret").status_code == 404


def test_until_the_images_are_embedded_there_is_their_progress(client, board, session):
    board.session = None
    board.advance(17)
    assert client.get("/api/state").json() == {"ready": False, "done": 17, "total": 60, "failure": ""}
    assert client.get("/api/rows?view=all").status_code == 400
    assert post(client, "/api/label", rows=[0], label="a", seen=[None]).status_code == 400
    assert client.get("/thumbnail/0").status_code == 404


def test_the_large_image_is_the_file_in_eight_bits_and_not_too_large(client, board, tmp_path):
    data = board.session.images.data
    data.folder, data.white = tmp_path, 50000
    (tmp_path / "sub").mkdir()
    Image.fromarray(np.full((10, 3200), 40000, np.uint16)).save(tmp_path / "sub" / "0.png")
    with Image.open(io.BytesIO(client.get("/image/0").content)) as shown:
        assert (shown.size, shown.mode, shown.getpixel((0, 0))) == ((1600, 5), "L", 204)
    (tmp_path / "sub" / "1.png").write_bytes(b"no image")
    for row in (1, 2):  # broken, and gone
        answer = client.get(f"/image/{row}")
        assert (answer.status_code, f"sub/{row}.png cannot be read any more" in answer.text) == (404, True)
    assert client.get("/image/60").status_code == 404


def test_images_whose_names_are_not_utf8_are_shown_and_labelled(images, tmp_path):
    images.data.paths[3] = "caf\udce9/3.png"
    board = Board(60)
    board.session = LabellingSession(images, LabelsFile(tmp_path / "labels.csv"))
    with TestClient(
        application(board, "secret", 99), base_url=ADDRESS, cookies={"fewlabels_token_99": "secret"}
    ) as client:
        assert client.get("/api/images?rows=3").json()[0]["path"] == "caf%E9/3.png"
        assert post(client, "/api/label", rows=[3], label="a", seen=[None], editor="e").status_code == 200
        assert (tmp_path / "labels.csv").read_bytes() == b"path,label\ncaf\xe9/3.png,a\n"
        conflict = post(client, "/api/label", rows=[3], label="b", seen=["c"], editor="e")
        assert conflict.json()["labels"] == {"caf%E9/3.png": "a"}
    assert LabelsFile(tmp_path / "labels.csv").labels == {"caf\udce9/3.png": "a"}


def test_the_large_image_of_an_array_or_of_other_channels_than_colours_is_the_thumbnail(client, board, tmp_path):
    data = board.session.images.data
    data.folder, data.paths[0] = tmp_path, "sub/0.npy"
    assert client.get("/image/0").content == client.get("/thumbnail/0").content
    data.channels, data.images = 5, lambda rows: torch.arange(5, dtype=torch.uint8).view(1, 5, 1, 1).expand(1, 5, 8, 8)
    with Image.open(io.BytesIO(client.get("/image/1").content)) as shown:
        assert (shown.size, shown.mode, shown.getpixel((0, 0))) == ((8, 8), "L", 2)
