"""Checks of the command line before Hydra reads it, which would answer some mistakes with a traceback."""

import os
import re
import sys
import tempfile
from pathlib import Path

from fewlabels.cli.resolvers import RUNS, config_groups
from fewlabels.cli.values import PATHS, flat_names, for_hydra, path_elements, unquoted
from fewlabels.training.run_dir import is_named_network

MODES = ({"-m", "--multirun"}, {"-c", "--cfg"}, {"-i", "--info"}, {"-r", "--run"}, {"-sc", "--shell-completion"})
"""Hydra's flags that exclude each other."""
LISTS = ("analyses", "logger")
"""Config groups that take several choices, [a,b]."""
DIRECTORY_KEYS = {"hydra.run.dir", "hydra.sweep.dir", "resume", "run"}


def check_arguments(arguments: list[str], command: str) -> None:
    """Exit with a message if directories are unusable, a choice is no name, or a value is swept twice.

    Args:
        arguments: Of the command line, without the name of the script.
        command: Of the script, such as "evaluate".
    """
    _check_choices(arguments, command)
    modes = [sorted(flags & set(arguments))[0] for flags in MODES if flags & set(arguments)]
    if len(modes) > 1:
        sys.exit(f"\n{' and '.join(modes)} exclude each other. Give one of them.")
    given = dict(argument.partition("=")[::2] for argument in arguments)
    if given.get("hydra.run.dir") == "":
        sys.exit("\nhydra.run.dir= is empty: give a directory.")
    for key in given.keys() & DIRECTORY_KEYS:
        for name in flat_names(given[key]) if key == "run" else [unquoted(given[key])]:
            if not (key == "run" and command != "evaluate" and _is_checkpoint(name)):
                _check_directory(key, name)
    only_asks = any(a.startswith("-") and a not in ("-m", "--multirun") for a in arguments)  # such as --help
    if not only_asks and not given.keys() & DIRECTORY_KEYS and (why := _unwritable(RUNS)):
        sys.exit(f"\nRun directories go to {RUNS.absolute()}: {why}. Choose another place: hydra.run.dir=DIRECTORY.")
    if given.get("resume", "null") != "null" and "hydra.run.dir" in given:
        sys.exit("\nresume= and hydra.run.dir= exclude each other: a run is resumed in its own directory.")
    if any(a in ("-m", "--multirun") for a in arguments):
        _check_sweep(arguments)


def prepare_arguments(arguments: list[str]) -> list[str]:
    """Write paths and class names as Hydra has to read them, and `run=A,B` as the list `run=[A,B]`; see `for_hydra`."""
    sweeps = bool({"-m", "--multirun"} & set(arguments))
    return [for_hydra(argument, sweeps=sweeps) for argument in arguments]


def _check_choices(arguments: list[str], command: str) -> None:
    """Refuse what Hydra answers with a traceback: `group=null`, `group=3`, `group=[a,b]`, and a value without a key."""
    no_name = re.compile(r"(?:null|true|false|[\d.]+)", re.IGNORECASE)
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if equals and not key:
            sys.exit(f"\n{argument} has no key: write key=value.")
        if value.startswith("[") and key not in LISTS and (choices := config_groups(command).get(key)):
            sys.exit(f"\n{argument}: {key} takes one choice. Choose from {', '.join(choices)}.")
        if any(no_name.fullmatch(name) for name in value.split(",")) and (choices := config_groups(command).get(key)):
            sys.exit(f"\n{argument}: there is no such choice. Choose from {', '.join(choices)}, or leave it out.")


def _check_sweep(arguments: list[str]) -> None:
    """Refuse to run one job twice."""
    for key, values in (a.partition("=")[::2] for a in arguments if "=" in a):
        if key not in PATHS and set("[](){}'\"") & set(values):
            continue
        parts = path_elements(key, values, sweeps=True) if key in PATHS else values.split(",")
        named = [os.path.normpath(unquoted(part)) if part else "" for part in parts]
        if twice := [value for value in named if named.count(value) > 1]:
            sys.exit(f"\n{key}={values} names {twice[0] or 'the empty value'} twice. Name every value once.")


def _is_checkpoint(name: str) -> bool:
    """Whether this is a checkpoint file, which evaluate takes as `checkpoint=`, and other commands as `run=`."""
    return name.endswith(".ckpt") and Path(name).is_file()


def _check_directory(key: str, name: str) -> None:
    path = Path(name)
    named = name == "null" or (key == "run" and is_named_network(name))
    if key in ("resume", "run") and not named and not (path / "config.yaml").is_file():
        run = path.parent.parent if path.suffix == ".ckpt" else None
        hint = f" For this checkpoint that is {key}={run}." if run and (run / "config.yaml").is_file() else ""
        others = ", imagenet or random" if key == "run" else ""
        sys.exit(f"\n{key}={path}: there is no {path / 'config.yaml'}. Give a run directory{others}.{hint}")
    if "${" not in name and (why := _unwritable(path)):
        sys.exit(f"\n{key}={name}: {why}. Choose a directory that you may write to.")


def _unwritable(path: Path) -> str:
    """Why a directory cannot be written to or created; empty if it can. Leaves nothing behind."""
    made: list[Path] = []
    try:
        for folder in [*reversed(path.absolute().parents), path.absolute()]:
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        with tempfile.TemporaryFile(dir=path):
            return ""
    except OSError as error:
        return f"it cannot be written to ({error.strerror})"
    finally:
        for folder in reversed(made):
            folder.rmdir()
