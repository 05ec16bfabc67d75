"""Evaluation of one network: what it writes and logs, how analyses are chosen and added, and what it refuses."""

import importlib
import json
import logging
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

import offline
from fewlabels.cli.app import compose_config
from fewlabels.core.errors import UserError
from fewlabels.evaluation.result import SECTIONS, AnalysisResult
from fewlabels.evaluation.run import evaluate, run_analyses, save
from fewlabels.figures.style import new_figure
from fewlabels.probing.embeddings import Embeddings

ROOT = Path(__file__).parents[2]
ANALYSES = sorted(path.stem for path in (ROOT / "conf" / "analyses").glob("*.yaml"))


def headings(page):
    return re.findall(r"<h2[^>]*>([^<]*)</h2>", page)


@pytest.mark.parametrize("name", ANALYSES)
def test_an_analysis_is_one_file_and_one_yaml_of_the_same_name(name):
    node = yaml.safe_load((ROOT / "conf" / "analyses" / f"{name}.yaml").read_text())
    module, _, target = node["_target_"].rpartition(".")
    assert module == f"fewlabels.evaluation.analyses.{name}"
    analysis = getattr(importlib.import_module(module), target)()
    assert analysis.title
    assert analysis.section in SECTIONS
    assert analysis.modality in ("images", "points")


def test_all_analyses_run_by_default():
    assert sorted(compose_config(script="evaluate")["analyses"]) == ANALYSES
    files = {path.stem for path in (ROOT / "src/fewlabels/evaluation/analyses").glob("*.py")} - {"__init__"}
    assert sorted(files) == ANALYSES


def test_a_second_evaluation_reuses_the_embeddings_and_gives_the_same_numbers(folder, settings, blank_figures, caplog):
    caplog.set_level(logging.INFO, "fewlabels")
    chosen = settings("representation_quality", "label_efficiency")
    evaluate(chosen, folder / "run")
    assert "Reusing" not in caplog.text
    names = ("label_efficiency.csv", "results.json")
    before = {name: (folder / "run" / name).read_text() for name in names}
    embeddings = Embeddings.load(folder / "run" / "embeddings.parquet")
    caplog.clear()
    evaluate(chosen, folder / "run")
    assert "Reusing" in caplog.text
    assert {name: (folder / "run" / name).read_text() for name in names} == before
    again = Embeddings.load(folder / "run" / "embeddings.parquet")
    assert np.array_equal(again.vectors, embeddings.vectors)
    assert again.provenance == embeddings.provenance


def test_chosen_analyses_alone_are_run_and_their_results_added_to_those_of_training(folder, settings, blank_figures):
    assert list(compose_config("analyses=[label_efficiency]", script="evaluate")["analyses"]) == ["label_efficiency"]
    evaluate(settings("label_efficiency"), folder / "run")
    assert headings((folder / "run" / "report.html").read_text()) == ["Label efficiency", "Provenance"]
    assert [path.name for path in (folder / "run" / "figures").iterdir()] == ["label_efficiency.png"]
    results = json.loads((folder / "run" / "results.json").read_text())
    others = {name for name in results if not name.startswith("efficiency/")}
    assert others == {"val/loss", "val/loss_chance", "seconds"}
    table = pd.read_csv(folder / "run" / "label_efficiency.csv")
    assert list(table.columns) == ["source", "probe", "labels", "repeat", "balanced_accuracy"]
    rows = table.query("source == 'pretrained' and probe == 'knn' and labels == 10")
    assert results["efficiency/knn_10"] == pytest.approx(rows["balanced_accuracy"].mean())
    assert results["val/loss"] == 3.0


def test_sections_of_images_are_in_order(folder, settings, blank_figures):
    chosen = ("class_distances", "representation_quality", "curve_recovery", "rotation_confusion")
    evaluate(settings(*chosen), folder / "run")
    page = (folder / "run" / "report.html").read_text()
    assert headings(page) == ["Representation quality", "Embedding space", "Provenance"]
    figures = {path.stem for path in (folder / "run" / "figures").iterdir()}
    assert figures == {"distances_seen", "distances_unseen", "representation_quality"}
    assert page.count("<img ") == 3


def test_no_analyses_leave_the_embeddings_and_the_provenance(folder, settings, blank_figures):
    assert "analyses" not in compose_config("analyses=[]", script="evaluate")
    empty = settings()
    del empty["analyses"]
    evaluate(empty, folder / "run")
    assert headings((folder / "run" / "report.html").read_text()) == ["Provenance"]
    assert len(Embeddings.load(folder / "run" / "embeddings.parquet")) == 120
    evaluate(settings() | {"analyses": {"embedding_maps": None}}, folder / "run")  # analyses.embedding_maps=null
    assert headings((folder / "run" / "report.html").read_text()) == ["Provenance"]


