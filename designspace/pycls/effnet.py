"""The EN section of pycls: EfficientNets and variants (pycls `models/effnet.py`)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from designspace.blocks import Kernel, Stride
from designspace.pycls.keys import Depth, Multiplier, Share, Width, per_stage
from designspace.validated import Validated


class EffNet(Validated):
    """The EN section; tuples have one value per stage."""

    STEM_W: Width = 32
    DEPTHS: tuple[Depth, ...] = ()
    WIDTHS: tuple[Width, ...] = ()
    EXP_RATIOS: tuple[Multiplier, ...] = ()
    SE_R: Share = 0.25
    STRIDES: tuple[Stride, ...] = ()
    KERNELS: tuple[Kernel, ...] = ()
    HEAD_W: Width = 1280
    DC_RATIO: Share = 0.0
    DROPOUT_RATIO: Annotated[float, Field(ge=0, lt=1, strict=True)] = 0.0


def from_effnet(section: EffNet) -> dict[str, Any]:
    """The spec's mapping of an EN section; drop-connect configures training and is ignored.

    pycls truncates where a spec rounds: a block with input width w expands it to int(w·EXP_RATIO), without a
    convolution if that is w, and squeezes it to int(w·SE_R). The spec keeps the given ratios if they produce the same
    widths, and otherwise uses ratios that do. If no ratio fits both input widths of a stage, its first block becomes a
    stage.
    """
    keys = ("DEPTHS", "WIDTHS", "STRIDES", "KERNELS", "EXP_RATIOS")
    stages: list[dict[str, Any]] = []
    w_in = section.STEM_W
    for depth, width, stride, kernel_size, expansion in per_stage("EN", section.model_dump(), keys):
        common = {"block": "inverted", "width": width, "kernel_size": kernel_size}
        first, rest = {"depth": 1, "stride": stride}, {"depth": depth - 1, "stride": 1}
        ratios = _ratios(section, expansion, (w_in, width)[:depth])
        if ratios is not None:
            stages.append(common | {"depth": depth, "stride": stride} | ratios)
        else:
            for part, w_read in ((first, w_in), (rest, width)):
                stages.append(common | part | (_ratios(section, expansion, (w_read,)) or {}))
        w_in = width
    head = {"width": section.HEAD_W, "dropout": section.DROPOUT_RATIO}
    return {"stem": {"width": section.STEM_W}, "stages": stages, "head": head}


def _ratios(section: EffNet, expansion: float, widths: tuple[int, ...]) -> dict[str, float] | None:
    """Ratios of a stage whose blocks have these input widths; None if no ratios fit all of them."""
    for width in widths:
        if int(width * expansion) < 1:
            raise ValueError(f"EN.EXP_RATIOS = {expansion:g}: must keep a channel of width {width}")
        if int(width * section.SE_R) < 1:
            raise ValueError(f"EN.SE_R = {section.SE_R:g}: must keep a channel of width {width}")
    expansions = [1.0] if any(int(width * expansion) == width for width in widths) else _candidates(expansion, widths)
    expanding = next((ratio for ratio in expansions if _fits(ratio, expansion, widths)), None)
    squeezing = next((r for r in _candidates(section.SE_R, widths) if _fits(r, section.SE_R, widths)), None)
    if expanding is None or squeezing is None:
        return None
    return {"expansion_ratio": expanding, "se_ratio": squeezing}


def _candidates(ratio: float, widths: tuple[int, ...]) -> list[float]:
    """The ratio, then the midpoint of the ratios that round as pycls truncates, with increasing precision."""
    low = max((int(width * ratio) - 0.5) / width for width in widths)
    high = min((int(width * ratio) + 0.5) / width for width in widths)
    return [ratio, *(round((low + high) / 2, digits) for digits in range(1, 12))]


def _fits(ratio: float, original: float, widths: tuple[int, ...]) -> bool:
    """Whether rounding with a ratio equals truncating with the original one, for all widths."""
    return all(round(width * ratio) == int(width * original) for width in widths)
