"""Configurations of pycls (facebookresearch/pycls) as specs; `designspace.export` writes them."""

from designspace.pycls.config import from_pycls, is_pycls

__all__ = ["from_pycls", "is_pycls"]
