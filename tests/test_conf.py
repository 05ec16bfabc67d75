"""Every configuration composes, and fits the code that it configures."""

import inspect
import itertools
import re

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException
from hydra.utils import get_object
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from fewlabels.cli.commands import COMMANDS
from fewlabels.cli.resolvers import CONF, config_groups, register_resolvers
from fewlabels.training.config_checks import ConfigError, check_config

METHODS, DATA, BACKBONES, TRAINERS, LOGGERS, OPTIMIZERS, ANALYSES, EXPERIMENTS = (
    sorted(path.stem for path in (CONF / group).glob("[!_]*.yaml"))
    for group in ("method", "data", "backbone", "trainer", "logger", "optimizer", "analyses", "experiment")
)
FILES = sorted(str(path.relative_to(CONF)) for path in CONF.rglob("*.yaml"))


def matrix(rows, columns):
    """All pairs, as parameters; some are quick, with every row and column among them, the others are marked slow."""
    size = max(len(rows), len(columns))
    quick = {(rows[i % len(rows)], columns[i % len(columns)]) for i in range(size)}
    pairs = itertools.product(rows, columns)
    return [pytest.param(*pair, marks=() if pair in quick else (pytest.mark.slow,)) for pair in pairs]


@pytest.fixture(scope="module", autouse=True)
def _conf():
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield
    HydraConfig.instance().cfg = None


def composed(*overrides, script="pretrain"):
    return compose(script, list(overrides), return_hydra_config=True)


def check(cfg):
    """Check a composed configuration as a script does."""
    cfg.hydra.runtime.output_dir = "runs/none"
    HydraConfig.instance().set_config(cfg)
    check_config(cfg)


def resolved(cfg):
    """In plain containers, without Hydra's own node; fails if a value is missing."""
    del cfg.hydra
    return OmegaConf.to_container(cfg, resolve=True, throw_on_missing=True)


def test_no_configuration_is_left_out():
    groups = {path.name for path in CONF.iterdir() if path.is_dir()}
    assert groups == {"analyses", "backbone", "callbacks", "data", "experiment", "logger", "method", "optimizer",
                      "search", "trainer"}  # fmt: skip
    assert groups == set().union(*(config_groups(name) for name in COMMANDS))
    assert {path.stem for path in CONF.glob("*.yaml")} == {*COMMANDS, "run"}


def targets(node):
    """All values of `_target_` in nested containers."""
    if isinstance(node, dict):
        yield from (value for key, value in node.items() if key == "_target_")
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from targets(value)


@pytest.mark.parametrize("file", FILES)
def test_every_target_can_be_imported(file):
    for target in targets(yaml.safe_load((CONF / file).read_text())):
        assert callable(get_object(target)), target


@pytest.mark.parametrize(("method", "data"), matrix(METHODS, DATA))
def test_every_method_with_every_dataset_composes_or_raises_the_documented_error(method, data):
    cfg = composed(f"method={method}", f"data={data}")
    if cfg.data.modality not in cfg.method.modalities:
        with pytest.raises(ConfigError, match=f"method={method} works on .* but data={data} are"):
            check(cfg)
        return
    check(cfg)
    config = resolved(cfg)
    assert (config["method"]["name"], config["data"]["name"]) == (method, data)


@pytest.mark.parametrize(
    "backbone", [pytest.param(b, marks=() if b in ("mlp", "resnet18") else (pytest.mark.slow,)) for b in BACKBONES]
)
def test_a_backbone_that_does_not_fit_the_data_is_named(backbone):
    data = "flowers" if backbone == "mlp" else "spirals"
    with pytest.raises(ConfigError, match="backbone=" + ("resnet18" if backbone == "mlp" else "mlp")):
        check(composed("method=siamese", f"data={data}", f"backbone={backbone}"))


