"""Checks of the command line before Hydra reads it."""

import pytest

from fewlabels.cli.arguments import check_arguments, prepare_arguments


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def message(*arguments, command="pretrain"):
    """What the check exits with; None if it passes."""
    try:
        check_arguments(list(arguments), command)
    except SystemExit as error:
        return str(error.code).strip()
    return None


@pytest.mark.parametrize("arguments", [
    ["seed=1"], ["hydra.run.dir=new/run"], ["hydra.run.dir=runs/${data.name}"], ["-m", "seed=1,2"], ["--help"],
    ["resume=null"], ["-m", "method.views.scale=[1,1],[1,2]"], ["data.root=null"], ["data.size=32"],
])  # fmt: skip
def test_good_arguments_pass_and_leave_nothing_behind(tmp_path, arguments):
    assert message(*arguments) is None
    assert not any(tmp_path.iterdir())


def test_an_empty_run_directory_is_refused():
    assert message("hydra.run.dir=") == "hydra.run.dir= is empty: give a directory."


@pytest.mark.parametrize("key", ["hydra.run.dir", "hydra.sweep.dir"])
def test_a_directory_that_cannot_be_written_to_is_named(tmp_path, key):
    (tmp_path / "file").write_text("")
    assert message(f"{key}=file/run") == (
        f"{key}=file/run: it cannot be written to (Not a directory). Choose a directory that you may write to."
    )


def test_a_file_in_the_place_of_runs_is_named(tmp_path):
    (tmp_path / "runs").write_text("")
    assert message().startswith(f"Run directories go to {tmp_path / 'runs'}: it cannot be written to (")
    assert message("hydra.run.dir=elsewhere") is None
    assert message("--help") is None


@pytest.mark.parametrize(("key", "others"), [("resume", ""), ("run", ", imagenet or random")])
def test_a_directory_that_is_no_run_is_named_with_the_one_that_is_meant(tmp_path, key, others):
    missing = f"{key}=nowhere: there is no nowhere/config.yaml. Give a run directory{others}."
    assert message(f"{key}=nowhere") == missing
    assert (message(f"{key}=imagenet") is None) == bool(others)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("")
    assert message(f"{key}=old") is None
    assert message(f"{key}=old/checkpoints/last.ckpt").endswith(f"For this checkpoint that is {key}=old.")


def test_a_checkpoint_file_is_a_run_except_in_evaluate(tmp_path):
    (tmp_path / "last.ckpt").touch()
    for command in ("suggest", "label", "predict", "export"):
        assert message("run=last.ckpt", command=command) is None
        assert message("run=other.ckpt", command=command).startswith("run=other.ckpt: there is no")
    assert message("run=last.ckpt", command="evaluate").startswith("run=last.ckpt: there is no last.ckpt/config.yaml")


@pytest.mark.parametrize(("argument", "expected"), [
    ("run=a,b", "run=[a,b]"), ("run=[a,b]", "run=[a,b]"), ("run=a", "run=a"), ("seed=0,1", "seed=0,1"),
    ("run=s/lr=1,seed=0", "run='s/lr=1,seed=0'"), ("resume=s/lr=1,seed=0", "resume='s/lr=1,seed=0'"),
    ("run=s/x=1,b", "run=['s/x=1',b]"), ("resume='a,b'", "resume='a,b'"), ("checkpoint=x=1", "checkpoint='x=1'"),
    ("hydra.run.dir=runs/${seed}", "hydra.run.dir=runs/${seed}"),
])  # fmt: skip
def test_directories_are_written_as_hydra_reads_them(tmp_path, argument, expected):
    (tmp_path / "s" / "lr=1,seed=0").mkdir(parents=True)
    (tmp_path / "s" / "lr=1,seed=0" / "config.yaml").touch()
    assert prepare_arguments([argument]) == [expected]
    if "seed=0" in argument and "=s" in argument:
        assert message(argument, command="evaluate") is None
    if not argument.startswith("run="):
        assert prepare_arguments(["-m", argument]) == ["-m", expected]
    assert prepare_arguments(["-m", "run=a,b"]) == ["-m", "run=a,b"]


def test_every_run_of_a_comparison_is_checked(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("")
    for value in ("old,nowhere", "[old,nowhere]", "[old, nowhere]", "[[old,old],[nowhere]]"):
        assert message(f"run={value}", command="evaluate").startswith("run=nowhere: there is no nowhere/config.yaml")


def test_a_resumed_run_stays_in_its_directory(tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "config.yaml").write_text("")
    assert message("resume=old", "hydra.run.dir=new").startswith("resume= and hydra.run.dir= exclude each other")


@pytest.mark.parametrize(("argument", "twice"), [
    ("seed=1,2,1", "1"), ("checkpoint=a,b/../a", "a"), ("data.root=,x,", "the empty value"),
])  # fmt: skip
def test_a_sweep_over_one_value_twice_is_refused(argument, twice):
    assert message("-m", argument) == f"{argument} names {twice} twice. Name every value once."
    assert message(argument) is None  # without -m it is no sweep


@pytest.mark.parametrize("argument", ["logger=null", "method=3", "experiment=null", "search=True", "data=spirals,null"])
def test_a_choice_that_is_no_name_is_refused(argument):
    assert message(argument).startswith(f"{argument}: there is no such choice. Choose from ")
    assert message(argument).endswith("or leave it out.")


def test_a_value_without_a_key_is_refused():
    assert message("=3") == "=3 has no key: write key=value."


def test_several_runs_are_passed_on_as_a_list():
    kept = ["run=a", "run=[a,b]", "run='a,b'", "data.seen=a,b", "run=[[a,b],[c]]"]
    assert prepare_arguments(kept) == kept
    assert prepare_arguments(["run=a,b", "run=[a,b],[c]"]) == ["run=[a,b]", "run=[[a,b],[c]]"]


def test_several_choices_of_a_group_that_takes_one_are_refused():
    assert message("callbacks=[images,points]").startswith("callbacks=[images,points]: callbacks takes one choice. ")
    assert message("logger=[csv,tensorboard]") is None
    assert message("analyses=[label_efficiency,embedding_maps]", "run=null", command="evaluate") is None
