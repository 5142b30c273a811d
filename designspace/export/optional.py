"""Packages that only some formats need."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from types import ModuleType


class MissingPackage(ImportError, ValueError):
    """A package that is not installed; the message says how to install it."""


def optional(package: str, extra: str) -> ModuleType:
    """Import a package, or raise MissingPackage naming the extra that brings it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise MissingPackage(
            f"{package.split('.')[0]} is not installed; pip install 'cnn-designspace[{extra}]' brings it"
        ) from None


NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def require(formats: Sequence[str], weights: bool) -> None:
    """Raise MissingPackage for the first package that the formats, or weights, need and that is not installed."""
    if weights:
        optional("safetensors", "weights")
    for name in formats:
        for package in NEEDED.get(name, ()):
            optional(package, "onnx")
