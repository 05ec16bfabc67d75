"""The backbone's learning rate and the epochs of the head alone, where they are left at null."""

import json

import pytest

from fewlabels.cli.app import compose_config
from fewlabels.training.finetune_defaults import finetune_defaults
from fewlabels.training.run_dir import IMAGENET_SIZE


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


def composed(*overrides):
    config = compose_config(*overrides, script="finetune")
    return config["backbone"]["name"], config["data"]["size"], config["data"]["channels"]


def test_the_network_of_the_checkpoint_is_taken_unless_the_command_line_names_one(tmp_path):
    run = compose_config(
        "method=simclr", "data=plankton", "backbone=efficientnet_lite0", "data.size=96", "data.mean=[0.25]"
    )
    (tmp_path / "config.yaml").write_text(json.dumps(run))
    assert composed(f"checkpoint={tmp_path}") == ("tf_efficientnet_lite0", 96, 1)
    assert compose_config(f"checkpoint={tmp_path}", script="finetune")["data"]["mean"] == [0.25]
    assert composed(f"checkpoint={tmp_path}", "data.size=128") == ("tf_efficientnet_lite0", 128, 1)
    assert composed(f"checkpoint={tmp_path}", "backbone=resnet50") == ("resnet50", 64, 3)
    assert composed(f"checkpoint={tmp_path}", "backbone.name=resnet34") == ("resnet34", 64, 3)


def test_imagenet_is_the_network_that_evaluate_means_by_it():
    assert composed("checkpoint=imagenet") == ("tf_efficientnet_lite0", IMAGENET_SIZE, 3)
    assert composed("checkpoint=imagenet", "data.size=128") == ("tf_efficientnet_lite0", 128, 3)
    assert composed("checkpoint=imagenet", "backbone=resnet34") == ("resnet34", 64, 3)
    assert composed("checkpoint=random") == composed() == ("resnet18", 64, 3)


def test_the_network_of_a_run_on_points_is_not_taken(tmp_path):
    (tmp_path / "config.yaml").write_text(json.dumps(compose_config("method=siamese", "data=spirals")))
    assert composed(f"checkpoint={tmp_path}") == composed()
