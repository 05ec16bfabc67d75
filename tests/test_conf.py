"""Every configuration composes, and says the same as the code that it configures."""

import inspect
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from lightning.pytorch import Trainer
from omegaconf import OmegaConf

from fewlabels.application import register_resolvers
from fewlabels.composition import CONF
from fewlabels.config import ConfigError, check

METHODS, DATA, BACKBONES, TRAINERS, LOGGERS = (
    sorted(p.stem for p in (CONF / group).glob("[!_]*.yaml"))
    for group in ("method", "data", "backbone", "trainer", "logger")
)


@pytest.fixture(scope="module", autouse=True)
def _conf():
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


def composed(*overrides, checked=False):
    cfg = compose("pretrain", list(overrides), return_hydra_config=True)
    if checked:
        cfg.hydra.runtime.output_dir = "runs/none"
        HydraConfig.instance().set_config(cfg)
        check(cfg)
    return cfg


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_with_every_dataset_composes_or_raises_the_documented_error(method, data):
    cfg = composed(f"method={method}", f"data={data}")
    if cfg.data.kind not in cfg.method.accepts:
        with pytest.raises(ConfigError, match=f"method={method} works on .* but data={data} are"):
            composed(f"method={method}", f"data={data}", checked=True)
        return
    cfg = composed(f"method={method}", f"data={data}", checked=True)
    del cfg.hydra
    OmegaConf.resolve(cfg)
    assert cfg.data.called == data
    assert cfg.method.called == method


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_backbone_that_does_not_fit_the_data_is_named(backbone):
    data = "flowers" if backbone == "mlp" else "spirals"
    with pytest.raises(ConfigError, match="backbone=" + ("resnet18" if backbone == "mlp" else "mlp")):
        composed("method=siamese", f"data={data}", f"backbone={backbone}", checked=True)


@pytest.mark.parametrize("trainer", [t for t in TRAINERS if t != "slurm"])
@pytest.mark.parametrize("logger", LOGGERS)
def test_trainers_and_loggers_compose(trainer, logger):
    cfg = composed(f"trainer={trainer}", f"logger={logger}")
    assert "csv" in cfg.logger
    assert isinstance(cfg.trainer.max_epochs, int)


def test_every_argument_of_lightnings_trainer_can_be_given():
    ours = {"logger", "callbacks", "default_root_dir", "plugins"}  # which the experiment makes
    arguments = set(inspect.signature(Trainer).parameters) - ours
    assert arguments <= set(composed().trainer) - {"_target_"}


def test_a_method_brings_its_data_and_data_bring_their_backbone():
    assert composed().method.called == "siamese"
    assert composed().backbone._target_.endswith(".mlp")
    assert composed("method=simclr").data.called == "plankton"
    assert composed("method=simclr").backbone.name == "resnet18"
    assert composed("method=simclr", "data=flowers", "backbone=resnet50").backbone.name == "resnet50"
    assert "views" in composed("data=flowers").callbacks
    assert "spirals" in composed().callbacks


def test_image_defaults():
    cfg = composed("method=simclr", "data=images", "data.root=x")
    assert (cfg.data.size, cfg.data.batch_size, cfg.backbone.name) == (64, 128, "resnet18")


def test_unknown_keys_are_errors():
    with pytest.raises(Exception, match="temprature"):
        composed("method=simclr", "method.temprature=0.1")


def test_no_configuration_is_left_out():
    groups = {p.name for p in CONF.iterdir() if p.is_dir()}
    assert groups == {"method", "data", "backbone", "trainer", "logger", "callbacks", "search"}
    assert Path(CONF / "pretrain.yaml").is_file()
