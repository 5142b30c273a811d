"""Sweep configurations of pycls as design spaces.

Sources in facebookresearch/pycls: docs/SWEEP_INFO.md, `sweep/config.py`, `sweep/samplers.py`, `sweep/random.py`.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import log2
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from designspace.distributions import MOST_VALUES, Choice, Distribution, LogUniform, PowerOfTwo, Uniform
from designspace.pycls import PARAMETERS, SECTIONS, from_pycls
from designspace.pycls.anynet import BLOCKS, AnyNet, RegNet, Shared
from designspace.pycls.keys import Model, Train, one_of, read_section
from designspace.spaces.sampling import DesignSpace
from designspace.validated import Name, Validated, key_text, shorten
from designspace.widths import round_group_width

UNLIMITED = 1e18  # above all counts; 0 is no upper limit in pycls
TEMPLATE = ("resolution", "group_width", "bottleneck_ratio")
"""Parameters that go into the template if they are not drawn."""

Pair = tuple[float, float]
StageCount = Annotated[int, Field(ge=1, le=100, strict=True)]


OPTIM = {"OPTIM.BASE_LR": "learning_rate", "OPTIM.WEIGHT_DECAY": "weight_decay"}
"""Our names of the training settings that can be sampled."""

SCALARS = ("value_sampler", "float_sampler", "int_sampler")
RAND_TYPES = ("uniform", "log_uniform", "power2_uniform", "power2_or_log_uniform")
"""Supported types; pycls also has clipped normal and log_normal."""

CONTINUOUS: dict[str, type[Validated]] = {"uniform": Uniform, "log_uniform": LogUniform}

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
    NUM_STAGES: tuple[StageCount, StageCount] = (4, 4)


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

    Samplers of REGNET, ANYNET, OPTIM and TRAIN.IM_SIZE keys become distributions with the probabilities of pycls,
    CONSTRAINTS become constraints, and BASE_CFG becomes the template, with a list where its stages differ. If only
    OPTIM is sampled, all models are the network of BASE_CFG. Its ranges become continuous if QUANTIZE gives more than a
    million values. OPTIM.BASE_LR is the peak rate at TRAIN.BATCH_SIZE. pycls drops draws with repeated parameters; a
    space keeps them (see `duplicates`). Warns if pycls would round the widths of some networks twice.

    Args:
        config: the mapping of a sweep's YAML file.

    Raises:
        ValueError: an unknown key, a wrong value, or a setting that a space cannot express: samplers of other training
            settings, normal and log-normal samplers, several numbers of stages, models other than anynet and regnet,
            values that pycls would round. The message names the key.
    """
    sweep = Sweep.from_mapping(config)
    constraints, base = sweep.SETUP.CONSTRAINTS, sweep.SETUP.BASE_CFG
    if sweep.SETUP.SAMPLERS.keys() <= OPTIM.keys():
        return _one_network(sweep)
    with _naming("SETUP.BASE_CFG."):
        model = read_section(base, "MODEL", _Model)
        resolution = read_section(base, "TRAIN", Train).IM_SIZE
        name = SECTIONS[model.TYPE]
        section: Any = read_section(base, name, RegNet if name == "REGNET" else AnyNet)
    strides = _strides(section, constraints.REGNET.NUM_STAGES)
    distributions = _read_samplers(sweep.SETUP.SAMPLERS, name, len(strides))
    distributions.setdefault("TRAIN.IM_SIZE", Choice(options=(resolution,)))
    differing = set()  # parameters whose fixed values differ between the stages
    for key, ours in PARAMETERS[name].items():
        if f"{name}.{key}" not in distributions:
            values = _fixed(f"SETUP.BASE_CFG.{name}.{key}", getattr(section, key), len(strides))
            distributions[f"{name}.{key}"] = values
            differing |= {ours} if len(values.values) > 1 else set()
    _check_values(distributions)
    names = {f"{name}.{key}": ours for key, ours in PARAMETERS[name].items()} | OPTIM | {"TRAIN.IM_SIZE": "resolution"}
    parameters = {names[key]: distribution for key, distribution in distributions.items()}
    stage = _stage(section, parameters, name)
    for ours in differing & parameters.keys():
        stage |= {ours: _per_stage(section, name, ours)}
        del parameters[ours]
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


