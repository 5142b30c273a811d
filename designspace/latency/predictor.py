"""Latency predicted from multiply-adds, activations, parameters and depth, with an error measured on other networks.

`analysis.latency.fit_latency` fits the predictor. The constraint `latency_ms` of a design space uses it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from designspace.atomic import MARK
from designspace.files import SUFFIXES, read_mapping, to_lines
from designspace.validated import Name, Validated

Milliseconds = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class LatencyPredictor(Validated):
    """Latency in milliseconds per batch, a sum of nonnegative terms.

    Attributes:
        per_mac, per_act, per_param: per multiply-add and activation of one image, and per parameter.
        per_block: per block.
        constant: per forward pass.
        condition: condition of the measurement, as text.
        networks: number of measured networks.
        fastest_ms, slowest_ms: range of their latencies.
        typical_error: median relative error of the prediction of a network from the others.
        error: the latency of a new network of the same space is at most 1 + error times its prediction and at least its
            prediction divided by 1 + error, with a probability of 95 %.
    """

    per_mac: Milliseconds
    per_act: Milliseconds
    per_param: Milliseconds
    per_block: Milliseconds
    constant: Milliseconds
    condition: Name
    networks: Annotated[int, Field(ge=1)]
    fastest_ms: Positive
    slowest_ms: Positive
    typical_error: Annotated[float, Field(ge=0)]
    error: Annotated[float, Field(ge=0)]

    def milliseconds(self, macs: Any, params: Any, acts: Any, depth: Any) -> Any:
        """Predicted latency, a number or an array of the shape of the arguments, which are as in `Complexity`."""
        macs, params, acts, depth = (np.asarray(values, dtype=float) for values in (macs, params, acts, depth))
        size = self.per_mac * macs + self.per_act * acts + self.per_param * params
        return size + self.per_block * depth + self.constant

    @property
    def text(self) -> str:
        """The predictor and its error in one sentence."""
        return (
            f"Latency predicted from {self.networks:,} networks ({self.condition}): within a factor of "
            f"{1 + self.error:.2f} of the measured one for 95 % of new networks of the same space, typically within "
            f"{100 * self.typical_error:.1f} %."
        )

    def to_file(self, suffix: str) -> str:
        """The content of a predictor file, YAML or JSON by its suffix."""
        content = {"generator": MARK, **self.to_mapping()}
        return json.dumps(content, indent=2) + "\n" if suffix == ".json" else to_lines(content)


def load_predictor(path: str | Path) -> LatencyPredictor:
    """Read a predictor file.

    Raises:
        ValueError: naming the file and the error in it.
    """
    file = Path(path)
    if file.suffix not in SUFFIXES:
        raise ValueError(f"must be a predictor file, which ends in {', '.join(SUFFIXES)}")
    try:
        mapping = read_mapping(file)
    except FileNotFoundError:
        raise ValueError(
            "must be a predictor file that exists; write one with designspace latency … --fit FILE"
        ) from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    try:
        return LatencyPredictor.from_mapping({key: value for key, value in mapping.items() if key != "generator"})
    except ValueError as error:
        raise ValueError(f"{file}: {error}") from None


def _loaded(value: Any) -> Any:
    return load_predictor(value) if isinstance(value, str) else value


PredictorOrFile = Annotated[LatencyPredictor, BeforeValidator(_loaded)]
"""A predictor, its mapping, or the file with it."""
