"""What a run leaves in its directory, and what it says."""

import json
import sys

import pytest
from omegaconf import OmegaConf

from fewlabels.rundir import save_config, save_results
from fewlabels.words import in_words


def test_results_are_one_flat_mapping_of_finite_numbers(tmp_path):
    save_results({"val/loss": 1.5, "epochs": 3, "val/knn_accuracy": float("nan")}, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == {"val/loss": 1.5, "epochs": 3}


@pytest.mark.parametrize(("argv", "head"), [
    (["src/pretrain.py", "data.root=my images"], "# python src/pretrain.py 'data.root=my images'\n"),
    (["ipykernel_launcher.py", "-f", "x"], "# called from Python"),
])  # fmt: skip
def test_the_configuration_comes_back_whole(tmp_path, monkeypatch, argv, head):
    monkeypatch.setattr(sys, "argv", argv)
    config = {"seed": 0, "data": {"root": None, "mean": [0.5]}, "name": "a: b"}
    save_config(config, tmp_path / "run")
    assert OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml")) == config
    assert (tmp_path / "run" / "config.yaml").read_text().startswith(head)


def test_words_carry_the_figures_and_say_synthetic(tmp_path):
    results = {
        "epochs": 3, "seconds": 61.2, "seed": 0, "val/loss": 1.234, "val/loss_chance": 5.5, "val/knn_accuracy": 0.5,
        "val/knn_accuracy_untrained": 0.25,
    }  # fmt: skip
    said = "\n".join(in_words(results, tmp_path, synthetic=True))
    for text in (
        "3 epochs in 1 min 1 s (seed 0)",
        "1.234",
        "5.500",
        "50.0%",
        "25.0%",
        "SYNTHETIC",
        f"resume={tmp_path}",
    ):
        assert text in said
    assert "SYNTHETIC" not in "\n".join(in_words(results, tmp_path, synthetic=False))
