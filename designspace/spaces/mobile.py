"""Spaces of mobile networks: multipliers of MobileNets, and inverted bottlenecks with free widths."""

from designspace.distributions import Choice, LogUniform, PowerOfTwo, Uniform
from designspace.spaces.settings import Template
from designspace.spaces.space import DesignSpace

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

# RegNetZ-like: the width rule with MobileNetV2's blocks. The ablations of arXiv 1801.04381, Fig. 6 are
# template.stage.linear = false and template.stage.shortcut = expansions or none.
inverted = DesignSpace(
    name="inverted",
    family="regnet",
    parameters={
        "depth": LogUniform(low=4, high=63),
        "w_0": LogUniform(low=8, high=256, step=8),
        "w_a": LogUniform(low=8, high=256, step=0.1),
        "w_m": Uniform(low=1.5, high=3.0, step=0.001),
        "expansion_ratio": Uniform(low=1, high=8),
        "group_width": PowerOfTwo(low=1, high=32),
    },
    template=Template(activation="relu6", stage={"block": "inverted"}),
)
