"""The named design spaces, with their sources."""

from __future__ import annotations

import numpy as np

from designspace.distributions import Choice, Distribution, LogUniform, PowerOfTwo, Uniform
from designspace.scaling import RULES
from designspace.spaces.sampling import DesignSpace
from designspace.spaces.settings import Constraints, Template
from designspace.spec import Head, Stem

# AnyNetX_A to AnyNetX_E: each space adds one restriction to the one before (arXiv 2003.13678, Table 1).
anynetx_a = DesignSpace(
    name="anynetx_a",
    family="anynet",
    parameters={
        "depth": LogUniform(low=1, high=16, per_stage=True),
        "width": LogUniform(low=8, high=1024, step=8, per_stage=True),
        "bottleneck_ratio": Choice(options=(1, 2, 4), per_stage=True),
        "group_width": PowerOfTwo(low=1, high=32, per_stage=True),
    },
)
anynetx_b = anynetx_a.share("bottleneck_ratio").named("anynetx_b")
anynetx_c = anynetx_b.share("group_width").named("anynetx_c")
anynetx_d = anynetx_c.increase("width").named("anynetx_d")
anynetx_e = anynetx_d.increase("depth").named("anynetx_e")

# Residual on or off, all else equal: ResNet's basic blocks against plain ones (arXiv 1512.03385, § 4.1).
residual = DesignSpace(
    name="residual",
    family="anynet",
    parameters={
        "depth": LogUniform(low=1, high=16, per_stage=True),
        "width": LogUniform(low=8, high=1024, step=8, per_stage=True),
        "residual": Choice(options=(True, False)),
    },
    increasing=("width",),
    template=Template(stage={"block": "basic"}),
)

WIDTH_RULE: dict[str, Distribution] = {  # ranges of RegNetX
    "depth": LogUniform(low=4, high=63),
    "w_0": LogUniform(low=8, high=256, step=8),
    "w_a": LogUniform(low=8, high=256, step=0.1),
    "w_m": Uniform(low=1.5, high=3.0, step=0.001),
}

# RegNetX: widths by the quantized linear rule (arXiv 2003.13678, § 3.3).
regnetx = DesignSpace(
    name="regnetx",
    family="regnet",
    parameters={
        **WIDTH_RULE,
        "bottleneck_ratio": Choice(options=(1, 2, 4)),
        "group_width": PowerOfTwo(low=1, high=32),
    },
    size=64**4 * 3 * 6,  # Table 1 counts 64 values each for d, w_0, w_a and w_m
)
regnety = regnetx.with_template(stage={"block": "bottleneck", "se_ratio": 0.25}).named("regnety")

# § 4: b = 1, d <= 40, w_m >= 2, limited params and acts (Fig. 13); inverted and depthwise bottlenecks (Fig. 14).
regnetx_constrained = (
    regnetx.with_distributions(
        depth=LogUniform(low=4, high=40), w_m=Uniform(low=2.0, high=3.0, step=0.001), bottleneck_ratio=None
    )
    .with_constraints(envelope="regnet")
    .changed(size=64**4 * 6)
    .named("regnetx_constrained")
)
regnetx_inverted = (
    regnetx.with_distributions(bottleneck_ratio=Choice(options=(0.125, 0.25, 0.5, 1)))
    .changed(size=64**4 * 4 * 6)
    .named("regnetx_inverted")
)
regnetx_depthwise = (
    regnetx.with_distributions(group_width=Choice(options=(1,))).changed(size=64**4 * 3).named("regnetx_depthwise")
)

# The other blocks of Fig. 23: R is X without groups, V one 3×3 convolution, VR the same with a residual.
regnet_r = regnetx.with_distributions(group_width=None).changed(size=64**4 * 3).named("regnet_r")
regnet_v = (
    regnet_r.with_distributions(bottleneck_ratio=None)
    .with_template(stage={"block": "vanilla"})
    .changed(size=64**4)
    .named("regnet_v")
)
regnet_vr = regnet_v.with_template(stage={"block": "vanilla", "residual": True}).named("regnet_vr")
regnet_basic = regnet_v.with_template(stage={"block": "basic"}).named("regnet_basic")


