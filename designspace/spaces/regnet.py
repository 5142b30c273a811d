"""RegNet spaces: widths by the quantized linear rule (2003.13678, § 3.3), and their variants of § 4 and App. D."""

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
    size=64**4 * 3 * 6,  # Table 1 counts 64 values each for d, w_0, w_a and w_m
)
regnety = regnetx.with_template(stage={"block": "bottleneck", "se_ratio": 0.25}).named("regnety")

# § 4: b = 1, d <= 40, w_m >= 2, params and acts limited (Fig. 13); inverted and depthwise (Fig. 14)
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

# The other blocks of Fig. 23: R is X without groups, V one 3×3 convolution, VR the same with a residual
regnet_r = regnetx.with_distributions(group_width=None).changed(size=64**4 * 3).named("regnet_r")
regnet_v = (
    regnet_r.with_distributions(bottleneck_ratio=None)
    .with_template(stage={"block": "vanilla"})
    .changed(size=64**4)
    .named("regnet_v")
)
regnet_vr = regnet_v.with_template(stage={"block": "vanilla", "residual": True}).named("regnet_vr")
regnet_basic = regnet_v.with_template(stage={"block": "basic"}).named("regnet_basic")
