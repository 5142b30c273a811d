"""Design spaces of convolutional networks: what a network is, how it is counted, built and sampled.

A name is imported when it is first used (PEP 562): every command passes through here, and most of the time that
`designspace --help` takes would go into numpy and pydantic. So that a name always means the same whatever has been
imported before, no submodule has the name of a function or class given here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from designspace import spaces, zoo
    from designspace.counting import Complexity, complexity
    from designspace.files import load_spec, save_spec
    from designspace.population import Population
    from designspace.spaces import DesignSpace
    from designspace.spec import ModelSpec

__all__ = [
    "Complexity",
    "DesignSpace",
    "ModelSpec",
    "Population",
    "complexity",
    "load_spec",
    "save_spec",
    "spaces",
    "zoo",
]

_HOMES = {
    "Complexity": "counting",
    "complexity": "counting",
    "load_spec": "files",
    "save_spec": "files",
    "Population": "population",
    "DesignSpace": "spaces",
    "ModelSpec": "spec",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"designspace.{_HOMES[name]}"), name)
    if name in __all__:
        return import_module(f"designspace.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
