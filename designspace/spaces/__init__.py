"""Design spaces: by name, from a base with changed settings, and from files."""

from designspace.spaces.config import load_space, merge, names, save_space, space, space_from_config
from designspace.spaces.pycls_sweep import from_pycls_sweep
from designspace.spaces.sampling import DesignSpace, Fraction, Rejection
from designspace.spaces.settings import RATES, Constraints, Template

__all__ = [
    "RATES",
    "Constraints",
    "DesignSpace",
    "Fraction",
    "Rejection",
    "Template",
    "from_pycls_sweep",
    "load_space",
    "merge",
    "names",
    "save_space",
    "space",
    "space_from_config",
]
