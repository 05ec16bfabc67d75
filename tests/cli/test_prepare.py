"""What the commands that apply a trained network check alike."""

import pytest
from omegaconf import OmegaConf

from fewlabels.cli.prepare import (
    prepare_evaluation,
    prepare_export,
    prepare_labelling,
    prepare_prediction,
    prepare_suggestion,
)
from fewlabels.cli.resolvers import CONF
from fewlabels.training.config_checks import ConfigError

COMMANDS = {
    "suggest": prepare_suggestion, "label": prepare_labelling, "predict": prepare_prediction,
    "export": prepare_export, "evaluate": prepare_evaluation,
}  # fmt: skip


def config(name, **changes):
    return OmegaConf.merge(OmegaConf.load(CONF / f"{name}.yaml"), {"run": "imagenet"} | changes)


@pytest.mark.parametrize("name", COMMANDS)
def test_overrides_of_the_data_are_handed_on_and_a_network_is_needed(name):
    assert COMMANDS[name](config(name), ["data.root=x"]).data == ["data.root=x"]
    with pytest.raises(ConfigError, match=r"(?i)give .*run=RUN_DIR"):
        COMMANDS[name](config(name, run=None), [])


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - {"export"}))
def test_orientations_are_1_2_4_or_8(name):
    with pytest.raises(ConfigError, match="orientations=3: choose 1"):
        COMMANDS[name](config(name, orientations=3), [])
