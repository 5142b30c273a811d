"""Design spaces of convolutional networks: spaces, populations, complexity, networks, training and analysis.

    import designspace as ds

    space = ds.space("regnetx").with_constraints(macs=(100e6, 120e6))
    population = space.sample(100, seed=0)

Names are imported on first use (PEP 562), so that `designspace --help` loads neither numpy nor pydantic. No submodule
shares its name with a function or class listed here.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import analysis
    import sweeps
    from designspace import spaces, zoo
    from designspace.counting import Complexity, complexity
    from designspace.files import load_spec, save_spec
    from designspace.memory import TrainingMemory, training_memory
    from designspace.network import build_network
    from designspace.population import Population
    from designspace.spaces import DesignSpace, names, space
    from designspace.spec import ModelSpec

    __version__: str

__all__ = [
    "Complexity",
    "DesignSpace",
    "ModelSpec",
    "Population",
    "TrainingMemory",
    "__version__",
    "analysis",
    "build_network",
    "complexity",
    "load_spec",
    "names",
    "save_spec",
    "space",
    "spaces",
    "sweeps",
    "training_memory",
    "zoo",
]

_HOMES = {
    "Complexity": "counting",
    "complexity": "counting",
    "load_spec": "files",
    "save_spec": "files",
    "TrainingMemory": "memory",
    "training_memory": "memory",
    "build_network": "network",
    "Population": "population",
    "DesignSpace": "spaces",
    "names": "spaces",
    "space": "spaces",
    "ModelSpec": "spec",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"designspace.{_HOMES[name]}"), name)
    if name in ("analysis", "sweeps"):
        return import_module("designspace.packages").own_package(name)
    if name == "__version__":
        return import_module("importlib.metadata").version("cnn-designspace")
    if name in __all__:
        return import_module(f"designspace.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*globals(), *__all__]
