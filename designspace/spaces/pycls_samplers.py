"""Samplers of a pycls sweep as distributions (facebookresearch/pycls, `sweep/samplers.py`, `sweep/random.py`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log2
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from designspace.distributions import Choice, Distribution, LogUniform, PowerOfTwo, Uniform
from designspace.pycls import PARAMETERS
from designspace.pycls.keys import one_of, read_section
from designspace.validated import Validated, key_text

SCALARS = ("value_sampler", "float_sampler", "int_sampler")
RAND_TYPES = ("uniform", "log_uniform", "power2_uniform", "power2_or_log_uniform")
"""Supported types; pycls also has clipped normal and log_normal."""

REGNET_SAMPLER = {  # RAND_TYPE, QUANTIZE
    "DEPTH": ("uniform", 1),
    "W0": ("log_uniform", 8),
    "WA": ("log_uniform", 0.1),
    "WM": ("log_uniform", 0.001),
    "GROUP_W": ("power2_or_log_uniform", 8),
    "BOT_MUL": ("power2_uniform", 1 / 128),
}


class _Type(Validated, extra="ignore"):
    TYPE: Annotated[str, one_of((*SCALARS, "list_sampler", "regnet_sampler"))]


class _Values(_Type, extra="forbid"):
    VALUES: Annotated[tuple[Any, ...], Field(min_length=1)]


class _Floats(_Type, extra="forbid"):
    RAND_TYPE: Annotated[str, one_of(RAND_TYPES)] = "uniform"
    RANGE: tuple[float, float]
    QUANTIZE: Annotated[float, Field(gt=0)] = 0.00001


class _Integers(_Type, extra="forbid"):
    RAND_TYPE: Annotated[str, one_of(RAND_TYPES)] = "uniform"
    RANGE: tuple[int, int]
    QUANTIZE: Annotated[int, Field(gt=0)] = 1


class _List(_Type, extra="forbid"):
    LENGTH: Annotated[int, Field(ge=1, strict=True)]
    ITEM_SAMPLER: dict[str, Any]


class _RegNet(_Type, extra="forbid"):
    DEPTH: tuple[int, int] = (12, 28)
    W0: tuple[int, int] = (8, 256)
    WA: tuple[float, float] = (8.0, 256.0)
    WM: tuple[float, float] = (2.0, 3.0)
    GROUP_W: tuple[int, int] = (8, 128)
    BOT_MUL: tuple[float, float] = (1.0, 1.0)


def read_samplers(samplers: Mapping[str, Any], section: str, stages: int) -> dict[str, Distribution]:
    """Distributions of the sampled keys of a section, like REGNET.W0, and of TRAIN.IM_SIZE.

    Args:
        samplers: SETUP.SAMPLERS.
        section: REGNET or ANYNET.
        stages: number of stages; keys of ANYNET are drawn per stage.

    Raises:
        ValueError: naming the key.
    """
    drawable = (*(f"{section}.{key}" for key in PARAMETERS[section]), "TRAIN.IM_SIZE")
    distributions: dict[str, Distribution] = {}
    for key, sampler in samplers.items():
        key_path = f"SETUP.SAMPLERS.{key_text(key)}"
        if key == section == "REGNET":
            parts = dict(_regnet(key_path, sampler))
        elif key not in drawable:
            raise ValueError(f"{key_path}: must be one of {', '.join(drawable)}")
        elif key.startswith("ANYNET."):
            parts = {key: _list(key_path, sampler, stages)}
        else:
            parts = {key: _scalar(key_path, sampler)}
        if repeated := sorted(parts.keys() & distributions.keys()):
            raise ValueError(f"{key_path}: must not sample {repeated[0]} twice")
        distributions |= parts
    return distributions


def _regnet(key_path: str, sampler: Any) -> Iterator[tuple[str, Distribution]]:
    _type(key_path, sampler, ("regnet_sampler",))
    ranges = read_section({key_path: sampler}, key_path, _RegNet)
    for key, (rand_type, quantum) in REGNET_SAMPLER.items():
        yield f"REGNET.{key}", _ranged(f"{key_path}.{key}", rand_type, getattr(ranges, key), quantum)


def _list(key_path: str, sampler: Any, stages: int) -> Distribution:
    _type(key_path, sampler, ("list_sampler",))
    items = read_section({key_path: sampler}, key_path, _List)
    if (length := items.LENGTH) != stages:
        raise ValueError(f"{key_path}.LENGTH = {length}: must be {stages}, the number of ANYNET.STRIDES")
    return _scalar(f"{key_path}.ITEM_SAMPLER", items.ITEM_SAMPLER).changed(per_stage=True)


def _scalar(key_path: str, sampler: Any) -> Distribution:
    kind = _type(key_path, sampler, SCALARS)
    if kind == "value_sampler":
        return _made(f"{key_path}.VALUES", Choice, options=read_section({key_path: sampler}, key_path, _Values).VALUES)
    scalar: Any = read_section({key_path: sampler}, key_path, _Integers if kind == "int_sampler" else _Floats)
    return _ranged(f"{key_path}.RANGE", scalar.RAND_TYPE, scalar.RANGE, scalar.QUANTIZE)


def _type(key_path: str, sampler: Any, allowed: tuple[str, ...]) -> str:
    kind = read_section({key_path: sampler}, key_path, _Type).TYPE
    if kind not in allowed:
        raise ValueError(f"{key_path}.TYPE = {kind!r}: must be {' or '.join(allowed)}")
    return kind


def _ranged(key_path: str, rand_type: str, limits: tuple[float, float], quantum: float) -> Distribution:
    """Distribution of pycls on a closed range with a quantum; both ends must be values."""
    low, high = limits
    powers = rand_type.startswith("power2")
    if powers:
        distribution = _made(key_path, PowerOfTwo, low=low, high=high)
    elif rand_type == "uniform":
        distribution = _made(key_path, Uniform, low=low, high=high, step=quantum)
    else:
        distribution = _made(key_path, LogUniform, low=low, high=high, step=quantum, rounding="up")
    if not np.allclose(distribution.values[[0, -1]], limits, rtol=1e-9, atol=0):
        raise ValueError(
            f"{key_path} = {list(limits)}: must be {'powers of two' if powers else f'multiples of {quantum:g}'}"
        )
    if powers and (log2(quantum) % 1 or (rand_type == "power2_uniform" and low < quantum)):
        raise ValueError(f"{key_path} = {list(limits)}: must be multiples of QUANTIZE = {quantum:g}, a power of two")
    if rand_type != "power2_or_log_uniform" or high < quantum:
        return distribution
    # Powers of two below the quantum are drawn as they are, the others are replaced by multiples of the quantum.
    small = distribution.values[distribution.values < quantum]
    large = _made(key_path, LogUniform, low=max(low, quantum), high=high, step=quantum, rounding="up")
    if not len(small):
        return large
    share = 1 / len(distribution.values)
    weights = [*np.full(len(small), share), *(1 - share * len(small)) * large.probabilities]
    return _made(key_path, Choice, options=[*small.tolist(), *large.values.tolist()], weights=weights)


def _made(key_path: str, kind: type[Validated], **fields: Any) -> Any:
    """A distribution; its ValueError starts with the key."""
    try:
        return kind.from_mapping(fields)
    except ValueError as error:
        raise ValueError(f"{key_path}: {error}") from None
