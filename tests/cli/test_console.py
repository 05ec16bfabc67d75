"""The console command `fewlabels`."""

import subprocess
import sys

import pytest

from fewlabels import __version__
from fewlabels.cli.commands import COMMANDS
from fewlabels.cli.console import main


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_all_commands(terminal, arguments):
    done = terminal(main, "fewlabels", *arguments)
    assert done.code == 0
    for command in COMMANDS.values():
        assert f"fewlabels {command.name}" in done.out
        assert command.summary in done.out


def test_the_version_is_printed(terminal):
    assert terminal(main, "fewlabels", "--version").out == f"fewlabels {__version__}\n"


def test_an_unknown_command_is_refused_with_the_choices(terminal):
    done = terminal(main, "fewlabels", "train", "seed=1")
    assert done.code == 1
    assert done.err == (
        "fewlabels train: there is no such command. Choose from pretrain, finetune, evaluate, doctor, suggest, label, "
        "predict, import_ecotaxa, export, cache, or --help.\n"
    )


def test_a_command_checks_its_settings(terminal):
    done = terminal(main, "fewlabels", "evaluate", "draws=3")
    expected = "\ndraws=3: choose random or balanced. The number of draws is repeats=10.\n"
    assert (done.code, done.err) == (1, expected)


def test_a_command_runs_in_the_current_directory(terminal, tmp_path):
    done = terminal(main, "fewlabels", "pretrain", "logger=csv", "trainer=cpu", "trainer.max_epochs=1", "data.passes=1",
                    "callbacks.probes=null", "callbacks.spiral_plots=null", "hydra.run.dir=run")  # fmt: skip
    assert done.code == 0, done.err
    assert done.out.splitlines()[-1] == str(tmp_path / "run")
    assert (tmp_path / "run" / "config.yaml").read_text().startswith("# fewlabels pretrain logger=csv trainer=cpu ")
    assert f"Train longer: fewlabels pretrain resume={tmp_path / 'run'}" in done.out


@pytest.mark.parametrize(("line", "choices"), [
    ("fewlabels ", {*COMMANDS}),
    ("fewlabels pre", {"pretrain", "predict"}), ("fewlabels pret", {"pretrain"}),
    ("fewlabels pretrain method=sim", {"method=simclr"}), ("fewlabels finetune optimizer=l", {"optimizer=lars"}),
])  # fmt: skip
def test_the_shell_completes_commands_and_their_settings(terminal, monkeypatch, line, choices):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    done = terminal(main, "fewlabels", "-sc", "query=bash")
    assert (done.code, set(done.out.split()), done.err) == (0, choices, "")


def test_the_shell_completion_is_installed_for_the_command(terminal, monkeypatch):
    monkeypatch.delenv("COMP_LINE", raising=False)
    done = terminal(main, "fewlabels", "-sc", "install=bash")
    assert done.code == 0
    assert done.out.rstrip().endswith("hydra_bash_completion fewlabels")


@pytest.mark.subprocess
def test_it_runs_as_a_process_from_any_directory(tmp_path):
    command = [sys.executable, "-m", "fewlabels.cli.console"]
    done = subprocess.run([*command, "pretrain", "--cfg", "job"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "name: siamese" in done.stdout
    done = subprocess.run([*command, "pretrain", "optimizer=x"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "Choose from adamw" in done.stderr
