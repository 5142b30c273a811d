"""Compound scaling of any spec by factors of depth, width, resolution and group width.

EfficientNet (arXiv 1905.11946) scales depth, width and resolution together. Fast compound scaling (2103.06877) mainly
scales the width, so activations grow nearly as the square root of the multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from designspace.counting import LARGEST, complexity
from designspace.layers import Number, where
from designspace.spec import ModelSpec
from designspace.study import Study
from designspace.validated import unknown
from designspace.widths import fit_stage, round_channels, round_group_width, round_repeats, round_to

Factor = float | np.ndarray
Rule = Literal["d", "w", "r", "dw", "dr", "wr", "dwr", "dWr"]

# Exponents (e_d, e_w, e_r) of the growth s = d·w²·r² of the multiply-adds: d = s^e_d, w = s^(e_w/2), r = s^(e_r/2)
# (arXiv 2103.06877, § 4).
RULES: dict[str, tuple[float, float, float]] = {
    "d": (1, 0, 0),
    "w": (0, 1, 0),
    "r": (0, 0, 1),
    "dw": (1 / 2, 1 / 2, 0),
    "dr": (1 / 2, 0, 1 / 2),
    "wr": (0, 1 / 2, 1 / 2),
    "dwr": (1 / 3, 1 / 3, 1 / 3),
    "dWr": (0.1, 0.8, 0.1),
}


COEFFICIENTS = ({"alpha", "beta", "gamma"}, {"width_exponent"})
"""Parameters of a space that define a `Scaling`."""

TINY = 1e-12
"""Growth that gives the smallest network of a rule: every number is rounded up to its minimum."""


@dataclass(frozen=True)
class Factors:
    """Factors of depth, width, resolution and group width; numbers, or arrays of shape (N,)."""

    depth: Factor = 1.0
    width: Factor = 1.0
    resolution: Factor = 1.0
    group_width: Factor = 1.0


def rule_factors(rule: str, growth: Factor) -> Factors:
    """Factors of a rule that scale the multiply-adds by about `growth`; group widths scale like widths.

    Raises:
        ValueError: unknown rule, or growth is not positive.
    """
    if rule not in RULES:
        raise ValueError(unknown("rule", rule, RULES))
    if np.min(growth) <= 0:
        raise ValueError(f"growth = {growth}: must be greater than 0")
    return _grown(growth, *RULES[rule])


def width_exponent_factors(exponent: Factor, growth: Factor) -> Factors:
    """Factors of fast compound scaling: the exponent of the width is free, depth and resolution share the rest.

    d = s^((1-α)/2), w = s^(α/2), r = s^((1-α)/4), so d·w²·r² = s. α = 0.8 is dWr, 1 is w, 1/3 is dwr and 0 is dr
    (arXiv 2103.06877, § 4).

    Args:
        exponent: α, from 0 to 1.
        growth: s, the factor of the multiply-adds.
    """
    rest = (1 - np.asarray(exponent)) / 2
    return _grown(growth, rest, exponent, rest)


def _grown(growth: Factor, depth: Factor, width: Factor, resolution: Factor) -> Factors:
    wider = np.power(growth, width / 2)  # np.power for scalars too: ** of floats differs in the last bit
    return Factors(np.power(growth, depth), wider, np.power(growth, resolution / 2), wider)


def efficientnet_factors(alpha: Factor, beta: Factor, gamma: Factor, phi: Factor) -> Factors:
    """d = α^φ, w = β^φ, r = γ^φ (arXiv 1905.11946, Eq. 3); group widths do not change."""
    return Factors(np.power(alpha, phi), np.power(beta, phi), np.power(gamma, phi))


def scale_networks(
    spec: ModelSpec, factors: Factors, depth_rounding: Literal["nearest", "up"] = "nearest"
) -> ModelSpec:
    """A scaled spec; if the factors are arrays, its numbers are arrays.

    Depths are rounded (EfficientNet: up), widths to multiples of 8, resolutions to multiples of 4, and group widths to
    1, 2, 4 or multiples of 8 as in pycls; then widths and group widths are made compatible. The head's convolution
    never becomes narrower (MobileNetV2, arXiv 1801.04381, § 6.1), and a stage with padding "valid" keeps its one block.
    A factor of 1 changes nothing.
    """
    resolution = _scaled(spec.resolution, factors.resolution, partial(round_to, multiple=4))
    changes: dict[str, Any] = {"name": None, "resolution": resolution}
    width_in: Number = spec.in_channels
    if spec.stem is not None:
        width_in = _scaled(spec.stem.width, factors.width, round_channels)
        hidden = tuple(_scaled(width, factors.width, round_channels) for width in spec.stem.hidden)
        changes["stem"] = spec.stem.model_copy(update={"width": width_in, "hidden": hidden})
    if spec.head.width is not None:
        width = _scaled(spec.head.width, np.maximum(1, factors.width), round_channels)
        changes["head"] = spec.head.model_copy(update={"width": width})
    refit = np.not_equal(factors.width, 1) | np.not_equal(factors.group_width, 1)
    round_depth = partial(round_repeats, up=depth_rounding == "up")
    stages = []
    for stage in spec.stages:
        fields = dict(stage)
        if fields.get("padding") != "valid":
            fields["depth"] = _scaled(stage.depth, factors.depth, round_depth)
        fields["width"] = _scaled(stage.width, factors.width, round_channels)
        group = fields.get("group_width")
        if group not in (None, 1):
            fields["group_width"] = _scaled(group, factors.group_width, round_group_width)
        if group is not None and np.any(refit):
            fitted = fit_stage(fields, width_in)
            fields |= {name: where(refit, fitted[name], fields[name]) for name in ("width", "group_width")}
        width_in = fields["width"]
        stages.append(stage.model_copy(update=fields))
    return spec.model_copy(update=changes | {"stages": tuple(stages)})


def scale(spec: ModelSpec, factors: Factors, depth_rounding: Literal["nearest", "up"] = "nearest") -> ModelSpec:
    """A validated spec scaled by numbers; see `scale_networks`."""
    return ModelSpec.from_mapping(scale_networks(spec, factors, depth_rounding).to_mapping())


@dataclass(frozen=True)
class Scaling:
    """A way to scale a network to any size, such as the best of a search.

    Give `alpha`, `beta` and `gamma` (EfficientNet, arXiv 1905.11946, Eq. 3), or `width_exponent` (arXiv 2103.06877), or
    a rule of RULES.

    Args:
        alpha, beta, gamma: factors of depth, width and resolution for φ = 1, at least 1, and one of them above 1.
        width_exponent: from 0 to 1.
        rule: name of a rule.
    """

    alpha: float | None = None
    beta: float | None = None
    gamma: float | None = None
    width_exponent: float | None = None
    rule: str | None = None

    def __post_init__(self) -> None:
        coefficients = {"alpha": self.alpha, "beta": self.beta, "gamma": self.gamma}
        given = [name for name, value in coefficients.items() if value is not None]
        if (len(given) > 0) + (self.width_exponent is not None) + (self.rule is not None) != 1:
            raise ValueError("scaling: must have alpha, beta and gamma, or width_exponent, or rule")
        if self.rule is not None and self.rule not in RULES:
            raise ValueError(unknown("rule", self.rule, RULES))
        if self.width_exponent is not None and not 0 <= self.width_exponent <= 1:
            raise ValueError(f"width_exponent = {self.width_exponent:g}: must be from 0 to 1")
        for name, value in coefficients.items() if given else ():
            if value is None:
                raise ValueError(f"{name}: required with {' and '.join(given)}")
            if not 1 <= value < np.inf:
                raise ValueError(f"{name} = {value:g}: must be at least 1")
        if given and self.base == 1:
            raise ValueError("alpha = beta = gamma = 1: one of them must be above 1")

    @classmethod
    def from_study(cls, path: str | Path) -> Scaling:
        """The scaling of the best model of a study, by the mean error over its seeds.

        Args:
            path: folder of a study with a space that draws alpha, beta and gamma, or width_exponent.

        Raises:
            FileNotFoundError: the folder is not a study.
            ValueError: no space draws them, or no model finished.
        """
        study = Study.open(path)
        records, _ = study.read_records()
        errors: dict[tuple[str, int], list[float]] = {}
        settings: dict[tuple[str, int], Scaling] = {}
        for model in study.models:
            names = next((names for names in COEFFICIENTS if names <= model.parameters.keys()), None)
            if names is None:
                continue
            place = (model.space, model.index)
            record = records.get(model.key)
            error = record.error_percent if record is not None and record.status == "ok" else None
            errors.setdefault(place, []).append(np.inf if error is None else error)
            settings[place] = cls(**{name: model.parameters[name] for name in names})
        if not settings:
            kinds = " or ".join(", ".join(sorted(names)) for names in COEFFICIENTS)
            raise ValueError(f"{path}: must have a space that draws {kinds}")
        best = min(settings, key=lambda place: float(np.mean(errors[place])))
        if not np.isfinite(np.mean(errors[best])):
            raise ValueError(f"{path}: no model finished with all of its seeds")
        return settings[best]

    @property
    def base(self) -> float:
        """Growth of the multiply-adds for φ = 1: α·β²·γ², and 2 without α, β and γ."""
        if self.alpha is None or self.beta is None or self.gamma is None:
            return 2.0
        return self.alpha * self.beta**2 * self.gamma**2

    def factors(self, phi: Factor) -> Factors:
        """Factors at φ, which grow the multiply-adds by about `base` to the power of φ."""
        if self.alpha is not None and self.beta is not None and self.gamma is not None:
            return efficientnet_factors(self.alpha, self.beta, self.gamma, phi)
        growth = np.power(self.base, phi)
        if self.width_exponent is not None:
            return width_exponent_factors(self.width_exponent, growth)
        return rule_factors(str(self.rule), growth)

    @property
    def text(self) -> str:
        """The coefficients, or the rule."""
        names = ("alpha", "beta", "gamma", "width_exponent")
        values = [f"{name} {value:.4g}" for name in names if (value := getattr(self, name)) is not None]
        return ", ".join(values) or f"rule {self.rule}"

    @property
    def depth_rounding(self) -> Literal["nearest", "up"]:
        """Up for EfficientNet's coefficients, as in its code."""
        return "nearest" if self.alpha is None else "up"

    def at(self, spec: ModelSpec, phi: float) -> ModelSpec:
        """The spec scaled to φ; 0 changes nothing.

        Raises:
            ValueError: φ is not finite, or the network is too large or too small.
        """
        if not abs(phi) < 100:
            raise ValueError(f"phi = {phi:g}: must be between -100 and 100")
        return scale(spec, self.factors(phi), self.depth_rounding)

    def to(self, spec: ModelSpec, macs: float) -> tuple[ModelSpec, float]:
        """The spec scaled to a number of multiply-adds, as close as rounding allows, and its φ.

        Raises:
            ValueError: macs is too large, or below that of every network.
        """
        if not 0 < macs <= LARGEST:
            raise ValueError(f"macs = {macs:g}: must be greater than 0 and at most {LARGEST:.2g}")
        smallest = int(self._macs(spec, TINY))
        if macs < smallest:
            raise ValueError(f"macs = {macs:g}: must be at least {smallest:,}, the smallest network of {self.text}")
        guess = macs / complexity(spec).macs
        growths = guess * np.geomspace(1 / 4, 4, 8001)
        reached = self._macs(spec, growths)
        if macs < reached.min():  # rounding up dominates in very small networks
            growths = np.geomspace(TINY, guess, 8001)
            reached = self._macs(spec, growths)
        phi = float(np.log(growths[np.argmin(np.abs(np.log(reached / macs)))]) / np.log(self.base))
        return self.at(spec, phi), phi

    def _macs(self, spec: ModelSpec, growth: Factor) -> np.ndarray:
        factors = self.factors(np.log(growth) / np.log(self.base))
        return np.asarray(complexity(scale_networks(spec, factors, self.depth_rounding)).macs)


def scale_to(spec: ModelSpec, macs: float, rule: str = "dWr") -> tuple[ModelSpec, float]:
    """The spec scaled by a rule to a target number of multiply-adds, and the growth; see `Scaling.to`."""
    scaled, phi = Scaling(rule=rule).to(spec, macs)
    return scaled, 2.0**phi


def _scaled(value: int, factor: Factor, rounded: Callable[[Factor], Number]) -> Number:
    return where(np.not_equal(factor, 1), rounded(value * factor), value)