MINE = """
from fewlabels.core.errors import UserError
from fewlabels.evaluation.result import AnalysisResult
from fewlabels.figures.style import new_figure


class Mine:
    title, section, modality = "My analysis", "My section", "images"

    def __init__(self, scale=1.0):
        self.scale = scale

    def run(self, context):
        if self.scale < 0:
            raise UserError("scale must not be negative.")
        norm = float((context.test_embeddings.vectors**2).sum() ** 0.5)
        return AnalysisResult({"mine/norm": self.scale * norm}, {"mine": (new_figure(2, 2), "A caption")},
                              sentences=["My sentence."])
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """The configuration of an analysis in a file of its own."""
    (tmp_path / "my_analysis.py").write_text(MINE)
    monkeypatch.syspath_prepend(tmp_path)
    added = "+analyses.mine._target_=my_analysis.Mine", "+analyses.mine.scale=2"
    return compose_config("analyses=[class_distances]", *added, script="evaluate")["analyses"]


def test_an_analysis_can_be_added_from_the_command_line(folder, settings, blank_figures, context, mine, caplog):
    caplog.set_level(logging.INFO, "fewlabels")
    evaluate(settings(analyses=mine), folder / "run")
    page = (folder / "run" / "report.html").read_text()
    assert headings(page) == ["Embedding space", "My section", "Provenance"]
    assert "<li>My sentence.</li>" in page
    assert "My sentence." in caplog.messages
    assert (folder / "run" / "figures" / "mine.png").is_file()
    results = json.loads((folder / "run" / "results.json").read_text())
    assert results["mine/norm"] == pytest.approx(2 * np.linalg.norm(context.test_embeddings.vectors))


def test_an_analysis_that_the_data_do_not_allow_is_listed_with_its_reason(
    folder, settings, blank_figures, mine, caplog
):
    caplog.set_level(logging.INFO, "fewlabels")
    mine["mine"]["scale"] = -1
    evaluate(settings(analyses=mine), folder / "run")
    page = (folder / "run" / "report.html").read_text()
    assert headings(page) == ["Embedding space", "Left out", "Provenance"]
    assert "<td>My analysis</td>" in page
    assert ">scale must not be negative.</td>" in page
    assert "Left out: My analysis. scale must not be negative." in caplog.messages
    assert (folder / "run" / "figures" / "distances_seen.png").is_file()


def analysis(modality="images", **result):
    def run(context):
        if "error" in result:
            raise result["error"]
        return AnalysisResult(**result)

    return SimpleNamespace(title="An analysis", section="Images", modality=modality, run=run)


def test_analyses_of_the_other_modality_are_skipped(context):
    both = [analysis("images", metrics={"a": 1.0}), analysis("points", metrics={"b": 2.0})]
    result, _, left_out = run_analyses(context, both)
    assert result.metrics == {"a": 1.0}
    assert not left_out
    points = replace(context, data=SimpleNamespace(modality="points"))
    assert run_analyses(points, both)[0].metrics == {"b": 2.0}


def test_a_part_that_is_left_out_is_listed_beside_the_other_results(context):
    figure = (new_figure(1, 1), "caption")
    partial = analysis(figures={"one": figure}, left_out=["The other: too few images."])
    result, sections, left_out = run_analyses(context, [partial, analysis(error=UserError("No labels."))])
    assert result.figures == {"one": figure}
    assert sections["Images"] == ["one"]
    assert left_out == [("An analysis", "The other: too few images."), ("An analysis", "No labels.")]


def test_a_bug_in_an_analysis_is_not_hidden_and_costs_no_other_results(
    folder, settings, blank_figures, context, monkeypatch, caplog
):
    mine = analysis(metrics={"mine/a": 1.0}, tables={"mine": pd.DataFrame([1])})
    both = [analysis(error=ZeroDivisionError("a bug")), mine]
    monkeypatch.setattr("fewlabels.evaluation.run.instantiate_node", lambda node, _: node["analysis"])
    monkeypatch.setattr("fewlabels.evaluation.run.load_context", lambda _: context)
    with pytest.raises(ZeroDivisionError):
        evaluate(settings() | {"analyses": {str(k): {"analysis": a} for k, a in enumerate(both)}}, folder / "run")
    assert json.loads((folder / "run" / "results.json").read_text())["mine/a"] == 1.0
    assert (folder / "run" / "mine.csv").is_file()
    assert "Failed, which is a bug: ZeroDivisionError: a bug" in (folder / "run" / "report.html").read_text()
    assert "Traceback" in caplog.text


def test_results_are_written_before_figures_and_a_figure_that_fails_is_listed(context, tmp_path, caplog):
    def fail(*_, **__):
        assert json.loads((tmp_path / "results.json").read_text())["mine/a"] == 1.0
        assert (tmp_path / "mine.csv").is_file()
        assert (tmp_path / "embeddings.parquet").is_file()
        raise ValueError("no such colour")

    broken, good = new_figure(1, 1), new_figure(1, 1)
    broken.savefig = fail
    result = AnalysisResult({"mine/a": 1.0}, {"broken": (broken, "Broken"), "good": (good, "Good")},
                            tables={"mine": pd.DataFrame([1])})  # fmt: skip
    assert save(context, result, tmp_path) == [("Broken", "Could not be drawn: ValueError: no such colour")]
    assert list(result.figures) == ["good"]
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["good.png"]
    assert "figures/broken.png could not be drawn" in caplog.text


def test_the_sentences_of_the_first_section_come_first(context):
    def make(section, sentence):
        return SimpleNamespace(title="", section=section, modality="images",
                               run=lambda _: AnalysisResult(sentences=[sentence]))  # fmt: skip

    given = [make("Mine", "last"), make("Images", "second"), make("Label efficiency", "first")]
    assert run_analyses(context, given)[0].sentences == ["first", "second", "last"]


def test_points_are_evaluated(folder, settings, blank_figures, new_run, caplog):
    caplog.set_level(logging.INFO, "fewlabels")
    run = new_run("points", "method=siamese", "data=spirals", "logger=csv")
    evaluate(settings(run="points"), run)
    results = json.loads((run / "results.json").read_text())
    assert {"test/spearman", "test/spearman_untrained"} <= results.keys()
    assert f"|Spearman| = {results['test/spearman']:.4f}" in caplog.text
    assert {path.name for path in (run / "figures").iterdir()} == {"curve_recovery.png", "curve_recovery_plane.png"}
    page = (run / "report.html").read_text()
    assert headings(page) == ["Curve recovery", "Provenance"]
    assert "synthetic points" in page
    assert "SYNTHETIC" not in page


TINY = (
    "method=simclr", "data=plankton", "data.source=synthetic", "data.size=32", "data.batch_size=32", "trainer=cpu",
    "backbone=mobilenet_v3_small", "method.head.hidden=16", "trainer.max_epochs=1", "trainer.limit_train_batches=3",
    "callbacks.probes.max_samples=100", "data.unseen=3", "callbacks.representation_quality.every_n_epochs=1",
)  # fmt: skip
QUICK = ("repeats=2", "budgets=[30,60,90]", "max_samples=200")


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """Run a script in a folder of its own."""
    folder = tmp_path_factory.mktemp("commands")
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
    """A run that was pretrained and evaluated by its scripts, with all analyses."""
    shell("pretrain.py", *TINY, "hydra.run.dir=run")
    return shell("evaluate.py", "run=run", *QUICK), shell.folder / "run"


@pytest.mark.subprocess
@pytest.mark.slow
def test_evaluate_writes_figures_tables_embeddings_and_a_report(evaluated):
    done, run = evaluated
    assert Path(done.stdout.splitlines()[-1]) == run
    assert "Warning" not in done.stdout + done.stderr
    names = ("label_efficiency", "distances_seen", "distances_unseen", "gallery", "umap", "pair_plot",
             "representation_quality", "layers", "neighbours")  # fmt: skip
    for name in names:
        assert (run / "figures" / f"{name}.png").stat().st_size > 5000, name
    table = pd.read_csv(run / "label_efficiency.csv")
    assert set(table["source"]) == {"pretrained", "random init", "pixels (PCA)"}
    assert sorted(table["labels"].unique()) == [30, 60, 90]
    assert table["balanced_accuracy"].between(0, 1).all()
    embeddings = Embeddings.load(run / "embeddings.parquet")
    assert set(embeddings.splits) == {"train", "val", "test", "unseen"}
    assert len(embeddings.classes) == 9
    assert "with 90 labels" in done.stdout
    assert "SYNTHETIC" in done.stdout
    results = json.loads((run / "results.json").read_text())
    assert {"val/loss", "unseen/silhouette", "representation/effective_rank", "layers/block_1"} <= results.keys()


@pytest.mark.subprocess
@pytest.mark.slow
def test_the_report_holds_everything_and_loads_nothing(evaluated):
    _, run = evaluated
    page = (run / "report.html").read_text()
    figures = {path.stem for path in (run / "figures").glob("*.png")}
    assert page.count("<img ") == len(figures - {"views"})  # views.png is of the training
    assert headings(page) == [*SECTIONS[:1], *SECTIONS[2:], "Provenance"]  # no curve recovery
    assert "SYNTHETIC" in page
    assert not re.search(r"""(src|href)\s*=\s*["'](?!data:|#)""", page)
    assert page.count("<script>") == 1
    assert len(page) < 5_000_000
    assert "evaluate.py run=run" in page


