"""Values of a configuration against the type annotations of the constructors that receive them."""

from collections.abc import Sequence

import pytest
import torch

from fewlabels.cli.app import compose_config
from fewlabels.core.errors import UserError
from fewlabels.training import config_types
from fewlabels.training.config_types import check_types


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
