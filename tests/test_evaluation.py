"""Evaluation from the command line: what it leaves, what it says, and what it refuses."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import offline
from fewlabels.comparison import asked_the_same
from fewlabels.embeddings import Embeddings
from fewlabels.errors import UserError
from fewlabels.findings import Subject

ROOT = Path(__file__).parents[1]
TINY = (
    "method=simclr", "data=plankton", "data.source=synthetic", "data.size=32", "data.batch_size=32", "trainer=cpu",
    "backbone=mobilenet_v3_small", "method.head.hidden=16", "trainer.max_epochs=1", "trainer.limit_train_batches=3",
    "callbacks.probes.max_samples=100", "data.unseen=3", "callbacks.health.every_n_epochs=1",
)  # fmt: skip
QUICK = ("draws=2", "budgets=[30,60,90]", "max_samples=200")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluation")
    environment = os.environ | {
        "FEWLABELS_CACHE": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
        "WANDB_MODE": "offline",
    }

    def run(script, *overrides, code=0):
        command = [sys.executable, str(ROOT / "src" / script), *overrides]
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=200)
        assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    run.folder = folder
    return run


@pytest.fixture(scope="module")
def evaluated(shell):
    shell("pretrain.py", *TINY, "hydra.run.dir=run")
    return shell("evaluate.py", "run=run", *QUICK), shell.folder / "run"


def test_it_leaves_figures_tables_embeddings_and_a_report(evaluated):
    done, run = evaluated
    assert Path(done.stdout.splitlines()[-1]) == run
    assert "Warning" not in done.stdout + done.stderr
    names = ("label_efficiency", "distances_seen", "distances_unseen", "gallery", "umap", "components", "health",
             "layers", "neighbours")  # fmt: skip
    for name in names:
        assert (run / "figures" / f"{name}.png").stat().st_size > 5000, name
    table = pd.read_csv(run / "label_efficiency.csv")
    assert set(table["source"]) == {"pretrained", "untrained", "pixels (PCA)"}
    assert sorted(table["labels"].unique()) == [30, 60, 90]
    assert table["balanced_accuracy"].between(0, 1).all()
    found = Embeddings.load(run / "embeddings.parquet")
    assert set(found.splits) == {"train", "val", "test", "unseen"}
    assert len(found.classes) == 9
    assert "90 labels give" in done.stdout
    assert "SYNTHETIC" in done.stdout


def test_results_keep_what_the_run_had_and_gain_what_was_found(evaluated):
    _, run = evaluated
    results = json.loads((run / "results.json").read_text())
    table = pd.read_csv(run / "label_efficiency.csv").query(
        "source == 'pretrained' and probe == 'svc' and labels == 90"
    )
    assert results["efficiency/svc_90"] == pytest.approx(table["balanced_accuracy"].mean())
    assert {"val/loss", "unseen/silhouette", "health/effective_rank", "layers/block_1"} <= results.keys()


def test_the_report_holds_everything_and_fetches_nothing(evaluated):
    _, run = evaluated
    page = (run / "report.html").read_text()
    assert page.count("data:image/png;base64,") == len(list((run / "figures").glob("*.png"))) - 1  # views.png is older
    assert "SYNTHETIC" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert "<script" not in page
    assert "evaluate.py run=run" in page


def test_the_offline_run_holds_training_and_evaluation(evaluated):
    _, run = evaluated
    held = offline.summary(run)
    assert held["codes"] == [0, 0]
    assert len({known.run_id for known in held["runs"]}) == 1
    assert {"train/loss", "val/knn_accuracy", "health/effective_rank", "efficiency/svc_90"} <= held["logged"].keys()
    pictures = {name.split("/")[1] for name in held["logged"] if name.startswith("figures/")}
    assert {"views", "label_efficiency", "umap", "gallery", "health"} <= pictures
    assert {name.split("/")[1] for name in held["logged"] if name.startswith("tables/")} == {
        "embeddings", "label_efficiency",
    }  # fmt: skip
    assert held["config"]["method"]["temperature"] == 0.2
    assert held["config"]["data"]["size"] == 32


def test_the_same_seed_gives_the_same_numbers(evaluated, shell):
    _, run = evaluated
    before = (run / "label_efficiency.csv").read_text()
    shell("evaluate.py", "run=run", *QUICK, "questions=[efficiency]")
    assert (run / "label_efficiency.csv").read_text() == before


MISTAKES = {
    "nothing to look at": ([], "Give either run=RUN_DIR or checkpoint=FILE"),
    "no such run": (["run=nowhere"], "nowhere"),
    "a run without checkpoint": (["run=empty"], "there is no file"),
    "another size": (["run=run", "data.size=48"], "data=plankton has size 48, but the network was trained with 32"),
    "other classes": (["run=run", "data.unseen=[rose]"], "data.unseen names the class 'rose'"),
    "a misspelt key of the data": (["run=run", "data.sizes=48"], "data.sizes"),
    "an unknown question": (["run=run", "questions=[why]"], "questions names 'why', which is none of efficiency"),
    "a misspelt key": (["run=run", "draw=3"], "Did you mean draws?"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_one_screen_and_leaves_the_run_alone(evaluated, shell, mistake):
    overrides, message = MISTAKES[mistake]
    (shell.folder / "empty").mkdir(exist_ok=True)
    (shell.folder / "empty" / "config.yaml").touch()
    before = (evaluated[1] / "results.json").read_bytes()
    done = shell("evaluate.py", *overrides, code=1)
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (evaluated[1] / "results.json").read_bytes() == before


def test_a_network_that_has_diverged_is_refused(evaluated, shell):
    checkpoint = torch.load(evaluated[1] / "checkpoints" / "last.ckpt", weights_only=True)
    name = next(name for name in checkpoint["state_dict"] if name.startswith("backbone"))
    checkpoint["state_dict"][name] = torch.full_like(checkpoint["state_dict"][name], np.nan)
    torch.save(checkpoint, shell.folder / "broken.ckpt")
    done = shell("evaluate.py", "checkpoint=broken.ckpt", *QUICK, code=1)
    assert "embeddings are not finite: the training has diverged" in done.stderr


def test_what_too_few_labels_cannot_answer_is_left_out_and_said(evaluated, shell):
    other = ("data=flowers", "data.source=synthetic", "data.label_fraction=0.02")  # grey and 32 px, as the network was
    done = shell("evaluate.py", "run=run", *other, "max_samples=200", "questions=[efficiency,health]")
    assert "Left out: How few labels are enough?" in done.stdout
    run = Path(done.stdout.splitlines()[-1])
    assert run.parent.name == "evaluate"
    assert (shell.folder / run / "report.html").is_file()


def test_runs_are_compared_on_the_same_labels(evaluated, shell):
    shell("pretrain.py", *TINY, "seed=1", "data.seed=0", "hydra.run.dir=other")
    done = shell("evaluate.py", "run=run,other", *QUICK)
    folder = shell.folder / done.stdout.splitlines()[-1]
    table = pd.read_csv(folder / "label_efficiency.csv")
    assert set(table["source"]) == {"run", "other", "untrained"}
    alone = pd.read_csv(evaluated[1] / "label_efficiency.csv").query("source == 'pretrained'")
    same = table.query("source == 'run'")
    assert np.allclose(same["balanced_accuracy"], alone["balanced_accuracy"])
    assert "is best with" in done.stdout
    page = (folder / "report.html").read_text()
    assert "no clear difference" in page or "against" in page


def test_runs_that_are_asked_about_other_images_are_not_compared():
    def subject(name):
        known = Embeddings(np.zeros((2, 3), np.float32), np.zeros(2, np.int64), np.arange(2))
        every = known.described([f"{name}/0.png", f"{name}/1.png"], ["unseen"] * 2, [name])
        return Subject(None, None, None, every, np.array([0]), np.array([1]), name, {}, {}, {})

    first, renumbered = subject("a"), subject("a")
    renumbered.everything = replace(renumbered.everything, labels=np.full(2, 7), classes=("x",) * 7 + ("a",))
    for part in asked_the_same("one", renumbered, first):
        assert part.labels.tolist() == [0]
        assert part.classes == ("a",)

    assert len(asked_the_same("one", subject("a"), subject("a"))) == 2
    with pytest.raises(UserError, match="two is asked about b, 1 images, which are not those of the first run"):
        asked_the_same("two", subject("b"), subject("a"))


def test_spirals_are_asked_whether_they_are_unrolled(shell):
    shell("pretrain.py", "trainer=cpu", "trainer.max_epochs=3", "hydra.run.dir=points")
    done = shell("evaluate.py", "run=points")
    results = json.loads((shell.folder / "points" / "results.json").read_text())
    assert {"test/spearman", "test/spearman_untrained"} <= results.keys()
    assert f"rank correlation of {results['test/spearman']:.4f}" in done.stdout
    assert (shell.folder / "points" / "figures" / "unrolled.png").is_file()
    assert "The curve" in (shell.folder / "points" / "report.html").read_text()


def test_images_that_are_gone_are_named(evaluated, shell):
    done = shell("evaluate.py", "run=run", "data.source=folder", "data.root=gone", code=1)
    assert "data.root=gone does not exist" in done.stderr