@pytest.mark.subprocess
@pytest.mark.slow
def test_the_offline_run_holds_training_and_evaluation(evaluated):
    _, run = evaluated
    stored = offline.summary(run)
    assert stored["codes"] == [0, 0]
    assert len({known.run_id for known in stored["runs"]}) == 1
    names = {"train/loss", "val/knn_accuracy", "representation/effective_rank", "efficiency/svc_90"}
    assert names <= stored["logged"].keys()
    pictures = {name.split("/")[1] for name in stored["logged"] if name.startswith("figures/")}
    assert {"views", "label_efficiency", "umap", "gallery", "representation_quality"} <= pictures
    tables = {name.split("/")[1] for name in stored["logged"] if name.startswith("tables/")}
    assert tables == {"embeddings", "label_efficiency", "label_efficiency_intervals"}
    assert stored["config"]["method"]["temperature"] == 0.2
    assert stored["config"]["data"]["size"] == 32


@pytest.mark.subprocess
@pytest.mark.slow
def test_a_repeated_command_reuses_the_embeddings_and_gives_the_same_numbers(evaluated, shell):
    _, run = evaluated
    before = (run / "label_efficiency.csv").read_text()
    done = shell("evaluate.py", "run=run", *QUICK, "analyses=[label_efficiency]")
    assert "Reusing run/embeddings.parquet" in done.stdout
    assert (run / "label_efficiency.csv").read_text() == before


