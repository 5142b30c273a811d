"""The modules of a network that hold weights: their names in ours, and the names other tools give them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from designspace import layers as L
from designspace.blocks import parts
from designspace.spec import ModelSpec


class Weighted(NamedTuple):
    """A module with weights.

    Args:
        name: its place in the module that `build_network` makes.
        part: "stem", "head" or the block's name, such as "bottleneck".
        role: what it is there: conv1, bn1, se.squeeze, se.excite, conv2, …, shortcut.conv, shortcut.bn, linear1.
        stage, block: counted from 0; -1 for stem and head.
    """

    name: str
    part: str
    role: str
    stage: int = -1
    block: int = -1


def weighted(spec: ModelSpec) -> Iterator[Weighted]:
    """All modules with weights, in the order of the layers."""
    blocks: dict[str, int] = {}
    for part in parts(spec):
        if not part.name.startswith("stage"):
            yield from (Weighted(name, part.name, role) for name, role in _walk(part.layers, part.name))
            continue
        stage = int(part.name.removeprefix("stage")) - 1
        for _ in range(int(part.repeats)):
            block = blocks[part.name] = blocks.get(part.name, -1) + 1
            for name, role in _walk(part.layers, f"{part.name}.{block}"):
                yield Weighted(name, spec.stages[stage].block, role, stage, block)


def key_map(spec: ModelSpec, names: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """From our module names to another tool's.

    Args:
        spec: the network.
        names: for each part ("stem", "head", a block's name, or "stage0", "stage1" … where one differs) from role to
            name; "{stage}" and "{block}" are filled in, counted from 0, and "{stage1}", "{block1}", counted from 1.
    """
    return {
        module.name: names.get(f"stage{module.stage}", names[module.part])[module.role].format(
            stage=module.stage, block=module.block, stage1=module.stage + 1, block1=module.block + 1
        )
        for module in weighted(spec)
    }


def _walk(layers: L.Layers, prefix: str, role: str = "") -> Iterator[tuple[str, str]]:
    """Name and role of each module with weights in a row of layers, as `network.sequence` numbers them."""
    place, convs, linears = 0, 0, 0
    for layer in layers:
        name = f"{prefix}.{place}"
        match layer:
            case L.Conv():
                convs += 1
                yield name, f"{role}conv{convs}"
            case L.BatchNorm():
                yield name, f"{role}bn{convs}"
            case L.SqueezeExcite():
                yield f"{name}.squeeze", f"{role}se.squeeze"
                yield f"{name}.excite", f"{role}se.excite"
            case L.Linear():
                linears += 1
                yield name, f"{role}linear{linears}"
            case L.Residual(body, shortcut):
                yield from _walk(body, f"{name}.body", role)
                yield from _walk(shortcut, f"{name}.shortcut", f"{role}shortcut.")
        place += 2 if isinstance(layer, L.AveragePool) else 1  # pooling and flattening
