"""The ladder from AnyNetX_A to AnyNetX_E: each space is the one before with one restriction (2003.13678, Table 1)."""

from designspace.distributions import Choice, LogUniform, PowerOfTwo
from designspace.spaces.settings import Template
from designspace.spaces.space import DesignSpace

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

# Residual on or off with all else equal: ResNet's basic blocks against plain ones (arXiv 1512.03385, § 4.1).
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