# Spaces of "On Network Design Spaces for Visual Recognition" (arXiv 1905.13214, Table 1), for CIFAR. The paper gives
# ranges and counts of log-spaced values but not their rounding; here they are rounded to distinct integers.
def log_spaced(low: int, high: int, count: int) -> Choice:
    """Uniform distribution over `count` distinct log-spaced integers, drawn for every stage."""
    values: list[int] = []
    for value in np.geomspace(low, high, count):
        values.append(max(round(value), values[-1] + 1 if values else low))
    return Choice(options=tuple(values), per_stage=True)


def cifar(stem_width: int, **stage: object) -> Template:
    """Template for 32×32 images: three stages at full, half and quarter resolution."""
    return Template(
        resolution=32, stem=Stem(width=stem_width, stride=1), strides=(1, 2, 2), head=Head(classes=10), stage=stage
    )


vanilla = DesignSpace(
    name="vanilla",
    family="anynet",
    parameters={"depth": log_spaced(1, 24, 9), "width": log_spaced(16, 256, 12)},
    template=cifar(16, block="basic", residual=False),
)
resnet = vanilla.changed(template=cifar(16, block="basic")).named("resnet")
resnext_a = DesignSpace(
    name="resnext_a",
    family="anynet",
    parameters={
        "depth": log_spaced(1, 16, 5),
        "width": log_spaced(16, 256, 5),
        "bottleneck_ratio": log_spaced(1, 4, 3),
        "groups": log_spaced(1, 4, 3),
    },
    template=cifar(16, block="bottleneck"),
)
resnext_b = (
    resnext_a.with_distributions(width=log_spaced(64, 1024, 5), groups=log_spaced(1, 16, 5))
    .changed(template=cifar(64, block="bottleneck"))
    .named("resnext_b")
)

# Width and resolution multipliers of MobileNetV2 (arXiv 1801.04381) and V1 (1704.04861), finer than published.
mobilenet = DesignSpace(
    name="mobilenet",
    family="compound",
    spec="MobileNetV2-1.0-224",
    parameters={
        "width_factor": Uniform(low=0.25, high=1.4, step=0.01),
        "resolution_factor": Choice(options=tuple(r / 224 for r in range(96, 225, 16))),
    },
)
mobilenet_v1 = mobilenet.changed(spec="MobileNetV1-1.0-224").named("mobilenet_v1")

# Like RegNetZ: the width rule with MobileNetV2's blocks. Set template.stage.linear = false, or template.stage.shortcut
# = expansions or none, for the ablations of arXiv 1801.04381, Fig. 6.
inverted = DesignSpace(
    name="inverted",
    family="regnet",
    parameters={
        **WIDTH_RULE,
        "expansion_ratio": Uniform(low=1, high=8),
        "group_width": PowerOfTwo(low=1, high=32),
    },
    template=Template(activation="relu6", stage={"block": "inverted"}),
)

# EfficientNet's grid (arXiv 1905.11946, § 3.3): α·β²·γ² near 2, each at least 1; φ is the number of doublings.
compound = DesignSpace(
    name="compound",
    family="compound",
    spec="EfficientNet-B0",
    parameters={
        "alpha": Uniform(low=1.0, high=2.0, step=0.05),
        "beta": Uniform(low=1.0, high=1.4, step=0.05),
        "gamma": Uniform(low=1.0, high=1.4, step=0.05),
        "phi": Uniform(low=0.0, high=4.0, step=0.25),
    },
    constraints=Constraints(growth=(1.9, 2.1)),
)

# One free factor per axis; a spec with groups may also draw a group_width_factor.
compound_free = DesignSpace(
    name="compound_free",
    family="compound",
    spec="EfficientNet-B0",
    parameters={
        "depth_factor": Uniform(low=1.0, high=3.0, step=0.1),
        "width_factor": Uniform(low=1.0, high=2.0, step=0.05),
        "resolution_factor": Uniform(low=1.0, high=2.0, step=0.05),
    },
)

# Growth of the multiply-adds by one rule (arXiv 2103.06877): along one axis, or several together.
by_rule = {
    rule: DesignSpace(
        name="compound_fast" if rule == "dWr" else f"compound_{rule}",
        family="compound",
        spec="EfficientNet-B0",
        rule=rule,
        parameters={"growth": LogUniform(low=1.0, high=16.0, step=0.01)},
    )
    for rule in RULES
}

SPACES: dict[str, DesignSpace] = {
    space.name: space
    for value in list(vars().values())
    for space in (value.values() if isinstance(value, dict) else (value,))
    if isinstance(space, DesignSpace)
}
"""Every design space of this module by name."""
