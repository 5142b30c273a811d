"""What the sections of a pycls configuration have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from designspace.spec import ModelSpec

ACTIVATIONS = ("relu", "silu", "gelu")  # our names; pycls also says swish for silu


@dataclass(frozen=True)
class Section:
    """A section of pycls's configuration with its keys and their defaults (pycls `core/config.py`)."""

    name: str
    defaults: Mapping[str, Any]

    def read(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The section of a configuration, completed by the defaults; ValueError for keys pycls does not know."""
        given = config.get(self.name) or {}
        if not isinstance(given, Mapping):
            raise ValueError(f"{self.name} = {given!r}: must be a mapping")
        unknown = sorted(set(given) - set(self.defaults))
        if unknown:
            raise ValueError(f"{self.name}.{unknown[0]}: unknown key; allowed: {', '.join(self.defaults)}")
        return {**self.defaults, **given}


def per_stage(name: str, section: Mapping[str, Any], keys: tuple[str, ...]) -> Iterator[tuple[Any, ...]]:
    """The values of several keys, stage by stage; ValueError unless all have one value a stage."""
    count = len(section[keys[0]])
    for key in keys:
        if len(section[key]) != count or not count:
            raise ValueError(
                f"{name}.{key} = {section[key]}: must have as many values as {keys[0]} ({count}), at least 1"
            )
    return zip(*(section[key] for key in keys), strict=True)


def common(spec: ModelSpec, model_type: str) -> dict[str, Any]:
    """The MODEL section."""
    model: dict[str, Any] = {"TYPE": model_type, "NUM_CLASSES": spec.head.classes}
    return {"MODEL": model | ({"ACTIVATION_FUN": spec.activation} if spec.activation != "relu" else {})}
