"""report.html, in a browser too: it loads nothing, logs nothing to the console, and fits the width of the screen."""

import base64
import hashlib
import io
import json
import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from fewlabels.evaluation.report import WIDTH, Section, Table, label_efficiency_table, provenance_table, write_report
from fewlabels.figures.embedding_plots import HoverImages, add_hover
from fewlabels.figures.label_efficiency import label_efficiency_figure
from fewlabels.figures.names import shown_names
from fewlabels.figures.style import new_figure

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    rng = np.random.default_rng(0)
    rows = [(source, probe, labels, repeat, rng.uniform(0.5, 0.9)) for source in ("pretrained", "untrained")
            for probe in ("linear", "svc") for labels in (30, 100, 250) for repeat in range(3)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["source", "probe", "labels", "repeat", "balanced_accuracy"])
    figure = label_efficiency_figure(table, classes=3, tested=100, population="3 classes", synthetic=True)
    odd, plane = new_figure(6.4, 4), np.array([[0.25, 0.5], [0.75, 0.5]])
    shown_names(odd, ["\u6d6e <i>"])
    axis = odd.subplots()
    axis.set(xlim=(0, 1), ylim=(0, 1))
    tiles = np.array([10, 200], np.uint8)[:, None, None, None] * np.ones((1, 8, 8), np.uint8)
    add_hover(odd, HoverImages(np.array([0, 0]), plane, tiles, ["a</script>.png", "b\udcff.png: <b>"]))
    broken = new_figure(2, 2)
    broken.savefig = lambda *_, **__: (_ for _ in ()).throw(ValueError("no such <colour>"))
    wide = provenance_table({"path": "/a/long/path/" * 12, "data": "/data/caf\udce9"})
    efficiency = label_efficiency_table(table, "svc")
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        file, title="A <title> & more", subtitle="today", sentences=["90 labels give x < y."], synthetic=True,
        sections=[Section("Label efficiency", [(figure, "A curve")], [efficiency]), Section("Empty"),
                  Section("Maps", [(odd, "A map"), (broken, "Broken")], text=["Label <some>."]),
                  Section("Jobs", tables=[Table("All <jobs>", ["a"], [[str(k)] for k in range(30)])]),
                  Section("Provenance", tables=[wide, Table("", ["a"], [["1"]])], code=["x " * 99, "run=caf\udce9 <"])],
    )  # fmt: skip
    return file


def test_text_is_escaped_and_empty_sections_are_omitted(page):
    text = page.read_text()
    assert "A &lt;title&gt; &amp; more" in text
    assert "90 labels give x &lt; y." in text
    assert "SYNTHETIC" in text
    assert "Empty" not in text
    assert "torch 2" in text
    assert re.findall(r'<a href="#([^"]*)"', text) == re.findall(r'<h2 id="([^"]*)"', text)


def test_a_table_without_headings_has_no_heading_row(page):
    text = page.read_text()
    assert text.count("<table>") == 4
    assert text.count("<thead>") == 3
    assert text.count("<caption>") == 1


def test_a_report_on_real_images_has_no_banner(tmp_path):
    file = tmp_path / "report.html"
    write_report(file, title="t", subtitle="s", sentences=[], sections=[], synthetic=False)
    assert "SYNTHETIC" not in file.read_text()
    assert "<li>" not in file.read_text()


def test_cells_are_means_with_intervals():
    scores = {"a": [0.5, 0.7, 0.9], "b": [0.4, 0.4, 1.0]}
    budgets = [(30, 0), (30, 1), (1000, 0)]
    rows = [
        (source, *budget, score) for source in scores for budget, score in zip(budgets, scores[source], strict=True)
    ]
    table = pd.DataFrame(rows, columns=["source", "labels", "repeat", "balanced_accuracy"]).assign(probe="knn")
    found = label_efficiency_table(table, "knn")
    assert found.columns == ["labels", "a", "b"]
    # Student's t for 2 values: 12.706 × std / √2; a single repeat has no interval
    assert found.rows == [["30", "60.0 ± 127.1 (0.0–100.0)", "40.0"], ["1,000", "90.0", "100.0"]]
    assert found.caption.startswith("5 nearest neighbours: balanced accuracy in %")


def test_the_answer_comes_first_and_then_its_curve(page):
    text = page.read_text()
    places = [text.index(part) for part in ("<h1>", "90 labels give", "<h2", "<img", "<table>")]
    assert places == sorted(places)


