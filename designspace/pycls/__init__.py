"""pycls configurations (facebookresearch/pycls) as specs: anynet, regnet, effnet and the archived resnet.

`designspace.export` writes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from designspace.pycls.anynet import AnyNet, RegNet, from_anynet, from_regnet
from designspace.pycls.effnet import EffNet, from_effnet
from designspace.pycls.keys import Model, Train, read_section
from designspace.pycls.resnet import from_resnet
from designspace.spec import ModelSpec
from designspace.validated import shorten

SECTIONS = {"anynet": "ANYNET", "regnet": "REGNET", "effnet": "EN", "resnet": "RESNET"}
"""Section of each model type."""

PARAMETERS = {
    "REGNET": {
        "DEPTH": "depth",
        "W0": "w_0",
        "WA": "w_a",
        "WM": "w_m",
        "GROUP_W": "group_width",
        "BOT_MUL": "bottleneck_ratio",
    },
    "ANYNET": {"DEPTHS": "depth", "WIDTHS": "width", "GROUP_WS": "group_width", "BOT_MULS": "bottleneck_ratio"},
    "EN": {"DEPTHS": "depth", "WIDTHS": "width", "EXP_RATIOS": "expansion_ratio"},
    "RESNET": {"NUM_GROUPS": "groups", "WIDTH_PER_GROUP": "group_width"},
}
"""Our names of the keys of each section; BOT_MUL is the inverse of our bottleneck ratio."""


def is_pycls(content: Mapping[str, Any]) -> bool:
    """Whether a mapping is a pycls configuration; specs have no key MODEL."""
    return "MODEL" in content


def from_pycls(config: Mapping[str, Any], name: str | None = None) -> ModelSpec:
    """The network of a pycls configuration.

    Reads only MODEL, the model's section and TRAIN.IM_SIZE (for a resnet also TRAIN.DATASET). Missing keys have the
    defaults of pycls. If every stage of an anynet or resnet has a single group, as in ResNet-50, the group width of the
    spec is None. A stage of an effnet whose first block has another expansion than the others becomes two stages.

    Args:
        config: the mapping of a YAML file, MODEL.TYPE anynet, regnet, effnet or resnet.
        name: a label for the spec.

    Raises:
        ValueError: an unknown model type, block, stem or key, a wrong or inconsistent value, or a network that a spec
            cannot express; the message names the key.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"config = {shorten(config)}: must be a mapping")
    model = read_section(config, "MODEL", Model)
    match model.TYPE:
        case "anynet":
            mapping = from_anynet(read_section(config, "ANYNET", AnyNet))
        case "regnet":
            mapping = from_regnet(read_section(config, "REGNET", RegNet))
        case "effnet":
            mapping = from_effnet(read_section(config, "EN", EffNet))
        case _:
            mapping = from_resnet(config)
    mapping["activation"] = model.activation
    mapping["head"] = mapping.get("head", {}) | {"classes": model.NUM_CLASSES}
    mapping["resolution"] = read_section(config, "TRAIN", Train).IM_SIZE
    try:
        return ModelSpec.from_mapping(mapping | {"name": name} if name else mapping)
    except ValueError as error:
        raise ValueError(f"{SECTIONS[model.TYPE]}: {error}") from None
