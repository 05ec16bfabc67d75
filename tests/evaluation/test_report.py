"""report.html, in a browser too: it loads nothing, logs nothing to the console, and fits the width of the screen."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from fewlabels.evaluation.report import Section, Table, label_efficiency_table, provenance_table, write_report
from fewlabels.figures.label_efficiency import label_efficiency_figure

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
    wide = provenance_table({"path": "/a/long/path/" * 12})
    efficiency = label_efficiency_table(table, "svc")
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        file, title="A <title> & more", subtitle="today", sentences=["90 labels give x < y."], synthetic=True,
        sections=[Section("Label efficiency", [(figure, "A curve")], [efficiency]), Section("Empty"),
                  Section("Provenance", tables=[wide, Table("", ["a"], [["1"]])], code=["x " * 99])],
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
    assert text.count("<table>") == 3
    assert text.count("<thead>") == 2
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


@pytest.mark.subprocess
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_loads_nothing_logs_nothing_and_does_not_scroll_sideways(page, tmp_path, width):
    text = page.read_text()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert policy in text, "the page forbids itself to load anything; a browser logs what it blocks"
    measure = "<script>document.title = document.documentElement.scrollWidth + ' ' + innerWidth</script></body>"
    probe = text.replace(policy, f"{policy}; script-src 'unsafe-inline'").replace("</body>", measure)
    (tmp_path / "page.html").write_text(probe)
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--window-size={width},900", f"--user-data-dir={tmp_path / 'user'}", "--dump-dom",
         f"file://{tmp_path / 'page.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    page_width, screen = map(int, done.stdout.split("<title>")[1].split("</title>")[0].split())
    assert page_width <= screen