def test_long_tables_are_folded_and_say_what_is_inside(page):
    assert re.findall(r"<summary>(.*?)</summary>", page.read_text()) == ["All &lt;jobs&gt; (30 rows)"]


def test_pictures_have_twice_the_pixels_of_the_column(page):
    data = re.findall(r'<img src="data:image/png;base64,([^"]*)"', page.read_text())
    widths = [Image.open(io.BytesIO(base64.b64decode(picture))).width for picture in data]
    assert len(widths) == 2
    assert all(abs(width - WIDTH) <= 2 for width in widths)


def test_a_figure_that_cannot_be_drawn_is_named(page):
    assert "This figure could not be drawn: ValueError: no such &lt;colour&gt;" in page.read_text()


def test_names_without_glyphs_are_explained_below_the_figure(page):
    assert "A map. [1] = \u6d6e &lt;i&gt;" in page.read_text(encoding="utf-8")


def test_a_page_is_utf8_whatever_files_are_called(page):
    text = page.read_bytes().decode("utf-8")
    assert "/data/caf%E9" in text
    assert "run=caf%E9 &lt;" in text


def test_all_text_is_escaped_in_the_data_of_the_map_too(page):
    data = re.search(r'<script type="application/json">(.*?)</script>', page.read_text(), re.S)[1]
    assert json.loads(data)["texts"] == ["a</script>.png", "b%FF.png: <b>"]
    assert "Label &lt;some&gt;." in page.read_text()


def test_large_pictures_are_webp(tmp_path):
    figure = new_figure(9, 9)
    figure.figimage(np.random.default_rng(0).integers(0, 255, (900, 900)).astype(np.uint8), cmap="grey", resize=True)
    file = tmp_path / "report.html"
    write_report(file, title="t", subtitle="s", sentences=[], sections=[Section("a", [(figure, "b")])], synthetic=False)
    assert '<img src="data:image/webp;base64,' in file.read_text()


def browse(page, folder, width, script, *flags):
    """Load a page in a browser after `script` was added to it; what is printed to the console, and the page's title."""
    text = page.read_text()
    policy = re.search(r"script-src [^\"]*", text)[0]
    probe = text.replace(policy, f"{policy} 'sha256-{hash_of(script)}'").replace(
        "</body>", f"<script>{script}</script></body>"
    )
    (folder / "page.html").write_text(probe)
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--window-size={width},900", f"--user-data-dir={folder / 'user'}", *flags,
         f"file://{folder / 'page.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr, "the page forbids itself to load anything; a browser logs what it blocks"
    return done.stdout.partition("<title>")[2].partition("</title>")[0]


def hash_of(script):
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@pytest.mark.subprocess
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 400])
def test_a_browser_loads_nothing_logs_nothing_and_does_not_scroll_sideways(page, tmp_path, width):
    assert "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-" in page.read_text()
    script = "document.title = document.documentElement.scrollWidth + ' ' + innerWidth"
    page_width, screen = map(int, browse(page, tmp_path, width, script, "--dump-dom").split())
    assert page_width <= screen


HOVER = """
const map = document.querySelector(".map"), card = map.querySelector(".card"), found = [card.hidden];
map.scrollIntoView();
const box = map.querySelector("img").getBoundingClientRect();
const data = JSON.parse(map.querySelector("script").textContent);
for (const [k, off] of [[0, 3], [1, -4], [1, 40]]) {
  const clientX = box.left + data.places[k][0] * box.width + off, clientY = box.top + data.places[k][1] * box.height;
  map.dispatchEvent(new MouseEvent("mousemove", {clientX, clientY}));
  const shift = getComputedStyle(card.firstElementChild).backgroundPositionX;
  found.push(card.hidden, card.lastElementChild.textContent, shift);
}
dispatchEvent(new Event("beforeprint"));
found.push(document.querySelectorAll("details:not([open])").length);
dispatchEvent(new Event("afterprint"));
found.push(document.querySelectorAll("details:not([open])").length);
document.title = JSON.stringify(found).replaceAll("<", "[");
"""


@pytest.mark.subprocess
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_the_image_of_the_nearest_point_appears_and_tables_open_for_printing(page, tmp_path):
    title = browse(page, tmp_path, 1280, HOVER, "--dump-dom").replace("&gt;", ">")
    found = json.loads(title)
    assert found[0] is True
    assert found[1:7] == [False, "a[/script>.png", "0px", False, "b%FF.png: [b>", "-112px"]
    assert found[7] is True, "too far from any point"
    assert found[10:] == [0, 1]
