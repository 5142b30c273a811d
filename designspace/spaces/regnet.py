"""RegNet spaces: widths by the quantized linear rule (2003.13678, § 3.3)."""

from designspace.distributions import Choice, LogUniform, PowerOfTwo, Uniform
from designspace.spaces.space import DesignSpace

regnetx = DesignSpace(
    name="regnetx",
    family="regnet",
    parameters={
        "depth": LogUniform(low=4, high=63),
        "w_0": LogUniform(low=8, high=256, step=8),
        "w_a": LogUniform(low=8, high=256, step=0.1),
        "w_m": Uniform(low=1.5, high=3.0, step=0.001),
        "bottleneck_ratio": Choice(options=(1, 2, 4)),
        "group_width": PowerOfTwo(low=1, high=32),
    },
)
regnetx_inverted = regnetx.with_law(bottleneck_ratio=Choice(options=(0.125, 0.25, 0.5, 1))).named("regnetx_inverted")
