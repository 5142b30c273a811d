"""From draws to networks: each family takes arrays of free parameters and gives a spec whose numbers are arrays."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np

from designspace.group_width import fit_group_width
from designspace.quantized_linear import stage_arrays
from designspace.spaces.space import DesignSpace, Draws, Family
from designspace.spec import ModelSpec, Stage

STAGES = {kind.model_fields["block"].default: kind for kind in get_args(get_args(Stage)[0])}


def anynet(space: DesignSpace, draws: Draws) -> tuple[np.ndarray, ModelSpec]:
    """Depth and width of each stage are free (arXiv 2003.13678, § 3.2)."""
    everyone = np.ones(len(draws["depth"]), bool)
    return everyone, assemble(space, draws["width"], draws["depth"], draws)


def regnet(space: DesignSpace, draws: Draws) -> tuple[np.ndarray, ModelSpec]:
    """Depth, w_0, w_a and w_m give the stages by the quantized linear rule (arXiv 2003.13678, § 3.3).

    Draws whose rule does not give exactly the template's number of stages are not kept.
    """
    kept, widths, depths = stage_arrays(
        draws["depth"], draws["w_0"], draws["w_a"], draws["w_m"], len(space.template.strides)
    )
    return kept, assemble(space, widths, depths, {name: values[kept] for name, values in draws.items()})


FAMILIES: dict[str, Family] = {"anynet": anynet, "regnet": regnet}


def assemble(space: DesignSpace, widths: np.ndarray, depths: np.ndarray, draws: Draws) -> ModelSpec:
    """A spec of arrays from stage widths and depths, shape (N, S), and the drawn fields of the stages.

    Widths are made to fit the group widths, see `fit_group_width`.
    """
    template = space.template
    kind = STAGES[template.stage["block"]]
    stages = []
    for number, stride in enumerate(template.strides):
        fields: dict[str, Any] = {"width": widths[:, number], "depth": depths[:, number], "stride": stride}
        for name, values in draws.items():
            if name in kind.model_fields and name not in ("width", "depth"):
                fields[name] = values[:, number] if values.ndim == 2 else values
        fields = template.stage | fields
        if fields.get("group_width") is not None:
            fields["width"], fields["group_width"] = fit_group_width(
                fields["width"], fields.get("bottleneck_ratio", 1.0), fields["group_width"]
            )
        stages.append(kind.model_construct(**fields))
    return ModelSpec.model_construct(
        resolution=template.resolution,
        in_channels=template.in_channels,
        activation=template.activation,
        batch_norm=template.batch_norm,
        stem=template.stem,
        stages=tuple(stages),
        head=template.head,
    )
