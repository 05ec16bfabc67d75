"""The scripts: their help, their configuration, shell completion, and which overrides are held back."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from fewlabels.cli.commands import COMMANDS
from fewlabels.cli.resolvers import config_groups
from fewlabels.training.config_checks import ConfigError

ROOT = Path(__file__).parents[2]
HEAVY = [pytest.param(name, marks=pytest.mark.slow) for name in ("pretrain", "finetune")]
"""Scripts whose large configurations Hydra takes seconds to format."""


@pytest.mark.parametrize("name", [*HEAVY, "evaluate"])
def test_help_lists_the_config_groups_of_the_script_alone(cli, name):
    done = cli(name, "--help")
    assert done.code == 0
    for group, choices in config_groups(name).items():
        assert name == "evaluate" or f"  {group}: {', '.join(choices)}\n" in done.out
    others = {group for other in COMMANDS for group in config_groups(other)} - set(config_groups(name))
    assert not [group for group in others if f"\n  {group}: " in done.out]
    assert f"src/{name}.py" in done.out


@pytest.mark.parametrize("name", [*HEAVY, "evaluate"])
def test_the_configuration_can_be_shown(cli, tmp_path, name):
    done = cli(name, "--cfg", "job")
    assert (done.code, done.err) == (0, "")
    config = yaml.safe_load(done.out)
    assert {"evaluate": "analyses"}.get(name, "method") in config
    assert "hydra" not in config
    resolved = cli(name, "--cfg", "job", "--resolve")
    assert "${" not in resolved.out
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "line", "choices"), [
    ("pretrain", "python src/pretrain.py method=sim", {"method=simclr"}),
    ("pretrain", "python src/pretrain.py method=simclr method.temp", {"method.temperature="}),
    ("finetune", "python src/finetune.py backbone=resnet1", {"backbone=resnet18"}),
    ("evaluate", "python src/evaluate.py run=x max_s", {"max_samples="}),
])  # fmt: skip
def test_the_shell_completes_choices_and_keys(cli, monkeypatch, name, line, choices):
    monkeypatch.setenv("COMP_LINE", line)
    monkeypatch.setenv("COMP_POINT", str(len(line)))
    done = cli(name, "-sc", "query=bash")
    assert (done.code, set(done.out.split()), done.err) == (0, choices, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_the_shell_completion_is_installed(cli, name):
    done = cli(name, "-sc", "install=bash")
    assert (done.code, done.err) == (0, "")
    assert done.out.rstrip().endswith("hydra_bash_completion python")


def run_watched(tmp_path, name, *arguments):
    """Run a script as a process; its last line is which of the packages that take long to import were imported."""
    watch = "import sys, runpy; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    loaded = "{'torch', 'numpy', 'lightning'} & set(sys.modules)"
    watch = f"import atexit, sys; atexit.register(lambda: print({loaded})); {watch}"
    command = [sys.executable, "-c", watch, str(ROOT / "src" / f"{name}.py"), *arguments]
    return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)


@pytest.mark.subprocess
@pytest.mark.parametrize("name", COMMANDS)
def test_each_script_runs_as_a_process_and_answers_before_torch_is_imported(tmp_path, name):
    done = run_watched(tmp_path, name, "--help")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"Fewlabels {name}: ")
    assert done.stdout.splitlines()[-1] == "set()"


@pytest.mark.subprocess
@pytest.mark.parametrize(("name", "arguments", "message"), [
    ("pretrain", "method=simclr method.temprature=3", "Did you mean method.temperature?"),
    ("pretrain", "method=simclr data=spirals", "method=simclr works on images"),
    ("pretrain", "trainer.max_epoch=1", "Did you mean trainer.max_epochs or"),
    ("finetune", "data.label_fracton=1", "Did you mean data.label_fraction or"),
    ("evaluate", "repeat=1 run=null", "Did you mean repeats?"),
])  # fmt: skip
def test_a_mistake_is_answered_before_torch_is_imported(tmp_path, name, arguments, message):
    done = run_watched(tmp_path, name, *arguments.split())
    assert (done.returncode, done.stdout.splitlines()[-1]) == (1, "set()")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_shows_the_configuration_of_its_command_line(cli):
    done = cli("evaluate", "repeats=7", "--help")
    assert "repeats: 7" in done.out
    assert "hydra:" not in done.out
    done = cli("evaluate", "repeat=7", "-h")
    assert done.code == 1
    assert "Did you mean repeats?" in done.err


@pytest.mark.parametrize("name", ["pretrain", "finetune"])
@pytest.mark.parametrize(("arguments", "held_back"), [
    (["trainer.max_epochs=3"], []), (["resume=null", "trainer.max_epochs=3"], []),
    (["resume=runs/x", "trainer.max_epochs=3", "hydra.job.num=1", "--help"], ["trainer.max_epochs=3"]),
])  # fmt: skip
def test_overrides_of_a_resumed_run_are_held_back(name, arguments, held_back):
    assert COMMANDS[name].held_back(arguments) == held_back


EVALUATION = {
    "run": "x", "checkpoint": None, "data": [], "repeats": 3, "max_samples": 10, "max_labels": 20, "draws": "random",
    "orientations": 1,
}  # fmt: skip


def test_an_evaluation_holds_back_the_overrides_of_the_data():
    arguments = ["run=x", "data=flowers", "data.root=y", "repeats=3"]
    assert COMMANDS["evaluate"].held_back(arguments) == ["data=flowers", "data.root=y"]
    cfg = OmegaConf.create(EVALUATION)
    assert COMMANDS["evaluate"].prepare(cfg, ["data.root=y"]).data == ["data.root=y"]


@pytest.mark.parametrize(("changes", "message"), [
    ({"run": None}, "Give either run=RUN_DIR or checkpoint=FILE"),
    ({"checkpoint": "x.ckpt"}, "Give either run=RUN_DIR or checkpoint=FILE"),
    ({"orientations": 3}, r"orientations=3: choose 1 \(images as they are\), 2 "),
    ({"repeats": 0}, "repeats=0: give a whole number of at least 1"),
    ({"draws": 5}, "draws=5: choose random or balanced"),
    ({"max_samples": 1.5}, "max_samples=1.5: give a whole number of at least 1"),
])  # fmt: skip
def test_an_evaluation_needs_one_network_and_positive_numbers(changes, message):
    with pytest.raises(ConfigError, match=message):
        COMMANDS["evaluate"].prepare(OmegaConf.create(EVALUATION | changes), [])


POINTS = ROOT / "tests" / "fixtures" / "run-0.1"


@pytest.mark.parametrize("run", [POINTS, POINTS / "checkpoints" / "last.ckpt"])
def test_a_run_is_exported_into_a_directory_of_its_own(cli, tmp_path, run):
    done = cli("export", f"run={run}", "format=torchscript")
    assert done.code == 0, done.err
    directory = Path(done.out.splitlines()[-1])
    assert directory.parent == tmp_path / "runs" / "export"
    assert {path.name for path in (directory / "torchscript").iterdir()} == {"backbone.pt", "preprocessing.json"}
    assert f"network = torch.jit.load('{directory / 'torchscript' / 'backbone.pt'}')" in done.out


def test_imagenet_weights_are_exported_for_the_images_that_are_named(cli):
    done = cli("export", "run=imagenet", "data=plankton", "data.size=64", "format=timm")
    assert done.code == 0, done.err
    config = json.loads((Path(done.out.splitlines()[-1]) / "timm" / "config.json").read_text())
    assert (config["architecture"], config["num_classes"]) == ("tf_efficientnet_lite0", 0)
    assert config["pretrained_cfg"]["input_size"] == [1, 64, 64]
    assert config["pretrained_cfg"]["crop_mode"] == "border"


@pytest.mark.parametrize(("arguments", "message"), [
    (["format=onnx"], "run=null: give run=RUN_DIR, or run=imagenet"),
    (["run=random", "format=onnx"], "run=random: give one run=RUN_DIR, or run=imagenet"),
    ([f"run={POINTS},{POINTS}", "format=onnx"], "give one run=RUN_DIR, or run=imagenet"),
    (["run=imagenet"], "format=null: choose one of timm, onnx, torchscript."),
    (["run=imagenet", "format=pt2"], "format=pt2: choose one of timm, onnx, torchscript."),
    (["run=imagenet", "format=onnx", "data=spirals"], "run=imagenet embeds images, and data=spirals are points"),
    ([f"run={POINTS}", "format=onnx", "data.size=3"], "data.size=3: leave it out. The input of a run's network"),
    ([f"run={POINTS}", "format=timm"], "format=timm holds networks of images, and this one embeds points."),
])  # fmt: skip
def test_what_cannot_be_exported_is_refused_and_leaves_no_directory(cli, tmp_path, arguments, message):
    done = cli("export", *arguments)
    assert (done.code, message in done.err) == (1, True), done.err
    assert not any(tmp_path.iterdir())


@pytest.fixture
def stores(tmp_path):
    """A cache folder with a store whose images are gone and one of unknown ones."""
    (folder := tmp_path / "stores").mkdir()
    for key, where in (("1e2", "/no/such/folder"), ("2e2", "images")):
        (folder / f"x-{key:0<20}.npy").write_bytes(b"0" * 2000)
        (folder / f"x-{key:0<20}.json").write_text(json.dumps({"where": where, "paths": ["a"]}))
    return folder


def test_the_cache_is_listed_and_nothing_is_removed_unasked(cli, stores, tmp_path):
    done = cli("cache", f"cache_dir={stores}")
    assert done.code == 0, done.err
    assert "clean=unused would remove 1 of them, 2.0 kB" in done.out
    assert "/no/such/folder (gone)" in done.out
    assert done.out.splitlines()[-1] == str(stores)
    assert len(list(stores.iterdir())) == 4
    assert [path.name for path in tmp_path.iterdir()] == ["stores"]  # no run directory


@pytest.mark.parametrize(
    ("clean", "left"), [("unused", "2"), ("[1e2]", "2"), ("[2e20]", "1"), ("all", ""), ("2e2", "1")]
)
def test_the_cache_is_cleaned(cli, stores, clean, left):
    done = cli("cache", f"cache_dir={stores}", f"clean={clean}")
    assert done.code == 0, done.err
    assert {path.name[2] for path in stores.iterdir()} == set(left)
    assert f"Removed {2 - len(left)} stores, " in done.out


@pytest.mark.parametrize(("argument", "message"), [
    ("clean=[ff]", "clean=ff: 0 stores have a key"), ("older=-1", "older=-1: give a number of days"),
    ("older=x", "older=x: give a number of days"),
])  # fmt: skip
def test_what_names_no_store_removes_none(cli, stores, argument, message):
    done = cli("cache", f"cache_dir={stores}", argument)
    assert (done.code, message in done.err) == (1, True), done.err
    assert len(list(stores.iterdir())) == 4
