"""Compound scaling of any spec by factors of depth, width, resolution and group width.

EfficientNet (arXiv 1905.11946) scales depth, width and resolution together. Fast compound scaling (2103.06877) mainly
scales the width, so activations grow nearly as the square root of the multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from designspace.counting import LARGEST, complexity
from designspace.layers import Number, where
from designspace.spec import ModelSpec
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
    depth, width, resolution = RULES[rule]
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


def scale_to(spec: ModelSpec, macs: float, rule: str = "dWr") -> tuple[ModelSpec, float]:
    """The spec scaled by a rule to a target number of multiply-adds, and the growth.

    Raises:
        ValueError: unknown rule, or macs is too large, or below that of every network of the rule.
    """
    if not 0 < macs <= LARGEST:
        raise ValueError(f"macs = {macs:g}: must be greater than 0 and at most {LARGEST:.2g}")
    smallest = int(complexity(scale_networks(spec, rule_factors(rule, TINY))).macs)
    if macs < smallest:
        raise ValueError(f"macs = {macs:g}: must be at least {smallest:,}, the smallest network of rule {rule}")
    guess = macs / complexity(spec).macs
    growths = guess * np.geomspace(1 / 4, 4, 8001)
    reached = complexity(scale_networks(spec, rule_factors(rule, growths))).macs
    if macs < reached.min():  # rounding up dominates in very small networks
        growths = np.geomspace(TINY, guess, 8001)
        reached = complexity(scale_networks(spec, rule_factors(rule, growths))).macs
    growth = float(growths[np.argmin(np.abs(np.log(reached / macs)))])
    return scale(spec, rule_factors(rule, growth)), growth


def _scaled(value: int, factor: Factor, rounded: Callable[[Factor], Number]) -> Number:
    return where(np.not_equal(factor, 1), rounded(value * factor), value)