def _one_network(sweep: Sweep) -> DesignSpace:
    """The network of BASE_CFG, with sampled training settings."""
    with _naming("SETUP.BASE_CFG."):
        spec = from_pycls(sweep.SETUP.BASE_CFG)
    distributions = _read_samplers(sweep.SETUP.SAMPLERS)
    _check_values(distributions)
    space = {
        "name": sweep.NAME,
        "family": "compound",
        "spec": spec.to_mapping(),
        "parameters": {"depth_factor": Choice(options=(1.0,))}
        | {OPTIM[key]: distribution for key, distribution in distributions.items()},
        "constraints": sweep.SETUP.CONSTRAINTS.CX.limits(),
    }
    with _naming("SETUP: "):
        return DesignSpace.from_mapping(space)


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
    """The fixed values of a key, one or one per stage, as a distribution for checks."""
    if not isinstance(value, tuple):
        value = (value,)
    elif not value and prefix.endswith(("GROUP_WS", "BOT_MULS")):
        value = (1,)  # pycls `models/scaler.py`
    elif len(value) != stages:
        raise ValueError(
            f"{prefix} = {shorten(list(value))}: must be sampled or have one value for each of {stages} stages"
        )
    with _naming(f"{prefix}: "):
        return Choice.from_mapping({"options": sorted(set(value))})


def _per_stage(section: Any, name: str, ours: str) -> list[Any]:
    """The fixed values of a parameter, one per stage."""
    key = next(key for key, parameter in PARAMETERS[name].items() if parameter == ours)
    values = getattr(section, key)
    return [1 / value for value in values] if ours == "bottleneck_ratio" else list(values)


def _check_values(distributions: Mapping[str, Distribution]) -> None:
    """Raise ValueError for values that pycls rounds in a sweep."""
    for key, distribution in distributions.items():
        values = distribution.values
        can_be_zero = key in ("REGNET.WA", "OPTIM.WEIGHT_DECAY")
        if values.dtype.kind not in "if" or values.min() < 0 or (values.min() == 0 and not can_be_zero):
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
    fields = BLOCKS[section.BLOCK_TYPE]
    multipliers, groups = parameters.pop("bottleneck_ratio"), parameters.pop("group_width")
    if fields["block"] == "basic":
        if np.any(multipliers.values != 1) or np.any(8 % groups.values):
            keys = " and ".join(f"{name}.{key}" for key, ours in PARAMETERS[name].items() if ours in TEMPLATE)
            raise ValueError(
                f"{keys}: must be 1 and a divisor of 8 with {section.BLOCK_TYPE}, because they change its widths"
            )
        return fields
    if multipliers.values.min() < 1:
        warnings.warn(
            f"{name}: with a bottleneck multiplier below 1, pycls fits widths to groups twice, so some networks have "
            "other widths there",
            stacklevel=3,
        )
    parameters |= {"bottleneck_ratio": _inverse(multipliers), "group_width": groups}
    return fields | {"se_ratio": section.se_ratio}


def _inverse(distribution: Distribution) -> Distribution:
    """The distribution of 1/x."""
    if isinstance(distribution, PowerOfTwo):
        return distribution.changed(low=1 / distribution.high, high=1 / distribution.low)
    return Choice(
        options=tuple((1 / distribution.values).tolist()),
        weights=tuple(distribution.probabilities.tolist()),
        per_stage=distribution.per_stage,
    )


def _read_samplers(samplers: Mapping[str, Any], section: str = "", stages: int = 0) -> dict[str, Distribution]:
    """Distributions of the sampled keys of a section (REGNET or ANYNET), like REGNET.W0, of TRAIN.IM_SIZE and of OPTIM.

    Keys of ANYNET are drawn per stage.
    """
    drawable = (*(f"{section}.{key}" for key in PARAMETERS.get(section, ())), "TRAIN.IM_SIZE", *OPTIM)
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
            parts = {key: _scalar(key_path, sampler, may_be_continuous=key in OPTIM)}
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


def _scalar(key_path: str, sampler: Any, *, may_be_continuous: bool = False) -> Distribution:
    kind = _type(key_path, sampler, SCALARS)
    if kind == "value_sampler":
        return _made(f"{key_path}.VALUES", Choice, options=read_section({key_path: sampler}, key_path, _Values).VALUES)
    scalar: Any = read_section({key_path: sampler}, key_path, _Integers if kind == "int_sampler" else _Floats)
    low, high = scalar.RANGE
    if may_be_continuous and scalar.RAND_TYPE in CONTINUOUS and high - low >= MOST_VALUES * scalar.QUANTIZE:
        return _made(f"{key_path}.RANGE", CONTINUOUS[scalar.RAND_TYPE], low=low, high=high, step=None)
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
    with _naming(f"{key_path}: "):
        return kind.from_mapping(fields)
