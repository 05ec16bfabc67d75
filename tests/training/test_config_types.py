"""Values of a configuration against the type annotations of the constructors that receive them."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from fewlabels.cli.app import compose_config
from fewlabels.core.errors import UserError
from fewlabels.training import config_types
from fewlabels.training.config_types import OF_A_RUN, check_targets, check_types, trusted_config


class Base:
    def __init__(self, *, size: int, names: Sequence[str] | None = None) -> None:
        self.size, self.names = size, names


class Target(Base):
    def __init__(self, *, rate: float, network: torch.nn.Module | None = None, **shared: object) -> None:
        super().__init__(**shared)
        self.rate, self.network = rate, network


@pytest.fixture
def node(monkeypatch):
    """A node whose target is `Target`, as if it were in the package."""
    for kind in (Base, Target):
        monkeypatch.setattr(kind.__init__, "__module__", "fewlabels.tests")
    monkeypatch.setattr(config_types, "get_object", lambda _: Target)
    config_types._hints.cache_clear()
    yield {"_target_": "fewlabels.tests.Target", "rate": 0.5, "size": 3, "names": ["a"]}
    config_types._hints.cache_clear()


def test_values_of_the_right_type_pass(node):
    check_types(node, "data")
    check_types(node | {"rate": 1, "names": None, "network": object(), "unknown": object()}, "data")


@pytest.mark.parametrize(("name", "value", "accepted"), [
    ("rate", "fast", "a number"), ("size", 0.5, "a whole number"), ("size", "3", "a whole number"),
    ("size", None, "a whole number"), ("names", 3, r"a list, \[a,b\] or null"), ("names", [1], "text or null"),
])  # fmt: skip
def test_a_value_of_another_type_is_named_with_what_is_accepted(node, name, value, accepted):
    with pytest.raises(UserError, match=rf"^data\.{name}=.* has the wrong type: give {accepted}\.$"):
        check_types(node | {name: value}, "data")


def test_nested_targets_are_checked_too(node):
    with pytest.raises(UserError, match=r"^method\.views\.size='x' has the wrong type"):
        check_types({"_target_": "torch.nn.Linear", "views": node | {"size": "x"}}, "method")


def test_targets_of_other_packages_are_not_checked():
    check_types({"_target_": "torch.nn.Linear", "in_features": "many"}, "backbone")


@pytest.mark.parametrize("overrides", [(), ("method=simclr",), ("method=triplet", "data=flowers")])
def test_the_default_configurations_pass(overrides):
    config = compose_config(*overrides)
    for group in ("data", "method", "backbone"):
        check_types(config[group], group)


COMPOSED = compose_config(
    "method=simclr", "data=flowers", "logger=[wandb,tensorboard]", "callbacks.probes.max_samples=9"
)
FILE = Path("last.ckpt")


def test_every_configuration_that_this_project_saves_is_trusted():
    for name in ("data", "backbone", "method"):
        check_targets(COMPOSED[name], FILE)
    check_targets(COMPOSED | {"launch": {"rendezvous": "node1:29500"}}, FILE, prefixes=OF_A_RUN)


@pytest.mark.parametrize(("node", "named"), [
    ({"_target_": "os.system", "command": "true"}, "os.system"),
    ({"_target_": "fewlabels.training.launch.os.system", "command": "true"}, "fewlabels.training.launch.os.system"),
    ({"_target_": "fewlabels.core.atomic_io.write_text", "path": "x", "text": "y"}, "write_text"),
    ({"_target_": "fewlabels.training.build.instantiate_node"}, "instantiate_node"),
    ({"_target_": "lightning.pytorch.Trainer"}, "lightning.pytorch.Trainer"),
    ({"_target_": "my_methods.Mine"}, "my_methods.Mine"), ({"_target_": ["os.system"]}, "os.system"),
    ({"_target_": "fewlabels.data.flowers.Flowers", "views": [{"_target_": "builtins.eval"}]}, "builtins.eval"),
    ({"_target_": "fewlabels.data.flowers.Flowers", "root": "${oc.create:'{_target_: os.system}'}"}, "os.system"),
])  # fmt: skip
def test_a_foreign_target_in_a_checkpoint_is_not_run(node, named):
    checkpoint = {"fewlabels": {"config": {"data": node, "trainer": {"_target_": "x.y"}}}}
    with pytest.raises(UserError, match=r"^last\.ckpt") as refused:
        trusted_config(checkpoint, FILE, ["my_method", "my"])
    assert named in str(refused.value)


def test_modules_of_one_s_own_are_trusted_by_name():
    checkpoint = {
        "fewlabels": {"config": {"method": {"_target_": "my_methods.Mine", "inner": {"_target_": "os.system"}}}}
    }
    with pytest.raises(UserError, match=r"add 'trust=\[my_methods\]'"):
        trusted_config(checkpoint, FILE, [])
    with pytest.raises(UserError, match=r"names _target_: os\.system"):
        trusted_config(checkpoint, FILE, ["my_methods"])
    del checkpoint["fewlabels"]["config"]["method"]["inner"]
    assert trusted_config(checkpoint, FILE, ["my_methods"]) == checkpoint["fewlabels"]["config"]
