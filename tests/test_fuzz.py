"""Mutated files of every kind give a result or a documented error. `python -m benchmarks.fuzz` runs longer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from benchmarks.fuzz import KINDS, check

CPU_SECONDS = 20  # reading takes milliseconds, but exponential time is easily reached in a parser


@pytest.mark.parametrize("name", list(KINDS))
@settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)
@given(data=st.data())
def test_mutated_input_gives_a_result_or_a_documented_error(name: str, data: Any) -> None:
    _, seconds = check(KINDS[name], data.draw(KINDS[name].inputs))
    assert seconds < CPU_SECONDS
