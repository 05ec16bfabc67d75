"""The backbone's learning rate and the epochs of the head alone, where they are left at null."""

import pytest

from fewlabels.cli.app import compose_config
from fewlabels.training.finetune_defaults import finetune_defaults


@pytest.mark.parametrize(("method", "pretrained", "epochs", "expected"), [
    (None, False, 30, (1.0, 0)), ("simclr", True, 30, (0.1, 10)), ("rotnet", True, 30, (1.0, 0)),
    ("siamese", True, 30, (0.3, 10)), (None, True, 30, (0.3, 10)), ("simclr", True, 7, (0.1, 2)),
    ("simclr", True, 1, (0.1, 0)), ("simclr", True, 300, (0.1, 10)), ("simclr", True, None, (0.1, 0)),
    ("simclr", True, -1, (0.1, 0)),
])  # fmt: skip
def test_they_follow_from_the_pretraining_method_and_the_epochs(method, pretrained, epochs, expected):
    assert finetune_defaults(method, pretrained=pretrained, epochs=epochs) == expected


def settings(*overrides):
    method = compose_config(*overrides, script="finetune")["method"]
    return method["backbone_lr"], method["unfreeze_after"]


def test_the_method_is_read_from_the_run_of_the_checkpoint(tmp_path):
    for method, expected in (("name: simclr", (0.1, 10)), ("called: rotnet", (1.0, 0))):
        (tmp_path / "config.yaml").write_text(f"method: {{{method}}}")
        assert settings(f"checkpoint={tmp_path}") == expected
    assert settings(f"checkpoint={tmp_path}/checkpoints/last.ckpt") == (1.0, 0)
    assert settings("checkpoint=elsewhere", "trainer.max_epochs=4") == (0.3, 1)


def test_without_a_checkpoint_the_weights_of_torchvision_count_as_pretrained():
    assert settings() == (1.0, 0)
    assert settings("backbone.weights=imagenet") == (0.3, 10)


def test_settings_of_the_command_line_win():
    assert settings("checkpoint=elsewhere", "method.backbone_lr=0.5", "method.unfreeze_after=2") == (0.5, 2)
    assert settings("checkpoint=elsewhere", "method.unfreeze_after=0") == (0.3, 0)


def test_named_networks_are_the_weights_of_the_backbone_itself():
    for name, weights in (("imagenet", "imagenet"), ("random", None)):
        config = compose_config(f"checkpoint={name}", "backbone=efficientnet_lite0", script="finetune")
        assert (config["checkpoint"], config["backbone"]["weights"]) == (None, weights)
    assert settings("checkpoint=imagenet") == settings("backbone.weights=imagenet")
    assert settings("checkpoint=random") == settings()


def test_a_directory_of_that_name_is_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "imagenet").mkdir()
    (tmp_path / "imagenet" / "config.yaml").write_text("method: {name: rotnet}")
    assert compose_config("checkpoint=imagenet", script="finetune")["checkpoint"] == "imagenet"
    assert settings("checkpoint=imagenet") == (1.0, 0)
