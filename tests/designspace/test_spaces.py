import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from designspace import Population, spaces
from designspace.quantized_linear import QuantizedLinear
from designspace.spaces import space_from_config
from designspace.spaces.families import FAMILIES

REGIME = {"macs": [100e6, 120e6]}


def ids(population: Population) -> list[str]:
    return [population.spec(index).spec_id for index in range(len(population))]


def draw(name: str, n: int, seed: int = 0) -> list[str]:
    return ids(space_from_config({"base": name, "constraints": REGIME}).sample(n, seed))


@pytest.mark.parametrize("name", spaces.names())
def test_more_models_begin_with_the_fewer(name: str) -> None:
    many = draw(name, 64)
    assert draw(name, 16) == many[:16]
    assert len(set(many)) == 64
    assert draw(name, 16, seed=1) != many[:16]


def test_other_processes_draw_the_same(tmp_path: Path) -> None:
    program = "import sys; from designspace.cli import main; sys.exit(main())"
    files = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    words = ["sample", "space=regnetx", "n=8", "macs=[100e6,120e6]"]
    processes = [subprocess.Popen([sys.executable, "-c", program, *words, f"out={file}"]) for file in files]
    assert [process.wait() for process in processes] == [0, 0]
    first, second = (pd.read_parquet(file).spec_id.tolist() for file in files)
    assert first == second == draw("regnetx", 8)


@pytest.mark.parametrize("name", spaces.names())
def test_every_free_parameter_follows_its_law(name: str) -> None:
    rng = np.random.default_rng(3)
    for law in spaces.space(name).parameters.values():
        draws = law.sample(rng, (20_000,))
        observed = np.array([(draws == value).sum() for value in law.values])
        assert observed.sum() == len(draws)
        expected = law.probabilities * len(draws)
        # cells are pooled from the left until each is expected five times
        cell = np.minimum(np.cumsum(expected) // 5, expected.sum() // 5 - 1).astype(int)
        observed, expected = (np.bincount(cell, values) for values in (observed, expected))
        pooled = expected > 0
        if pooled.sum() > 1:
            assert stats.chisquare(observed[pooled], expected[pooled]).pvalue > 1e-4


@pytest.mark.parametrize("name", spaces.names())
def test_models_lie_in_their_space(name: str) -> None:
    space = space_from_config({"base": name, "constraints": REGIME | {"depth": [6, 30]}})
    population = space.sample(64)
    assert ((population.complexity.macs >= 100e6) & (population.complexity.macs <= 120e6)).all()
    for row in population.rows():
        assert 6 <= row["depth"] <= 30
        for parameter, value in row["parameters"].items():
            law = space.parameters[parameter]
            assert np.isin(value, law.values).all()
            if parameter in space.increasing:
                assert (np.diff(value) >= 0).all()


def test_widths_of_regnets_are_the_rules() -> None:
    space = spaces.space("regnetx").with_law(group_width=spaces.space("regnetx").parameters["group_width"])
    rng = np.random.default_rng(0)
    draws = {name: law.sample(rng, (4000,)) for name, law in space.parameters.items()}
    draws["group_width"][:] = 1
    draws["bottleneck_ratio"][:] = 1
    kept, networks = FAMILIES["regnet"](space, draws)
    for row, index in enumerate(np.flatnonzero(kept)):
        rule = QuantizedLinear(*(draws[name][index].item() for name in ("depth", "w_0", "w_a", "w_m")))
        repeated = np.repeat([s.width[row] for s in networks.stages], [s.depth[row] for s in networks.stages])
        assert repeated.tolist() == rule.block_widths().tolist()


def test_report_accounts_for_every_draw() -> None:
    report = space_from_config({"base": "anynetx_d", "constraints": REGIME}).sample(50).report
    assert report.drawn == report.kept + sum(report.rejected.values())
    assert set(report.rejected) == {"width decreases", "macs"}


def test_a_hopeless_regime_says_what_rejects_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("designspace.spaces.sampling.PATIENCE", 1 << 16)
    hopeless = space_from_config({"base": "regnetx", "constraints": {"macs": [1, 2]}})
    with pytest.raises(ValueError, match=r"only 0 of n = 4 networks .* macs 1\d\.\d+%"):
        hopeless.sample(4)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"base": "regnex"}, "space = 'regnex': must be one of anynetx_a"),
        ({"base": "regnetx", "constraints": {"macs": [2, 1]}}, "constraints.macs = [2.0, 1.0]: the lower limit"),
        ({"base": "regnetx", "constraints": {"flops": [1, 2]}}, "constraints.flops: unknown key"),
        ({"base": "regnetx", "parameters": {"w_m": {"distribution": "normal"}}}, "parameters.w_m.distribution"),
        ({"base": "regnetx", "parameters": {"w_m": {"distribution": "uniform", "low": 2, "high": 1}}}, "low = 2"),
    ],
)
def test_mistakes_in_a_space(config: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        space_from_config(config)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("n", "seed", "sentence"), [(0, 0, "n = 0"), (1, -1, "seed = -1")])
def test_mistakes_in_a_draw(n: int, seed: int, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        spaces.space("regnetx").sample(n, seed)
