"""Import torchvision and timm with a PyTorch version that torchvision's binary does not support.

Only the schemas of operators are missing then; RegNet and ByobNet do not use these operators.
"""

import importlib.util

import pytest
import torch

SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_library = None


def define_operators() -> None:
    """Define the operators of `torchvision._meta_registrations`, unless the binary defines them."""
    global _library
    if _library is None and not hasattr(torch.ops.torchvision, "nms"):
        _library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            _library.define(name + SCHEMA)


def need(*packages: str) -> None:
    """Skip the test unless packages are installed; make torchvision importable."""
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; `make test` installs what these tests need")
    define_operators()
