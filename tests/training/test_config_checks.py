"""Checks of a composed configuration that span config groups."""

from functools import cache

import pytest
from omegaconf import OmegaConf

from fewlabels.cli.app import compose_config
from fewlabels.cli.resolvers import config_groups
from fewlabels.training import config_checks
from fewlabels.training.config_checks import ConfigError, check_config, check_positive


@cache
def composed(script, *groups):
    """A composed configuration with these choices of config groups."""
    return OmegaConf.create(compose_config(*groups, script=script))


@pytest.fixture
def check(tmp_path, monkeypatch):
    """`check(*overrides, script=…)` checks a configuration with overrides, for the run directory `tmp_path/run`."""
    monkeypatch.setattr(config_checks, "current_run_dir", lambda: tmp_path / "run")
    monkeypatch.delenv("RANK", raising=False)

    def call(*overrides, script="pretrain"):
        groups = [override for override in overrides if override.partition("=")[0] in config_groups(script)]
        changes = OmegaConf.from_dotlist([override for override in overrides if override not in groups])
        check_config(OmegaConf.merge(composed(script, *groups), changes))

    return call


REFUSED = {
    "method=simclr data=spirals": r"method=simclr works on images, but data=spirals are points\. Try data=plankton",
    "method=siamese data=flowers backbone=mlp": r"The backbone takes points, .* Use backbone=resnet18",
    "backbone=resnet18": r"The backbone takes images, but data=spirals are points\. Use backbone=mlp",
    "trainer.max_epochs=-1": r"trainer\.max_epochs=-1: give a whole number of at least 0",
    "trainer.max_epochs=1.5": r"trainer\.max_epochs=1\.5: give a whole number",
    "data.batch_size=0": r"data\.batch_size=0: give a whole number of at least 1",
    "method=simclr data=flowers data.channels=5": r"data\.channels=5: only three channels are colours .*\.hue=0 ",
    "seed=-1": r"seed=-1: give a whole number from 0 to 4294967295",
    "seed=x": r"seed=x: give a whole number",
    "trainer.overfit_batches=2": r"overfit_batches is not supported\. Use trainer\.limit_train_batches",
}
REFUSED_FINETUNING = {
    "method.unfreeze_after=9": r"unfreeze_after=9 of trainer\.max_epochs=9: the backbone would never be trained",
    "method.unfreeze_after=x": r"method\.unfreeze_after=x: give a number of epochs",
    "checkpoint=''": r"checkpoint=: give a run directory or a \.ckpt file to start from, or checkpoint=null",
    "checkpoint=5": r"checkpoint=5: give a run directory or a \.ckpt file to start from, or checkpoint=null",
    "trainer.limit_val_batches=0": r"trainer\.limit_val_batches=0: finetuning selects its weights on validation images",
    "trainer.check_val_every_n_epoch=10": r"it has to validate at least once",
}


@pytest.mark.parametrize("setting", REFUSED)
def test_a_setting_that_cannot_work_is_refused_with_its_remedy(check, setting):
    with pytest.raises(ConfigError, match=REFUSED[setting]):
        check(*setting.split())


@pytest.mark.parametrize("setting", REFUSED_FINETUNING)
def test_a_finetuning_that_cannot_succeed_is_refused(check, setting):
    with pytest.raises(ConfigError, match=REFUSED_FINETUNING[setting]):
        check(setting, "trainer.max_epochs=9", script="finetune")


def test_a_backbone_may_be_frozen_throughout(check):
    check("method.unfreeze_after=9", "method.backbone_lr=0", "trainer.max_epochs=9", script="finetune")


@pytest.mark.parametrize("name", ["checkpoints", "config.yaml"])
def test_a_run_is_never_overwritten(check, tmp_path, monkeypatch, name):
    check()
    (tmp_path / "run" / name).mkdir(parents=True)
    with pytest.raises(ConfigError, match=r"run already holds a run, and runs are never overwritten\. .* resume="):
        check()
    check(f"resume={tmp_path / 'run'}")
    monkeypatch.setenv("RANK", "1")  # rank 0 may have written its config.yaml already
    check()


def test_null_stands_for_no_limit():
    cfg = OmegaConf.create({"repeats": None, "max": {"samples": 3}})
    check_positive(cfg, "repeats", "max.samples", "missing")
    with pytest.raises(ConfigError, match=r"max\.samples=0: give a whole number of at least 1"):
        check_positive(OmegaConf.create({"max": {"samples": 0}}), "max.samples")


def test_a_finetuning_needs_an_epoch(check):
    with pytest.raises(ConfigError, match=r"trainer\.max_epochs=0: give a whole number of at least 1"):
        check("trainer.max_epochs=0", script="finetune")


def test_views_of_other_channels_are_accepted_without_colour_changes(check):
    zero = [f"method.views.{key}=0" for key in ("saturation", "hue", "grey")]
    check("method=simclr", "data=flowers", "data.channels=5", *zero)
    check("method=simclr", "data=flowers", "data.channels=1")
    check("method=rotnet", "data=flowers", "data.channels=5")  # without jitter


def test_the_remedy_names_the_views_that_can_be_changed(check):
    with pytest.raises(ConfigError, match=r"Give method\.views\.saturation=0\.$"):
        check("data=flowers", "data.channels=5", script="finetune")
    cfg = OmegaConf.create(
        {"data": {"modality": "images", "channels": 5, "views": {"hue": 0.1}}, "method": {"views": "${data.views}"}}
    )
    with pytest.raises(ConfigError, match=r"Give data\.views\.hue=0\.$"):
        config_checks._check_colours(cfg)
