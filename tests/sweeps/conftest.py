"""Directories of sweeps, as their jobs leave them."""

import json

import pytest
from omegaconf import OmegaConf

from fewlabels.sweeps.comparability import METRICS


@pytest.fixture
def write_job():
    """`write_job(sweep, number, overrides, results=None, error="")` writes a job's files; returns its directory."""

    def write(sweep, number, overrides, results=None, error=""):
        folder = sweep / str(number)
        folder.mkdir(parents=True)
        (folder / "job.json").write_text(json.dumps({"overrides": overrides, "error": error}))
        if results:
            (folder / "results.json").write_text(json.dumps(results))
        return folder

    return write


@pytest.fixture
def comparison(tmp_path, write_job):
    """Two inits, three repeats, one label fraction; pretraining raises the accuracy by 10, 11 and 12 points."""
    sweep, pretrained = tmp_path / "sweep", tmp_path / "pretrained"
    pretrained.mkdir()
    OmegaConf.save({"method": {"name": "simclr"}}, pretrained / "config.yaml")
    for seed in range(3):
        for place, checkpoint in enumerate((None, str(pretrained))):
            accuracy = 0.5 + place * (0.10 + 0.01 * seed) + 0.05 * seed
            overrides = [f"checkpoint={checkpoint or 'null'}", f"seed={seed}"]
            results = {f"test/{name}": accuracy for name in METRICS} | {"seconds": 1.0}
            folder = write_job(sweep, 2 * seed + place, overrides, results)
            OmegaConf.save({
                "checkpoint": checkpoint, "seed": seed,
                "data": {"label_fraction": 0.1, "name": "flowers", "root": None, "size": 8, "steps_per_epoch": 2,
                         "batch_size": 4},
                "backbone": {"name": "resnet18"}, "trainer": {"max_epochs": 2},
            }, folder / "config.yaml")  # fmt: skip
            (folder / "labels.txt").write_text(f"a/{seed}.png\nb/{seed}.png\n")
            (folder / "predictions.csv").write_text(
                "path,class,predicted,confidence\na/9.png,a,a,0.9\nb/9.png,b,a,0.6\n"
            )
            (folder / "metrics.csv").write_text("step,val/balanced_accuracy\n1,0.4\n3,0.5\n")
    return sweep
