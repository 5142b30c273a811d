"""Exports of networks: pycls, timm, torchvision, torch.export, ONNX, safetensors.

torch is imported only for weights and programs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from designspace.export.folder import FILES, FORMATS, Written, check_folder, write
from designspace.export.pycls import to_pycls
from designspace.export.target import NotExpressible
from designspace.export.timm import timm_source
from designspace.export.torchvision import torchvision_source
from designspace.files import load_spec as load_pycls  # former name
from designspace.pycls import from_pycls

if TYPE_CHECKING:
    from designspace.export.weights import load_network, save_weights

LAZY = ("load_network", "save_weights")


def __getattr__(name: str) -> Any:
    if name in LAZY:
        from designspace.export import weights

        return getattr(weights, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "FILES",
    "FORMATS",
    "NotExpressible",
    "Written",
    "check_folder",
    "from_pycls",
    "load_network",
    "load_pycls",
    "save_weights",
    "timm_source",
    "to_pycls",
    "torchvision_source",
    "write",
]
