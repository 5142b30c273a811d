"""Families: functions from arrays of drawn parameters to a spec whose numbers are arrays.

A family also returns a mask, shape (N,), of the draws that produce a network. The spec contains only those.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from designspace import zoo
from designspace.blocks import stage_class
from designspace.scaling import Factors, efficientnet_factors, rule_factors, scale_networks, width_exponent_factors
from designspace.spaces.settings import Draws, Family, Settings
from designspace.spec import ModelSpec
from designspace.widths import fit_stage, round_number, stage_arrays


def anynet(space: Settings, draws: Draws) -> tuple[np.ndarray, ModelSpec]:
    """Stages with free or fixed `depth` and `width` (arXiv 2003.13678, § 3.2)."""
    n = len(next(iter(draws.values())))
    stages = [space.template.stage_settings(number) for number in range(len(space.template.strides))]
    widths, depths = (
        draws[name] if name in draws else np.tile([stage[name] for stage in stages], (n, 1))
        for name in ("width", "depth")
    )
    return np.ones(n, bool), assemble(space, widths, depths, draws)


def regnet(space: Settings, draws: Draws) -> tuple[np.ndarray, ModelSpec]:
    """Stages from `depth`, `w_0`, `w_a` and `w_m` by the quantized linear rule (arXiv 2003.13678, § 3.3).

    Draws whose number of stages differs from the template's are rejected.
    """
    kept, widths, depths = stage_arrays(
        draws["depth"], draws["w_0"], draws["w_a"], draws["w_m"], len(space.template.strides)
    )
    return kept, assemble(space, widths, depths, {name: values[kept] for name, values in draws.items()})


def compound(space: Settings, draws: Draws) -> tuple[np.ndarray, ModelSpec]:
    """Scale the spec of the space (arXiv 1905.11946, 2103.06877; see `designspace.scaling`).

    The factors follow from `growth` and the space's rule or `width_exponent`, or from `alpha`, `beta`, `gamma` and
    `phi`, or are free parameters: `depth_factor`, `width_factor`, `resolution_factor`, `group_width_factor`.
    """
    base = ModelSpec.from_mapping(space.spec) if isinstance(space.spec, dict) else zoo.spec(str(space.spec))
    template = space.template
    settings = {"resolution", "in_channels", "activation", "batch_norm", "norm", "conv_bias", "stem"}
    given = template.model_fields_set & settings
    changes: dict[str, Any] = {name: getattr(template, name) for name in given}
    if "head" in template.model_fields_set:
        changes["head"] = base.head.changed(classes=template.head.classes)
    if "strides" in template.model_fields_set:
        if len(template.strides) != len(base.stages):
            raise ValueError(f"template.strides = {list(template.strides)}: must be {len(base.stages)} strides")
        pairs = zip(base.stages, template.strides, strict=True)
        changes["stages"] = tuple(stage.changed(stride=stride) for stage, stride in pairs)
    base = base.changed(**changes)
    kept = np.ones(len(next(iter(draws.values()))), bool)
    return kept, scale_networks(base, factors(space, draws), "up" if "phi" in draws else "nearest")


def factors(space: Settings, draws: Draws) -> Factors:
    """Factors of compound scaling from the draws."""
    if "width_exponent" in draws:
        return width_exponent_factors(draws["width_exponent"], draws["growth"])
    if "growth" in draws:
        return rule_factors(space.rule or "dWr", draws["growth"])
    if "phi" in draws:
        return efficientnet_factors(*(draws[name] for name in ("alpha", "beta", "gamma", "phi")))
    names = ("depth", "width", "resolution", "group_width")
    return Factors(**{name: draws[f"{name}_factor"] for name in names if f"{name}_factor" in draws})


FAMILIES: dict[str, Family] = {"anynet": anynet, "regnet": regnet, "compound": compound}


def assemble(space: Settings, widths: np.ndarray, depths: np.ndarray, draws: Draws) -> ModelSpec:
    """A spec of arrays from stage widths and depths, shape (N, S) or (N,), and the drawn fields of the stages.

    Widths and group widths are made compatible. Drawn `groups` (cardinality in ResNeXt) set the group width.
    """
    template = space.template
    kind = stage_class(template.stage["block"])
    drawn = {name: values for name, values in draws.items() if name in {*kind.model_fields, "groups"}}
    drawn |= {"width": widths, "depth": depths}
    stages = []
    w_in: Any = template.stem.width if template.stem else template.in_channels
    for number, stride in enumerate(template.strides):
        fields = {name: field.default for name, field in kind.model_fields.items()} | template.stage_settings(number)
        fields |= {name: values[:, number] if values.ndim == 2 else values for name, values in drawn.items()}
        if (groups := fields.pop("groups", None)) is not None:
            fields["group_width"] = np.maximum(1, round_number(fields["width"] / fields["bottleneck_ratio"]) // groups)
        fields = fit_stage(fields | {"stride": stride}, w_in)
        w_in = fields["width"]
        stages.append(kind.model_construct(**fields))
    return ModelSpec.model_construct(
        resolution=draws.get("resolution", template.resolution),  # type: ignore[arg-type]
        in_channels=template.in_channels,
        activation=template.activation,
        batch_norm=template.batch_norm,
        conv_bias=template.conv_bias,
        stem=template.stem,
        stages=tuple(stages),
        head=template.head,
        norm=template.norm,
    )
