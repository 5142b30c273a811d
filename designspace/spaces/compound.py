"""Spaces of scaled networks: any spec, grown by EfficientNet's grid or by one rule of fast compound scaling."""

from designspace.distributions import LogUniform, Uniform
from designspace.scaling import RULES
from designspace.spaces.settings import Constraints
from designspace.spaces.space import DesignSpace

# EfficientNet's grid (arXiv 1905.11946, § 3.3): α·β²·γ² near 2, all at least 1, and φ the number of doublings
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

# One factor for each axis, all free; a spec with groups may draw a group_width_factor too
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

# Growth of the multiply-adds by one rule (arXiv 2103.06877): one axis, or several together
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
