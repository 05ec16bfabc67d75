"""The labelling page in Chromium: keys, names, undo, lasso, two tabs, a server that is gone, many images."""

import shutil
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewlabels.labelling.embedded import EmbeddedImages
from fewlabels.labelling.labels_file import LabelsFile
from fewlabels.labelling.routes import HOST, application
from fewlabels.labelling.server import free_socket
from fewlabels.labelling.session import Board, LabellingSession
from fewlabels.probing.embeddings import Embeddings

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
GRAPHICS = ["--no-sandbox", "--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"]

pytestmark = [
    pytest.mark.browser, pytest.mark.subprocess, pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine"),
]  # fmt: skip


@pytest.fixture
def chromium():
    """A browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=GRAPHICS)
        yield browser
        browser.close()


@pytest.fixture
def serve():
    """A function that serves a session, and returns its address and what stops the server."""
    import uvicorn

    stops = []

    def start(session, plane):
        opened = free_socket(0)
        port = opened.getsockname()[1]
        board = Board(len(session.paths))
        board.session, board.plane = session, plane
        config = uvicorn.Config(application(board, "secret", port), log_level="critical", lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
        thread.start()

        def stop():
            server.should_exit = True
            thread.join()
            opened.close()

        stops.append(stop)
        return f"http://{HOST}:{port}/?token=secret", stop

    yield start
    for stop in stops:
        stop()


@pytest.fixture
def tab(chromium):
    """A function that opens a tab; errors of the page fail the test."""
    errors = []

    def open_tab(address, width=1400, height=900):
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        page.wait_for_selector("figure")
        return page

    yield open_tab
    assert errors == []


PLANE = np.repeat([[0, 0], [10, 0], [0, 10]], [30, 20, 10], 0) + np.random.default_rng(0).normal(size=(60, 2))


def shown(page):
    """Rows of the images in the grid."""
    return [int(source.rpartition("/")[2]) for source in page.eval_on_selector_all(
        "figure img", "images => images.map(image => image.src)")]  # fmt: skip


def name_selection(page, name):
    page.fill("#name", name)
    page.press("#name", "Enter")


def test_images_are_named_by_the_field_then_by_keys_and_undone(serve, tab, session):
    page = tab(serve(session, PLANE)[0])
    first, second, third = shown(page)[:3]
    name_selection(page, "round")
    page.wait_for_selector("text=1 of 60 images labelled")
    assert session.file.labels == {f"sub/{first}.png": "round"}
    page.keyboard.press(" ")  # skips the second
    page.keyboard.press("1")
    page.wait_for_selector("text=2 of 60 images labelled")
    assert session.file.labels[f"sub/{third}.png"] == "round"
    assert f"sub/{second}.png" not in session.file.labels
    page.keyboard.press("u")
    page.wait_for_selector("text=1 of 60 images labelled")
    page.reload()
    page.wait_for_selector("text=1 of 60 images labelled")
    page.keyboard.press("u")
    page.wait_for_selector("text=There is nothing to undo in this tab")  # it is another one after it was loaded anew
    assert session.file.file.read_text() == f"path,label\nsub/{first}.png,round\nsub/{third}.png,\n"


def test_a_cluster_is_labelled_at_once_and_its_class_renamed(serve, tab, session):
    page = tab(serve(session, PLANE)[0])
    page.select_option("#view", label="Cluster 1")
    expected = session.rows("cluster", "0")
    page.wait_for_function(f"document.querySelector('#count').textContent === '{len(expected)} images'")
    page.keyboard.press("a")
    name_selection(page, "oval")
    page.wait_for_selector(f"text={len(expected)} of 60 images labelled")
    page.once("dialog", lambda dialog: dialog.accept("egg"))
    page.click("#classes button[title='Rename oval']")
    page.wait_for_selector("#classes >> text=egg")
    assert session.file.labels == {f"sub/{row}.png": "egg" for row in expected}


def test_a_lasso_on_the_map_shows_its_images_and_a_name_that_is_nearly_another_is_asked_about(serve, tab, session):
    page = tab(serve(session, PLANE)[0])
    page.wait_for_selector("#map .plot-container")
    right = page.evaluate("""rows => {
        const map = document.getElementById("map"), {xaxis, yaxis} = map._fullLayout, box = map.getBoundingClientRect();
        return [[6, -5], [14, -5], [14, 5], [6, 5], [6, -5]].map(([x, y]) =>
            [box.x + xaxis._offset + xaxis.d2p(x), box.y + yaxis._offset + yaxis.d2p(y)]);
    }""")
    page.mouse.move(*right[0])
    page.mouse.down()
    for corner in right[1:]:
        page.mouse.move(*corner, steps=8)
    page.mouse.up()
    inside = np.flatnonzero((abs(PLANE - [10, 0]) < [4, 5]).all(1))
    page.wait_for_function(f"document.querySelector('#count').textContent === '{len(inside)} images'")
    assert page.eval_on_selector("#view", "view => view.selectedOptions[0].text") == "Lasso on the map"
    assert set(shown(page)) <= set(inside.tolist())
    name_selection(page, "Copepod")
    page.wait_for_selector("text=1 of 60 images labelled")
    asked = []
    page.once("dialog", lambda dialog: (asked.append(dialog.message), dialog.dismiss()))
    name_selection(page, "copepod")
    page.wait_for_function("document.querySelector('#name').value === 'copepod'")
    assert asked == ['There is the class "Copepod" already. Is "copepod" another class?']
    assert [*session.file.labels.values()] == ["Copepod"]


def test_two_tabs_do_not_overwrite_each_other(serve, tab, session):
    address, _ = serve(session, PLANE)
    one, other = tab(address), tab(address)
    other.route("**/api/state", lambda route: route.abort())  # it does not hear of what the first one does
    row = shown(one)[0]
    name_selection(one, "round")
    one.wait_for_selector("text=1 of 60 images labelled")
    name_selection(other, "oval")
    other.wait_for_selector("text=Changed meanwhile, in another tab or program")
    assert session.file.labels == {f"sub/{row}.png": "round"}
    other.wait_for_selector("figure.labelled >> text=round")


def test_a_server_that_is_gone_is_said_and_nothing_is_shown_as_saved(serve, tab, session):
    address, stop = serve(session, PLANE)
    page = tab(address)
    stop()
    name_selection(page, "round")
    page.wait_for_selector("text=The server does not answer: was it stopped?")
    assert page.query_selector("figure.labelled") is None
    assert session.file.labels == {}


@pytest.mark.parametrize("width", [1400, 400])
def test_thirty_thousand_images_scroll_with_few_of_them_in_the_document(serve, tab, tmp_path, width):
    draw, count = np.random.default_rng(0), 30_000
    points = np.eye(8, dtype=np.float32)[draw.integers(0, 8, count)] + 0.1 * draw.normal(size=(count, 8))
    points = (points / np.linalg.norm(points, axis=1, keepdims=True)).astype(np.float32)
    data = SimpleNamespace(
        labels=np.full(count, -1), digests=np.arange(count), root="FOLDER", folder=None, white=None,
        paths=[f"{row}.png" for row in range(count)],
        images=lambda rows: torch.full((len(rows), 1, 8, 8), int(rows[0]) % 256, dtype=torch.uint8),
    )  # fmt: skip
    images = EmbeddedImages(data, Embeddings(points, data.labels, np.arange(count)), points)
    session = LabellingSession(images, LabelsFile(tmp_path / "labels.csv"))
    page = tab(serve(session, points[:, :2])[0], width)
    page.select_option("#view", label="All images")
    page.wait_for_function("document.querySelector('#count').textContent === '30,000 images'")
    for place in (0.5, 1.0, 0.25):
        page.eval_on_selector("#grid", f"grid => grid.scrollTo(0, {place} * (grid.scrollHeight - grid.clientHeight))")
        middle = int(place * count)
        page.wait_for_function(f"""[...document.querySelectorAll('figure')].some(cell =>
            Math.abs(cell.dataset.place - {middle}) < 200 && cell.querySelector('img').naturalWidth === 8
            && cell.textContent === 'unlabelled')""")
        assert len(shown(page)) < 150
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
