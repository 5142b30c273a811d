"""Specs as configurations of pycls (facebookresearch/pycls) and back: anynet, regnet and effnet."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from designspace.export.pycls_anynet import SUPPORT, AnyNet, RegNet, from_anynet, to_anynet, to_regnet, unroll
from designspace.export.pycls_effnet import EffNet, from_effnet, to_effnet
from designspace.export.pycls_keys import Model, Train, common, read_section
from designspace.files import read_mapping
from designspace.quantized_linear import QuantizedLinear
from designspace.spec import ModelSpec


def from_pycls(config: Mapping[str, Any], name: str | None = None) -> ModelSpec:
    """The network of a pycls configuration.

    Keys outside MODEL, the model's own section and TRAIN.IM_SIZE say how it is trained and are left alone. pycls's
    defaults hold for what is not given. Where every stage has the group width of one single group, as in ResNet, the
    spec's group width is None.

    Args:
        config: the mapping of a YAML file, MODEL.TYPE anynet, regnet or effnet.
        name: a label for the spec.

    Raises:
        ValueError: unknown model type, block, stem or key, a value of the wrong type or out of range, or numbers that
            do not fit each other; the message names the key.
    """
    if not isinstance(config, Mapping):
        raise ValueError(f"config = {config!r}: must be a mapping")
    model = read_section(config, "MODEL", Model)
    if model.TYPE == "anynet":
        mapping = from_anynet(read_section(config, "ANYNET", AnyNet))
    elif model.TYPE == "regnet":
        mapping = from_anynet(unroll(read_section(config, "REGNET", RegNet)), one_group=False)
    else:
        mapping = from_effnet(read_section(config, "EN", EffNet))
    mapping["activation"] = "silu" if model.ACTIVATION_FUN == "swish" else model.ACTIVATION_FUN
    mapping["head"]["classes"] = model.NUM_CLASSES
    mapping["resolution"] = read_section(config, "TRAIN", Train).IM_SIZE
    return ModelSpec.from_mapping(mapping | {"name": name} if name else mapping)


def load_pycls(path: str | Path) -> ModelSpec:
    """The network of a pycls YAML file, named after the file; else as `from_pycls`."""
    path = Path(path)
    config = read_mapping(path)
    try:
        return from_pycls(config, path.stem)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def to_pycls(spec: ModelSpec, rule: QuantizedLinear | None = None) -> dict[str, Any]:
    """The pycls configuration of a network: the model's section, classes and image size; no training settings.

    Args:
        spec: the network; inverted blocks with SE become effnet, all others anynet.
        rule: write regnet, with the width rule the network was made by, instead of anynet.

    Raises:
        NotExpressible: pycls has no words for the network.
        ValueError: the rule gives another network.
    """
    if spec.in_channels != 3:
        SUPPORT.refuse("in_channels", spec.in_channels, "its stems read three channels")
    if spec.stages[0].block == "inverted":
        return common(spec, "effnet") | {"EN": to_effnet(spec)} | _sizes(spec)
    SUPPORT.check(spec)
    anynet = to_anynet(spec)
    if rule is None:
        return common(spec, "anynet") | {"ANYNET": anynet} | _sizes(spec)
    config = common(spec, "regnet") | {"REGNET": to_regnet(anynet, rule)} | _sizes(spec)
    if to_anynet(from_pycls(config)) != anynet:
        raise ValueError(f"rule = {rule}: it does not give the widths and depths of the spec")
    return config


def _sizes(spec: ModelSpec) -> dict[str, Any]:
    """Image sizes with pycls's usual border in testing: 224 pixels out of 256."""
    return {"TRAIN": {"IM_SIZE": spec.resolution}, "TEST": {"IM_SIZE": round(spec.resolution / 0.875)}}
