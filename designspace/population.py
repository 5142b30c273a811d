"""A population: N networks drawn from one design space, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from designspace.arrays import map_arrays, unpack
from designspace.counting import Complexity, complexity
from designspace.spec import ModelSpec

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class SamplingReport:
    """How a population came about.

    Attributes:
        drawn: candidates looked at.
        kept: candidates that fulfil every constraint and are no duplicates.
        rejected: candidates turned down, by the first reason met; their sum is drawn - kept.
    """

    drawn: int
    kept: int
    rejected: Mapping[str, int]

    @property
    def acceptance(self) -> float:
        """Fraction of the candidates that was kept."""
        return self.kept / self.drawn if self.drawn else float("nan")


@dataclass(frozen=True)
class Population:
    """N networks of one space.

    Attributes:
        space: name of the design space.
        seed: seed of the draw.
        networks: a spec whose numbers are arrays of shape (N,) where the networks differ.
        parameters: the space's free parameters as drawn, each of shape (N,), or (N, S) where every stage has its own.
        report: candidates drawn, kept and rejected.
    """

    space: str
    seed: int
    networks: ModelSpec
    parameters: Mapping[str, np.ndarray]
    report: SamplingReport

    def __len__(self) -> int:
        return len(next(iter(self.parameters.values())))

    def __getitem__(self, index: slice | np.ndarray) -> Population:
        """The networks of a slice, mask or list of positions."""
        return Population(
            self.space,
            self.seed,
            map_arrays(lambda array: array[index], self.networks),
            {name: values[index] for name, values in self.parameters.items()},
            self.report,
        )

    @cached_property
    def complexity(self) -> Complexity:
        """Multiply-adds, parameters and activations, int64 arrays of shape (N,), pycls convention."""
        counts = complexity(self.networks)
        fill = np.zeros(len(self), np.int64)
        return Complexity(counts.macs + fill, counts.params + fill, counts.acts + fill)

    def spec(self, index: int) -> ModelSpec:
        """The network at a position as a validated spec."""
        return unpack(self.networks, index)

    def rows(self) -> Iterator[dict[str, Any]]:
        """One mapping a network: space, index, spec_id, depth, macs, params, acts, parameters, spec."""
        counts = self.complexity
        for index in range(len(self)):
            spec = self.spec(index)
            yield {
                "space": self.space,
                "index": index,
                "spec_id": spec.spec_id,
                "depth": spec.depth,
                "macs": int(counts.macs[index]),
                "params": int(counts.params[index]),
                "acts": int(counts.acts[index]),
                "parameters": {name: values[index].tolist() for name, values in self.parameters.items()},
                "spec": spec.to_mapping(),
            }

    def to_frame(self) -> pd.DataFrame:
        """One row a network, flat: parameters in columns of their own (one a stage where they differ), spec as JSON."""
        import pandas as pd

        return pd.DataFrame([_flat(row) for row in self.rows()])


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    flat = {name: value for name, value in row.items() if name not in ("parameters", "spec")}
    for name, value in row["parameters"].items():
        if isinstance(value, list):
            flat |= {f"{name}_{stage}": item for stage, item in enumerate(value, start=1)}
        else:
            flat.setdefault(name, value)
    return flat | {"spec": ModelSpec.from_mapping(row["spec"]).to_json()}
