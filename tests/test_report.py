"""report.html in a browser: nothing fetched, nothing said in the console, nothing wider than the screen."""

import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from fewlabels.figures.efficiency import efficiency_figure
from fewlabels.report import Section, Table, efficiency_table, facts, write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--enable-logging=stderr",
)  # fmt: skip


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    long = facts({"path": "/a/long/path/" * 12})
    rng = np.random.default_rng(0)
    rows = [(source, probe, labels, draw, rng.uniform(0.5, 0.9)) for source in ("pretrained", "untrained")
            for probe in ("linear", "svc") for labels in (30, 100, 250) for draw in range(3)]  # fmt: skip
    table = pd.DataFrame(rows, columns=["source", "probe", "labels", "draw", "balanced_accuracy"])
    figure = efficiency_figure(table, classes=3, tested=100, where="3 classes", synthetic=True)
    file = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        file, title="A <title> & more", subtitle="today", sentences=["90 labels give x < y."], synthetic=True,
        sections=[Section("Few labels", [(figure, "A curve")], [efficiency_table(table, "svc")]), Section("Empty"),
                  Section("Run", tables=[long, Table("", ["a"], [["1"]])], code=["x " * 99])],
    )  # fmt: skip
    return file


def test_text_is_escaped_and_empty_sections_are_left_out(page):
    text = page.read_text()
    assert "A &lt;title&gt; &amp; more" in text
    assert "SYNTHETIC" in text
    assert "Empty" not in text
    assert "torch 2" in text


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_fetches_nothing_and_has_nothing_to_say(page, tmp_path, width):
    text = page.read_text()
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert policy in text, "the page itself forbids all fetching, and a browser complains of what it forbids"
    measure = "<script>document.title = document.documentElement.scrollWidth + ' ' + innerWidth</script></body>"
    probe = text.replace(policy, f"{policy}; script-src 'unsafe-inline'").replace("</body>", measure)
    (tmp_path / "page.html").write_text(probe)
    done = subprocess.run(
        [str(CHROMIUM), *FLAGS, f"--window-size={width},900", f"--user-data-dir={tmp_path / 'user'}", "--dump-dom",
         f"file://{tmp_path / 'page.html'}"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in done.stderr
    wide, screen = map(int, done.stdout.split("<title>")[1].split("</title>")[0].split())
    assert wide <= screen, "the page scrolls sideways"
