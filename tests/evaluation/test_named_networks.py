"""`run=imagenet` and `run=random`, and networks that were never trained."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from hydra import initialize_config_dir

from fewlabels import load_backbone
from fewlabels.cli.resolvers import CONF, register_resolvers
from fewlabels.core.backbones import timm_model
from fewlabels.core.checkpoints import read_checkpoint
from fewlabels.core.errors import UserError
from fewlabels.evaluation.compare import compare
from fewlabels.evaluation.context import load_context
from fewlabels.evaluation.named_networks import load_network, make_named_run, resolve_named_networks
from fewlabels.training.run_dir import IMAGENET_SIZE


@pytest.fixture(autouse=True)
def _hydra(folder, lightning_log_levels):
    """Hydra as a script initialises it."""
    register_resolvers()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        yield


@pytest.fixture
def on_images(_session):
    """Overrides of an evaluation on the images of `run`."""
    return ["data=plankton", f"data.root={_session[0] / 'images'}", "data.size=32", "data.unseen=[rod,star]",
            "data.min_class_size=1"]  # fmt: skip


@pytest.fixture
def settings(_session, folder):
    """Settings of an evaluation of `run`."""
    return _session[1] | {"run": str(folder / "run")}


def test_imagenet_is_a_run_with_these_weights_that_has_seen_no_image(tmp_path, on_images, settings):
    run = make_named_run("imagenet", tmp_path / "imagenet", on_images)
    backbone = load_backbone(run)
    theirs = timm_model(name="tf_efficientnet_lite0", channels=1, size=32, mean=[0.5], std=[0.5], weights="imagenet")
    x = torch.rand(3, 1, 32, 32)
    with torch.no_grad():
        assert torch.allclose(backbone(x), theirs.eval()(x), atol=1e-5)
    assert read_checkpoint(run)[0]["fewlabels"]["trained_on"]["digests"].numel() == 0
    context = load_context(settings | {"run": str(run), "data": []})
    assert (context.network_name, context.start) == ("imagenet weights", "random init")
    assert context.description["trained on"] == "nothing"
    assert context.population == "2 classes unseen in pretraining"
    embeddings = context.embed(context.untrained, context.embeddings.index)
    assert not np.allclose(embeddings.vectors, context.embeddings.vectors)


def test_imagenet_gets_larger_images_unless_a_size_is_given(tmp_path, on_images):
    without = [override for override in on_images if not override.startswith("data.size")]
    run = make_named_run("imagenet", tmp_path / "imagenet", without)
    assert load_backbone(run).size == IMAGENET_SIZE


def test_a_named_network_needs_images(tmp_path):
    with pytest.raises(UserError, match=r"run=random embeds the images of a folder: add data.root=FOLDER, or data="):
        make_named_run("random", tmp_path / "random", ["data.size=32"])


def test_a_folder_alone_is_one_of_the_users_own_images(tmp_path, on_images):
    run = make_named_run("random", tmp_path / "random", [on_images[1], "data.size=32"])
    assert read_checkpoint(run)[0]["fewlabels"]["config"]["data"]["name"] == "images"


def test_a_single_named_network_becomes_the_directory_of_the_evaluation(tmp_path, on_images, settings):
    resolved = resolve_named_networks(settings | {"run": "random", "data": on_images}, tmp_path / "out")
    assert (resolved["run"], resolved["data"]) == (str(tmp_path / "out"), [])
    context = load_context(resolved)
    assert (context.network_name, context.start) == ("random weights", "random init")
    assert resolve_named_networks(settings, tmp_path) == settings


def test_named_networks_are_compared_on_the_data_of_the_first_run(tmp_path, folder, settings):
    runs = [str(folder / "run"), "random", ["imagenet"]]
    wanted = copy.deepcopy(settings) | {"run": runs, "data": ["data.size=32"]}
    compare(resolve_named_networks(wanted, tmp_path / "out"), tmp_path / "out")
    table = pd.read_csv(tmp_path / "out" / "label_efficiency.csv")
    assert list(table["source"].unique()) == ["run", "random", "imagenet", "random init"]
    described = [
        read_checkpoint(tmp_path / "out" / name)[0]["fewlabels"]["backbone"] for name in ("random", "imagenet")
    ]
    assert [each["name"] for each in described] == ["mobilenet_v3_small", "tf_efficientnet_lite0"]


def test_a_network_is_loaded_without_its_data(folder):
    backbone, resize = load_network(str(folder / "run"), [])
    last = folder / "run" / "checkpoints" / "last.ckpt"
    x = torch.rand(2, backbone.channels, backbone.size, backbone.size)
    with torch.no_grad():
        assert torch.equal(backbone(x), load_network(str(last), [])[0](x))
        assert torch.equal(backbone(x), load_backbone(last)(x))
    assert resize == "pad"


@pytest.mark.parametrize(("data", "channels", "size", "resize"), [
    ([], 3, IMAGENET_SIZE, "crop"), (["data=plankton"], 1, IMAGENET_SIZE, "pad"),
    (["data.channels=1", "data.size=64", "data.resize=squash"], 1, 64, "squash"),
])  # fmt: skip
def test_imagenet_is_loaded_for_the_input_that_is_asked_for(data, channels, size, resize):
    backbone, resized = load_network("imagenet", data)
    assert (backbone.channels, backbone.size, resized, backbone.training) == (channels, size, resize, False)
    assert backbone.mean == backbone.std == (0.5,) * channels
    theirs = timm_model(
        name="tf_efficientnet_lite0", channels=channels, size=64, mean=[0.5], std=[0.5], weights="imagenet"
    )
    x = torch.rand(1, channels, 64, 64)
    with torch.no_grad():
        assert torch.equal(backbone(x), theirs.eval()(x))


def test_imagenet_of_points_is_refused():
    with pytest.raises(UserError, match=r"run=imagenet embeds images, and data=spirals are points"):
        load_network("imagenet", ["data=spirals"])
