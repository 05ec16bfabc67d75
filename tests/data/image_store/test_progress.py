"""The progress bar."""

import logging
import sys

import pytest

from fewlabels.data.image_store.progress import progress


def test_one_line_is_logged_if_there_is_no_terminal(caplog, capfd):
    caplog.set_level(logging.INFO)
    with progress("Preparing", 3, delay=0) as advance:
        advance(3)
    assert [record.message for record in caplog.records] == ["Preparing"]
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("delay", "shown"), [(0.0, True), (60.0, False)])
def test_a_bar_appears_on_a_terminal_after_the_delay(monkeypatch, capsys, delay, shown):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with progress("Preparing", 3, delay=delay) as advance:
        advance(1)
        advance(2)
    assert ("Preparing" in capsys.readouterr().err) == shown
