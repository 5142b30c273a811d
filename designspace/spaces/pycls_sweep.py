"""Sweep configurations of pycls as design spaces (facebookresearch/pycls, docs/SWEEP_INFO.md, `sweep/config.py`)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from designspace.distributions import Choice, Distribution, PowerOfTwo
from designspace.pycls import PARAMETERS, SECTIONS
from designspace.pycls.anynet import BLOCKS, AnyNet, RegNet, Shared
from designspace.pycls.keys import Model, Train, one_of, read_section
from designspace.spaces.pycls_samplers import read_samplers
from designspace.spaces.sampling import DesignSpace
from designspace.validated import Name, Validated, shorten
from designspace.widths import round_group_width

UNLIMITED = 1e18  # above all counts; 0 is no upper limit in pycls
TEMPLATE = ("resolution", "group_width", "bottleneck_ratio")
"""Parameters that go into the template if they are not drawn."""

Pair = tuple[float, float]
Whole = Annotated[int, Field(ge=1, le=100, strict=True)]


class _Complexity(Validated):
    FLOPS: Pair = (0, 0)
    PARAMS: Pair = (0, 0)
    ACTS: Pair = (0, 0)

    def limits(self) -> dict[str, Pair]:
        """The given limits; 0 is no limit in pycls."""
        for key, (low, high) in self:
            if high and low > high:
                raise ValueError(f"SETUP.CONSTRAINTS.CX.{key} = {[low, high]}: must be [low, high] with low <= high")
        pairs = {"macs": self.FLOPS, "params": self.PARAMS, "acts": self.ACTS}
        return {name: (low, high or UNLIMITED) for name, (low, high) in pairs.items() if low or high}


class _Stages(Validated):
    NUM_STAGES: tuple[Whole, Whole] = (4, 4)


class _Constraints(Validated):
    CX: _Complexity = _Complexity()
    REGNET: _Stages = _Stages()


class _Setup(Validated):
    """SETUP; the number and order of configurations are not part of a space."""

    BASE_CFG: dict[str, Any] = Field(default={})
    SAMPLERS: Annotated[dict[str, Any], Field(min_length=1)]
    CONSTRAINTS: _Constraints = _Constraints()
    NUM_CONFIGS: Any = None
    NUM_SAMPLES: Any = None
    CHUNK_SIZE: Any = None
    RNG_SEED: Any = None


class Sweep(Validated):
    """A sweep configuration; keys other than NAME and SETUP configure its execution and analysis."""

    NAME: Name
    SETUP: _Setup
    DESC: Any = None
    ROOT_DIR: Any = None
    NUM_PROC: Any = None
    SWEEP_CFG_FILE: Any = None
    LAUNCH: Any = None
    COLLECT: Any = None
    ANALYZE: Any = None


class _Model(Model):
    TYPE: Annotated[str, one_of(("anynet", "regnet"))]
    SCALING_FACTOR: Annotated[float, Field(ge=1, le=1)] = 1.0


def from_pycls_sweep(config: Mapping[str, Any]) -> DesignSpace:
    """The design space of a pycls sweep.

    Samplers of REGNET and ANYNET keys and of TRAIN.IM_SIZE become distributions with the probabilities of pycls,
    CONSTRAINTS become constraints, and BASE_CFG becomes the template. pycls drops draws with repeated parameters, a
    space keeps them (see `duplicates`). Warns if pycls would round the widths of some networks twice.

    Args:
        config: the mapping of a sweep's YAML file.

    Raises:
        ValueError: an unknown key, a wrong value, or a setting that a space cannot express: samplers of training
            settings, normal and log-normal samplers, several numbers of stages, stages with different fixed values,
            models other than anynet and regnet, values that pycls would round. The message names the key.
    """
    sweep = Sweep.from_mapping(config)
    constraints, base = sweep.SETUP.CONSTRAINTS, sweep.SETUP.BASE_CFG
    with _naming("SETUP.BASE_CFG."):
        model = read_section(base, "MODEL", _Model)
        resolution = read_section(base, "TRAIN", Train).IM_SIZE
        name = SECTIONS[model.TYPE]
        section: Any = read_section(base, name, RegNet if name == "REGNET" else AnyNet)
    strides = _strides(section, constraints.REGNET.NUM_STAGES)
    distributions = read_samplers(sweep.SETUP.SAMPLERS, name, len(strides))
    distributions.setdefault("TRAIN.IM_SIZE", Choice(options=(resolution,)))
    for key in PARAMETERS[name]:
        if f"{name}.{key}" not in distributions:
            distributions[f"{name}.{key}"] = _fixed(f"SETUP.BASE_CFG.{name}.{key}", getattr(section, key), len(strides))
    _check_values(distributions)
    names = {f"{name}.{key}": ours for key, ours in PARAMETERS[name].items()} | {"TRAIN.IM_SIZE": "resolution"}
    parameters = {names[key]: distribution for key, distribution in distributions.items()}
    stage = _stage(section, parameters, name)
    fixed = {ours: parameters.pop(ours).values.tolist()[0] for ours in TEMPLATE if _is_fixed(parameters.get(ours))}
    template = {
        "activation": model.activation,
        "stem": section.stem,
        "strides": strides,
        "head": section.head | {"classes": model.NUM_CLASSES},
        "resolution": fixed.pop("resolution", resolution),
        "stage": stage | fixed,
    }
    limits = constraints.CX.limits()
    space = {"family": model.TYPE, "parameters": parameters, "constraints": limits, "template": template}
    with _naming("SETUP: "):
        return DesignSpace.from_mapping({"name": sweep.NAME} | space)


@contextmanager
def _naming(prefix: str) -> Iterator[None]:
    """Prefix the message of a ValueError."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{prefix}{error}") from None


