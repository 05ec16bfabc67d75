"""The labelling page as a script: from its address to labels on disk, and a second server on the same labels."""

import json
import re
import subprocess
import sys
from http.cookiejar import CookieJar
from pathlib import Path
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

SCRIPT = Path(__file__).parents[2] / "src" / "label.py"


@pytest.mark.subprocess
def test_a_folder_is_labelled_through_the_address_that_is_printed(script, tree, tmp_path, environment):
    root = tree({f"{number}.png": 10 * number for number in range(12)})
    settings = ["run=random", f"data.root={root}", "data.size=32", "browse=false"]
    command = [sys.executable, "-u", str(SCRIPT), *settings]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, text=True, **pipes) as server:
        try:
            found = next(
                m for line in server.stdout if (m := re.search(r"(http://127\.0\.0\.1:\d+/)\?token=\S+", line))
            )
            page = build_opener(HTTPCookieProcessor(CookieJar()))
            assert b"Label images" in page.open(found[0], timeout=60).read()

            def ask(path, body=None):
                data = None if body is None else json.dumps(body).encode()
                return json.load(page.open(Request(found[1] + path, data), timeout=60))

            while not ask("api/state")["ready"]:
                pass
            assert sorted(ask("api/rows?view=suggestions")) == list(range(12))
            ask("api/label", {"rows": [0, 1], "label": "dark", "seen": [None, None], "editor": "test"})
            assert (root / "labels.csv").read_text() == "path,label\n0.png,dark\n1.png,dark\n"
            second = script("label", *settings, code=1)
            assert f"labels.csv is being edited already: {found[1]}" in second.stderr
        finally:
            server.terminate()
    assert server.returncode is not None