@pytest.mark.parametrize(("trainer", "logger"), matrix(TRAINERS, LOGGERS))
def test_trainers_and_loggers_compose(trainer, logger):
    if trainer == "slurm":
        pytest.importorskip("hydra_plugins.hydra_submitit_launcher")
    cfg = composed(f"trainer={trainer}", f"logger={logger}")
    assert set(cfg.logger) == ({logger} if logger != "csv" else set())
    assert isinstance(cfg.trainer.max_epochs, int)


def test_several_loggers_compose():
    assert set(composed("logger=[csv,tensorboard]").logger) == {"tensorboard"}
    assert set(composed("logger=[wandb,tensorboard]", script="finetune").logger) == {"wandb", "tensorboard"}


@pytest.mark.parametrize(("method", "optimizer"), matrix(METHODS, OPTIMIZERS))
def test_every_optimizer_composes_with_every_method(method, optimizer):
    node = resolved(composed(f"method={method}", f"optimizer={optimizer}"))["method"]["optimizer"]
    file = yaml.safe_load((CONF / "optimizer" / f"{optimizer}.yaml").read_text())
    changed = {key for key in file if node[key] != file[key]}
    assert changed <= {"warmup_epochs"}, "a method's own file may set the warm-up, nothing else"


def test_data_choose_their_optimizer_and_the_command_line_wins():
    points = yaml.safe_load((CONF / "optimizer" / "adamw_points.yaml").read_text())
    images = yaml.safe_load((CONF / "optimizer" / "adamw.yaml").read_text())
    assert composed("data=spirals").method.optimizer.lr == points["lr"]
    assert composed("method=siamese", "data=flowers").method.optimizer.lr == images["lr"]
    chosen = composed("data=spirals", "optimizer=sgd", "method.optimizer.lr=0.5").method.optimizer
    assert (chosen.name, chosen.lr) == ("sgd", 0.5)
    assert composed("optimizer=lars", script="finetune").method.optimizer.name == "lars"


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_with_the_command_in_its_head(experiment):
    head = (CONF / "experiment" / f"{experiment}.yaml").read_text()
    script, arguments = re.search(r"# Command: python src/(\w+)\.py (.*)", head).groups()
    overrides = [a for a in arguments.partition("  ")[0].split() if "=" in a and not re.search("FOLDER|RUN_DIR", a)]
    assert f"experiment={experiment}" in overrides
    cfg = composed(*overrides, script=script)
    check(cfg)
    resolved(cfg)


def test_analyses_are_chosen_by_a_list_and_all_run_by_default():
    assert set(composed(script="evaluate").analyses) == set(ANALYSES)
    assert set(composed(f"analyses=[{ANALYSES[0]}]", script="evaluate").analyses) == {ANALYSES[0]}


def test_every_argument_of_lightnings_trainer_can_be_given():
    built_here = {"logger", "callbacks", "default_root_dir", "plugins"}  # by training/build.py
    arguments = set(inspect.signature(Trainer).parameters) - built_here
    assert arguments <= set(composed().trainer) - {"_target_"}


def test_a_method_chooses_its_data_and_data_choose_their_backbone_and_callbacks():
    points = composed()
    assert (points.method.name, points.data.name) == ("siamese", "spirals")
    assert points.backbone._target_.endswith(".mlp")
    assert "spiral_plots" in points.callbacks
    images = composed("method=simclr")
    assert (images.data.name, images.backbone.name) == ("plankton", "resnet18")
    assert "preview_views" in images.callbacks
    assert composed("method=simclr", "data=flowers", "backbone=resnet50").backbone.name == "resnet50"


def test_image_defaults():
    cfg = composed("method=simclr", "data=images", "data.root=x")
    assert (cfg.data.size, cfg.data.batch_size, cfg.backbone.name) == (64, 128, "resnet18")


def test_unknown_keys_are_errors():
    with pytest.raises(ConfigCompositionException, match="temprature"):
        composed("method=simclr", "method.temprature=0.1")
