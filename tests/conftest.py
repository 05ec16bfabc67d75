"""Shared by all tests: which of them run, a guard against unmarked processes, and fixtures that run scripts."""

import logging
import multiprocessing.process
import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ROOT = Path(__file__).parents[1]
WHOLE_RUNS = (
    "callbacks/test_embedding_plots", "callbacks/test_representation_quality", "cli/test_app", "cli/test_commands",
    "data/synthetic/test_drawing", "data/synthetic/test_synthetic_plankton", "evaluation/test_compare",
    "evaluation/test_context", "evaluation/test_few_labels", "evaluation/test_run", "figures/test_embedding_plots",
    "figures/test_heatmaps",
    "sweeps/test_comparability", "sweeps/test_init_comparison", "test_conf", "training/test_build",
    "training/test_config_checks", "training/test_finetune", "training/test_finetune_defaults", "training/test_fit",
    "training/test_resume",
)  # fmt: skip
"""Test modules that train, evaluate, compose or draw so much that `make test-fast` leaves them out."""


def pytest_collection_modifyitems(items):
    """Mark the tests of `WHOLE_RUNS`; skip tests of real images unless FEWLABELS_IMAGES names their folder."""
    for item in items:
        if item.path.relative_to(ROOT / "tests").with_suffix("").as_posix() in WHOLE_RUNS:
            item.add_marker(pytest.mark.whole_run)
    if not Path(os.environ.get("FEWLABELS_IMAGES", "/nonexistent")).is_dir():
        reason = pytest.mark.skip(reason="FEWLABELS_IMAGES names no folder of real images")
        for item in items:
            if "images" in item.keywords:
                item.add_marker(reason)


@pytest.fixture(scope="session", autouse=True)
def _no_unmarked_processes(request) -> Iterator[None]:
    """With `-m "not subprocess"`, make a test fail that starts a process, git aside: it lacks the marker."""
    start = subprocess.Popen.__init__

    def refuse(self, command=(), *others, **options):
        if not isinstance(command, list) or command[0] != "git":  # whose state every run notes
            raise AssertionError("This test starts a process: mark it with @pytest.mark.subprocess.")
        start(self, command, *others, **options)

    with pytest.MonkeyPatch.context() as patch:
        if "not subprocess" in (request.config.option.markexpr or ""):
            patch.setattr(subprocess.Popen, "__init__", refuse)
            patch.setattr(multiprocessing.process.BaseProcess, "start", refuse)
        yield


@pytest.fixture(scope="session")
def environment(tmp_path_factory) -> dict[str, str]:
    """Environment variables of scripts: one cache of images for all tests, one thread, W&B offline."""
    return os.environ | {
        "FEWLABELS_CACHE": str(tmp_path_factory.mktemp("cache")), "PYTHONPATH": str(ROOT / "tests"),
        "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1",
    }  # fmt: skip


@pytest.fixture
def script(tmp_path, environment) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`script("pretrain", *overrides)` runs `python src/pretrain.py` in `tmp_path` and checks its exit code."""

    def run(name, *overrides, code=0):
        done = subprocess.run(
            [sys.executable, str(ROOT / "src" / f"{name}.py"), *overrides], cwd=tmp_path, env=environment,
            capture_output=True, text=True, timeout=500, check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    return run


@pytest.fixture
def pretrain(script) -> Callable[..., subprocess.CompletedProcess[str]]:
    """`pretrain(*overrides)` runs `python src/pretrain.py` in `tmp_path` and checks its exit code."""
    return lambda *overrides, code=0: script("pretrain", *overrides, code=code)


@pytest.fixture
def start_pretrain(tmp_path, environment) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`start_pretrain(*overrides)` starts `python src/pretrain.py` in `tmp_path`, in a process group of its own."""
    started = []

    def start(*overrides):
        started.append(subprocess.Popen(
            [sys.executable, str(ROOT / "src" / "pretrain.py"), *overrides], cwd=tmp_path, env=environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, bufsize=1, start_new_session=True,
        ))  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def lightning_log_levels() -> Iterator[None]:
    """Restore the log levels that `silence_libraries` sets, after a training in this process."""
    names = ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "pytorch_lightning")
    levels = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def tree(tmp_path) -> Callable[..., Path]:
    """Write greyscale images of one shade each, given {"class/name.png": shade}; return the folder.

    Each file names itself in its metadata, so that files of one shade are no exact copies of each other.
    """

    def write(files: dict[str, int], root: str = "images", side: int = 8) -> Path:
        folder = tmp_path / root
        for name, shade in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            description = PngInfo()
            description.add_text("name", f"{root}/{name}")
            Image.new("L", (side, side), shade).save(folder / name, pnginfo=description)
        return folder

    return write


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is not UTF-8 in captured output, which xdist cannot send: tests log such file names."""
    report = yield
    report.sections = [(name, text.encode(errors="backslashreplace").decode()) for name, text in report.sections]
    return report
