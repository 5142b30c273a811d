"""Design spaces of convolutional networks: what a network is, how it is counted, built and sampled."""

from designspace import spaces, zoo
from designspace.complexity import Complexity, complexity
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
