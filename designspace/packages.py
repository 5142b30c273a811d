"""Imports: this distribution's packages, users' modules, plug-ins, and optional packages.

`analysis`, `sweeps` and `conf` are generic names. `own_package` imports them by location, so a user's module of the
same name cannot replace them, even if it comes first on the import path.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

OWN = ("analysis", "sweeps", "conf")
"""Packages of this distribution other than `designspace`."""

_ROOT = Path(__file__).resolve().parents[1]


def own_package(name: str) -> ModuleType:
    """Import a package of this distribution by its location, and register it in `sys.modules` under its name.

    Args:
        name: one of OWN. Its modules can then be imported as usual.

    Raises:
        ImportError: the process has already imported another module of this name.
    """
    init = _ROOT / name / "__init__.py"
    module = sys.modules.get(name)
    if module is not None:
        if _is_file(module, init):
            return module
        raise ImportError(
            f"{name}: this process has already imported {_origin(module)}; cnn-designspace needs its own package "
            f"{name}, so import designspace.{name} first or rename that module",
            name=name,
        )
    spec = importlib.util.spec_from_file_location(name, init, submodule_search_locations=[str(init.parent)])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def own_module(name: str) -> ModuleType:
    """Import a module such as "sweeps.worker.process"; its top-level package may be one of OWN."""
    package = name.partition(".")[0]
    if package in OWN:
        own_package(package)
    return importlib.import_module(name)


def run_worker(config: Any) -> None:
    """Run a worker of a sweep.

    Hydra's launchers pickle this function by its import path, so jobs import this distribution's `sweeps`.
    """
    own_module("sweeps.launch").work(config)


def import_attribute(field: str, path: str) -> Any:
    """Import MODULE:ATTRIBUTE; the current directory is searched last.

    Args:
        field: named in errors.
        path: the import path, like "my_spaces:pyramids".

    Raises:
        ValueError: the path is malformed, or the import fails.
    """
    module, _, attribute = path.partition(":")
    if not all(name.isidentifier() for name in (*module.split("."), attribute)):
        raise ValueError(f"{field} = {path!r:.80}: must be MODULE:ATTRIBUTE, like my_spaces:pyramids")
    directory = os.getcwd()
    if directory not in sys.path and "" not in sys.path:
        sys.path.append(directory)
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{field} = {path}: {error}") from None
    except Exception as error:  # raised by the user's module
        raise ValueError(f"{field} = {path}: {type(error).__name__} in {module}: {error}") from error


def import_path(field: str, value: Callable[..., Any]) -> str:
    """MODULE:ATTRIBUTE of a function; ValueError unless that path imports the function."""
    path = f"{value.__module__}:{value.__qualname__}"
    module = sys.modules.get(value.__module__)
    if value.__module__ == "__main__" or getattr(module, value.__qualname__, None) is not value:
        raise ValueError(f"{field} = {path}: must be a function at the top level of a module that can be imported")
    return path


def plugins(group: str) -> tuple[EntryPoint, ...]:
    """The entry points of a group in the installed packages, not yet imported."""
    return _plugins(group, tuple(sys.path))


@lru_cache(maxsize=8)
def _plugins(group: str, path: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """As `plugins`; `path` is part of the key of the cache."""
    return tuple(entry_points(group=group))


def provider(point: EntryPoint) -> str:
    """The package of an entry point and its version, like "my-blocks 1.0"."""
    return f"{point.dist.name} {point.dist.version}" if point.dist else "a package without metadata"


def load_plugin(field: str, point: EntryPoint) -> Any:
    """Import the object of an entry point; ValueError names the field, the plug-in and its package."""
    try:
        return point.load()
    except Exception as error:  # raised by the plug-in's module
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"{field} = {point.name}: cannot import {point.value} of {provider(point)}: {reason}"
        ) from error


def _is_file(module: ModuleType, file: Path) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() == file


def _origin(module: ModuleType) -> str:
    return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "a built-in module")


class MissingPackage(ImportError, ValueError):
    """An optional package is not installed; the message shows the command that installs it."""


def optional(package: str, extra: str) -> ModuleType:
    """Import an optional package; MissingPackage names the extra that installs it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != package.split(".")[0]:
            raise
        raise MissingPackage(
            f"{package.split('.')[0]} is not installed: run pip install 'cnn-designspace[{extra}]'"
        ) from None


NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime")}


def require(formats: Sequence[str], weights: bool) -> None:
    """Raise MissingPackage for the first missing package that the export formats or weights require."""
    if weights:
        optional("safetensors", "weights")
    for missing in missing_packages(formats).values():
        raise missing


def missing_packages(formats: Sequence[str]) -> dict[str, MissingPackage]:
    """The export formats that cannot be written here, with the first missing package of each."""
    missing = {}
    for name in formats:
        try:
            for package in NEEDED.get(name, ()):
                optional(package, "onnx")
        except MissingPackage as error:
            missing[name] = error
    return missing