MISTAKES = {
    "no network": ([], "Give either run=RUN_DIR or checkpoint=FILE"),
    "no such run": (["run=nowhere"], "nowhere"),
    "a run without checkpoint": (["run=empty"], "there is no file"),
    "another size": (["run=run", "data.size=48"], "data=plankton has size 48, but the network was trained with 32"),
    "other classes": (["run=run", "data.unseen=[rose]"], "data.unseen names the class 'rose'"),
    "a misspelt key of the data": (["run=run", "data.sizes=48"], "data.sizes"),
    "an unknown analysis": (["run=run", "analyses=[why]"], f"Choose from {', '.join(ANALYSES)}"),
    "an analysis of version 0.1": (["run=run", "questions=[efficiency]"], "use analyses"),
    "a misspelt key": (["run=run", "repeat=3"], "Did you mean repeats?"),
    "no images": (["run=run", "data.source=folder", "data.root=gone"], "data.root=gone does not exist"),
}


@pytest.mark.subprocess
@pytest.mark.slow
@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_a_short_message_and_changes_nothing(evaluated, shell, mistake):
    overrides, message = MISTAKES[mistake]
    (shell.folder / "empty").mkdir(exist_ok=True)
    (shell.folder / "empty" / "config.yaml").touch()
    before = (evaluated[1] / "results.json").read_bytes()
    done = shell("evaluate.py", *overrides, code=1)
    assert message in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert (evaluated[1] / "results.json").read_bytes() == before


@pytest.mark.subprocess
@pytest.mark.slow
def test_another_dataset_is_evaluated_in_a_directory_of_its_own(evaluated, shell):
    # Greyscale and 32 px, as the network was trained; too few labels for label efficiency
    other = ("data=flowers", "data.source=synthetic", "data.label_fraction=0.02")
    chosen = "analyses=[label_efficiency,representation_quality]"
    done = shell("evaluate.py", "run=run", *other, "max_samples=200", chosen)
    assert "Left out: Label efficiency." in done.stdout
    run = Path(done.stdout.splitlines()[-1])
    assert run.parent.name == "evaluate"
    assert headings((shell.folder / run / "report.html").read_text()) == [
        "Representation quality",
        "Left out",
        "Provenance",
    ]


@pytest.mark.subprocess
@pytest.mark.slow
def test_several_runs_are_compared_on_the_same_labels(evaluated, shell):
    shell("pretrain.py", *TINY, "seed=1", "data.seed=0", "hydra.run.dir=other", "logger=csv")
    done = shell("evaluate.py", "run=[[run],[other]]", *QUICK)  # groups of one run each
    folder = shell.folder / done.stdout.splitlines()[-1]
    table = pd.read_csv(folder / "label_efficiency.csv")
    assert set(table["source"]) == {"run", "other", "random init"}
    alone = pd.read_csv(evaluated[1] / "label_efficiency.csv").query("source == 'pretrained'")
    assert np.allclose(table.query("source == 'run'")["balanced_accuracy"], alone["balanced_accuracy"])
    assert done.stdout.count("Reusing") == 1, "`other` was not evaluated before"
    assert "The best of 2 single checkpoints: intervals are over draws of labels" in done.stdout
    assert re.search(r"[+-]\d+\.\d ± \d+\.\d points over", (folder / "report.html").read_text())
