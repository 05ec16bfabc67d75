"""Blocks of backbones."""

import itertools

import pytest
from torch import nn

from fewlabels.core.backbones import Backbone, blocks, is_mobile, layers, mlp, timm_model, vision
from fewlabels.core.errors import UserError

RGB = {"channels": 3, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.25, 0.3]}


@pytest.mark.parametrize("hidden", [0, 3, 6, 40])
def test_blocks_are_at_most_eight_evenly_spaced_from_the_first_to_the_last(hidden):
    backbone = mlp(channels=2, hidden=[3] * hidden, dim=1)
    stages, count = blocks(backbone), len(backbone.body)
    numbers = [int(name.removeprefix("block ")) for name in stages]
    assert (numbers[0], numbers[-1], len(numbers)) == (1, count, min(count, 8))
    gaps = [after - before for before, after in itertools.pairwise(numbers)]
    assert not gaps or max(gaps) - min(gaps) <= 1
    assert all(stages[f"block {number}"] is backbone.body[number - 1] for number in numbers)


def test_blocks_of_a_resnet_are_its_four_stages():
    backbone = vision(name="resnet18", size=64, **RGB)
    assert list(blocks(backbone).values()) == [getattr(backbone.body, f"layer{k}") for k in range(1, 5)]


def test_a_network_with_unknown_blocks_is_rejected():
    with pytest.raises(UserError, match=r"backbone=Flatten: its blocks are unknown.*layer1"):
        blocks(Backbone(nn.Flatten(), channels=1, size=2, mean=[0.0], std=[1.0]))


def test_blocks_of_timms_networks_are_their_stages():
    backbone = timm_model(name="tf_efficientnet_lite0", size=64, **RGB)
    assert list(blocks(backbone).values()) == [backbone.body.blocks[k] for k in (0, 1, 2, 4, 6)]
    backbone = timm_model(name="test_vit", size=32, **RGB)
    assert list(blocks(backbone).values()) == list(backbone.body.blocks)


def names_of_layers(backbone):
    """First and last parameter of each layer."""
    names = {id(parameter): name.removeprefix("body.") for name, parameter in backbone.named_parameters()}
    found = layers(backbone)
    assert sorted(names[id(p)] for part in found for p in part) == sorted(names.values())  # each in one layer
    return [(names[id(part[0])], names[id(part[-1])]) for part in found]


def test_layers_are_the_stem_the_blocks_and_what_follows():
    assert names_of_layers(vision(name="resnet18", size=64, **RGB)) == [
        ("conv1.weight", "bn1.bias"), *((f"layer{k}.0.conv1.weight", f"layer{k}.1.bn2.bias") for k in range(1, 5)),
    ]  # fmt: skip
    found = names_of_layers(timm_model(name="test_vit", size=32, **RGB))
    assert found[0] == ("cls_token", "patch_embed.proj.bias")
    assert found[-1] == ("norm.weight", "norm.bias")
    assert len(found) == 8


def test_what_lies_between_two_blocks_is_counted_with_the_second():
    found = names_of_layers(timm_model(name="tf_efficientnet_lite0", size=64, **RGB))
    starts = ["conv_stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "blocks.5", "conv_head"]
    assert [first.startswith(start) for (first, _), start in zip(found, starts, strict=True)] == [True] * 7


def test_layers_of_a_network_with_unknown_blocks_are_rejected():
    with pytest.raises(UserError, match=r"its blocks are unknown.*method.optimizer.layer_decay"):
        layers(Backbone(nn.Flatten(), channels=1, size=2, mean=[0.0], std=[1.0]))


def test_mobile_networks_are_those_of_small_filters_per_channel():
    names = ["resnet18", "resnet50", "mobilenet_v3_small", "convnext_tiny", "efficientnet_v2_s", "vit_b_16"]
    found = [name for name in names if is_mobile(vision(name=name, size=64, **RGB))]
    assert found == ["mobilenet_v3_small"]
    assert is_mobile(timm_model(name="tf_efficientnet_lite0", size=64, **RGB))
    assert not is_mobile(mlp(channels=2, hidden=[3], dim=1))
