"""A command line from start to end: run directories, failures in a single run and in a sweep."""

import errno
import logging

import pytest
from omegaconf import OmegaConf

from fewlabels.cli import app
from fewlabels.cli.app import compose_config
from fewlabels.core.errors import UserError
from fewlabels.sweeps.jobs import FAILED, FINISHED, read_jobs
from fewlabels.training import fit
from fewlabels.training.run_dir import command_line, save_config, save_results

QUICK = ("logger=csv", "trainer=cpu")


@pytest.fixture
def train_with(monkeypatch):
    """`train_with(function)` replaces the training by `function(config, directory)`."""
    return lambda function: monkeypatch.setattr(fit, "train", function)


def finish(config, directory):
    """Leave what a finished run leaves."""
    save_config(config, directory)
    save_results({"epochs": 1, "seed": config["seed"]}, directory)


def test_the_last_line_is_the_run_directory(cli, tmp_path, train_with):
    train_with(finish)
    done = cli("pretrain", *QUICK, "seed=3")
    assert done.code == 0, done.err
    (run,) = tmp_path.glob("runs/siamese-spirals/*")
    assert done.out.splitlines()[-1] == str(run)
    assert OmegaConf.load(run / "config.yaml").seed == 3


def test_overrides_of_a_resumed_run_change_its_own_configuration(cli, tmp_path, train_with):
    commands = []

    def note(config, directory):
        finish(config, directory)
        commands.append(command_line())

    train_with(note)
    cli("pretrain", *QUICK, "method.k=5", "hydra.run.dir=run")
    done = cli("pretrain", "resume=run", "trainer.max_epochs=7")
    assert done.code == 0, done.err
    config = OmegaConf.load(tmp_path / "run" / "config.yaml")
    assert (config.method.k, config.trainer.max_epochs, config.resume) == (5, 7, "run")
    assert commands[1].endswith("pretrain.py resume=run trainer.max_epochs=7")  # as typed, nothing removed
    done = cli("pretrain", "resume=run", "method.k=4")
    assert (done.code, "a resumed run keeps its method.k" in done.err) == (1, True)


def test_a_run_is_never_overwritten(cli, tmp_path):
    (tmp_path / "run" / "checkpoints").mkdir(parents=True)
    done = cli("pretrain", *QUICK, "hydra.run.dir=run")
    assert done.code == 1
    assert "run already holds a run, and runs are never overwritten" in done.err
    assert {path.name for path in (tmp_path / "run").iterdir()} <= {"checkpoints", "run.log"}


@pytest.mark.parametrize(("arguments", "message"), [
    (["method=simclr", "data=spirals"], "works on images, but data=spirals are points"),
    (["trainer.max_epochs=-1"], "trainer.max_epochs=-1: give a whole number"),
    (["trainer.devices=4096"], "Give a number from 1 to"), (["data.turns=-1"], "data.turns=-1"),
    (["seed=${nowhere}"], "Interpolation key 'nowhere' not found"),
    (["hydra.run.dir=${nowhere}"], "Interpolation key 'nowhere' not found"),
])  # fmt: skip
def test_a_mistake_ends_with_a_short_message_and_leaves_nothing_behind(cli, tmp_path, arguments, message):
    done = cli("pretrain", *QUICK, *arguments)
    assert done.code == 1
    assert message in done.err
    assert "Traceback" not in done.text
    assert len(done.text.splitlines()) < 10
    assert not any(tmp_path.iterdir())


def test_a_finetuning_with_a_mistake_leaves_nothing_behind(cli, tmp_path):
    done = cli("finetune", *QUICK, "checkpoint=' '")
    assert (done.code, done.err.startswith("\ncheckpoint= : give a run directory or a .ckpt file")) == (1, True)
    assert not any(tmp_path.iterdir())


def test_a_mistake_found_in_training_is_kept_in_the_log(cli, tmp_path, train_with):
    def fail(config, directory):
        logging.getLogger("fewlabels").info("started")
        (directory / "metrics.csv").write_text("")
        raise UserError("data.root=x: give a folder.")

    train_with(fail)
    done = cli("pretrain", *QUICK, "hydra.run.dir=run")
    assert (done.code, done.err.strip()) == (1, "data.root=x: give a folder.")
    log = (tmp_path / "run" / "run.log").read_text()
    assert "data.root=x: give a folder." in log
    assert "Traceback" not in log


def test_a_full_disk_is_named(cli, train_with):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "run/last.ckpt")

    train_with(fail)
    done = cli("pretrain", *QUICK)
    assert done.code == 1
    assert "run/last.ckpt: the disk, or your quota, is full (No space left on device)." in done.err
    assert "Traceback" not in done.err


def test_a_bug_keeps_its_traceback(cli, tmp_path, train_with):
    def fail(*_):
        raise KeyError("bug")

    train_with(fail)
    with pytest.raises(KeyError, match="bug"):
        cli("pretrain", *QUICK, "hydra.run.dir=run")
    assert "KeyError: 'bug'" in (tmp_path / "run" / "run.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("error", [UserError("data.root=x: give a folder."), KeyError("bug")])
def test_a_failed_job_of_a_sweep_is_recorded_and_stops_no_other(cli, tmp_path, train_with, error):
    def fail_once(config, directory):
        if config["seed"] == 1:
            raise error
        finish(config, directory)

    train_with(fail_once)
    try:
        done = cli("pretrain", "-m", *QUICK, "seed=0,1,2", "hydra.sweep.dir=sweep")
        assert done.code == 1
        assert "This job failed" in done.err
        assert "Traceback" not in done.text
    except KeyError:
        assert isinstance(error, KeyError)
    jobs = read_jobs(tmp_path / "sweep")
    assert [job.state for job in jobs] == [FINISHED, FAILED, FINISHED]
    assert str(error) in jobs[1].error
    assert (tmp_path / "sweep" / "sweep.html").is_file()


@pytest.mark.slow
def test_a_search_gets_the_objective_of_each_job(cli, tmp_path, train_with, monkeypatch):
    train_with(finish)
    returned = []
    run_job = app._run_job
    monkeypatch.setattr(app, "_run_job", lambda *arguments: returned.append(run_job(*arguments)) or returned[-1])
    cli("pretrain", "-m", *QUICK, "seed=0,1", "objective=seed", "hydra.sweep.dir=sweep")
    assert returned == [0.0, 1.0]


def test_a_composed_configuration_is_that_of_the_command_line(cli, tmp_path, train_with):
    train_with(finish)
    cli("pretrain", *QUICK, "seed=3", "hydra.run.dir=run")
    assert OmegaConf.to_container(OmegaConf.load(tmp_path / "run" / "config.yaml")) == (
        compose_config(*QUICK, "seed=3") | {"resume": None}
    )
