"""A named or user-defined space as the complete mapping that a study stores."""

import json
import types

import numpy as np
import pytest

from designspace import spaces
from designspace.distributions import Choice, Uniform
from designspace.spaces import DesignSpace, space_from_config
from designspace.spaces.families import assemble
from designspace.spaces.settings import Draws
from designspace.spec import ModelSpec


def pyramid(space: DesignSpace, draws: Draws) -> tuple[np.ndarray, ModelSpec]:
    """All stages have one drawn width, doubled from stage to stage."""
    stages = np.arange(len(space.template.strides))
    widths = draws["first"][:, None] * 2**stages
    return np.ones(len(widths), bool), assemble(space, widths, np.ones_like(widths), draws)


def assert_same_draws(space: DesignSpace, other: DesignSpace) -> None:
    one, two = space.sample(8, seed=3), other.sample(8, seed=3)
    assert [row["spec"] for row in one.rows()] == [row["spec"] for row in two.rows()]


@pytest.mark.parametrize("name", spaces.names())
def test_complete_mapping_of_a_named_space_draws_the_same_networks(name: str) -> None:
    space = spaces.space(name)
    mapping = json.loads(json.dumps(space.to_mapping()))
    assert "base" not in mapping
    assert space_from_config(mapping) == space
    assert_same_draws(space_from_config(mapping), space)


@pytest.mark.parametrize(
    "config",
    [
        {"base": "regnetx", "parameters": {"w_m": {"low": 2.0}}, "template": {"resolution": 32, "stem": None}},
        {"base": "anynetx_a", "name": "mine", "constraints": {"depth": [4, 20]}, "duplicates": "drop"},
        {"base": "mobilenet", "template": {"resolution": 64, "head": {"classes": 10}}},
        {"base": "compound", "template": {"in_channels": 1, "stem": {"width": 16}}},
        {"base": "inverted", "parameters": {"group_width": None}, "template": {"stage": {"group_width": None}}},
    ],
)
def test_complete_mapping_of_a_changed_space_draws_the_same_networks(config: dict[str, object]) -> None:
    space = space_from_config(config)
    resolved = space_from_config(json.loads(json.dumps(space.to_mapping())))
    assert resolved == space
    assert_same_draws(resolved, space)


def test_a_family_function_is_stored_as_its_import_path(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("my_families")
    monkeypatch.setitem(__import__("sys").modules, "my_families", module)
    monkeypatch.setattr(pyramid, "__module__", "my_families")
    module.pyramid = pyramid  # type: ignore[attr-defined]
    space = DesignSpace(
        name="pyramids",
        family=pyramid,
        parameters={"first": Uniform(low=8, high=64, step=8), "group_width": Choice(options=(4, 8))},
    )
    mapping = json.loads(json.dumps(space.to_mapping()))
    assert mapping["family"] == "my_families:pyramid"
    assert space_from_config(mapping) == space
    assert_same_draws(space_from_config(mapping), space)


def test_a_family_without_an_import_path_has_no_mapping() -> None:
    space = DesignSpace(name="local", family=lambda space, draws: None, parameters={})
    with pytest.raises(ValueError, match=r"family = .*<lambda>: must be a function at the top level of a module"):
        space.to_mapping()