def _is_fixed(distribution: Distribution | None) -> bool:
    return distribution is not None and len(distribution.values) == 1


def _strides(section: Any, stages: tuple[int, int]) -> list[int]:
    """One stride per stage; the constraints have the number of stages of a regnet."""
    if isinstance(section, AnyNet):
        if not section.STRIDES:
            raise ValueError("SETUP.BASE_CFG.ANYNET.STRIDES = []: must have one value per stage")
        return list(section.STRIDES)
    if stages[0] != stages[1]:
        raise ValueError(
            f"SETUP.CONSTRAINTS.REGNET.NUM_STAGES = {list(stages)}: must be one number twice, because all networks of "
            "a space have the same number of stages"
        )
    return [section.STRIDE] * stages[0]


def _fixed(prefix: str, value: Any, stages: int) -> Distribution:
    """The fixed value of a key as a distribution."""
    if isinstance(value, tuple):
        values = set(value) or ({1} if prefix.endswith(("GROUP_WS", "BOT_MULS")) else set())  # pycls `models/scaler.py`
        if len(values) != 1 or len(value) not in (0, stages):
            raise ValueError(
                f"{prefix} = {shorten(list(value))}: must be sampled or have the same value for all {stages} stages"
            )
        value = values.pop()
    with _naming(f"{prefix}: "):
        return Choice.from_mapping({"options": [value]})


def _check_values(distributions: Mapping[str, Distribution]) -> None:
    """Raise ValueError for values that pycls rounds in a sweep."""
    for key, distribution in distributions.items():
        values = distribution.values
        if values.dtype.kind not in "if" or values.min() < 0 or (values.min() == 0 and key != "REGNET.WA"):
            raise ValueError(f"{key} = {shorten(values.tolist())}: must be positive numbers")
        if key in ("REGNET.W0", "ANYNET.WIDTHS"):
            kept, allowed = values % 8 == 0, "multiples of 8"
        elif key in ("REGNET.GROUP_W", "ANYNET.GROUP_WS"):
            kept, allowed = values == round_group_width(values), "1, 2, 4 or multiples of 8"
        elif key in ("REGNET.BOT_MUL", "ANYNET.BOT_MULS"):
            larger = np.where(values < 1, 1 / np.maximum(values, 1e-9), values)
            kept = np.isclose(larger, np.rint(larger), rtol=1e-12) & (larger <= 1000)
            allowed = "integers up to 1000 or their inverses"
        elif key == "TRAIN.IM_SIZE":
            kept, allowed = values % 4 == 0, "multiples of 4"
        else:
            continue
        if not kept.all():
            raise ValueError(f"{key} = {shorten(values[~kept].tolist())}: must be {allowed} in a sweep")


def _stage(section: Shared, parameters: dict[str, Distribution], name: str) -> dict[str, Any]:
    """The template's stage; in the parameters, multipliers of pycls become bottleneck ratios if the block has them."""
    if section.BLOCK_TYPE not in BLOCKS:
        raise ValueError(
            f"SETUP.BASE_CFG.{name}.BLOCK_TYPE = {section.BLOCK_TYPE!r}: must be one of {', '.join(BLOCKS)}"
        )
    block, residual = BLOCKS[section.BLOCK_TYPE]
    multipliers, groups = parameters.pop("bottleneck_ratio"), parameters.pop("group_width")
    if block == "basic":
        if np.any(multipliers.values != 1) or np.any(8 % groups.values):
            keys = " and ".join(f"{name}.{key}" for key, ours in PARAMETERS[name].items() if ours in TEMPLATE)
            raise ValueError(
                f"{keys}: must be 1 and a divisor of 8 with {section.BLOCK_TYPE}, because they change its widths"
            )
        return {"block": block, "residual": residual}
    if multipliers.values.min() < 1:
        warnings.warn(
            f"{name}: with a bottleneck multiplier below 1, pycls fits widths to groups twice, so some networks have "
            "other widths there",
            stacklevel=3,
        )
    parameters |= {"bottleneck_ratio": _inverse(multipliers), "group_width": groups}
    return {"block": block, "se_ratio": section.se_ratio}


def _inverse(distribution: Distribution) -> Distribution:
    """The distribution of 1/x."""
    if isinstance(distribution, PowerOfTwo):
        return distribution.changed(low=1 / distribution.high, high=1 / distribution.low)
    return Choice(
        options=tuple((1 / distribution.values).tolist()),
        weights=tuple(distribution.probabilities.tolist()),
        per_stage=distribution.per_stage,
    )
