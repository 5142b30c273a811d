"""The surrogate predicts errors from numbers and text, in any unit, and ignores what it cannot use."""

from __future__ import annotations

import numpy as np
import pytest

from designspace import spaces
from designspace.population import Quantities
from designspace.surrogate import fit_surrogate

RNG = np.random.default_rng(0)
N = 80
COLUMNS = {
    "macs": RNG.uniform(1e6, 4e6, N),
    "residual": RNG.random(N) < 0.5,
    "activation": RNG.choice(["relu", "silu", "gelu"], N),
    "same": np.full(N, 3),
}
ERRORS = 20 - 2e-6 * COLUMNS["macs"] + 3 * COLUMNS["residual"] + 2 * (COLUMNS["activation"] == "relu")


def test_numbers_and_text_predict_the_error_of_new_networks() -> None:
    train, test = slice(0, 60), slice(60, N)
    surrogate = fit_surrogate({name: values[train] for name, values in COLUMNS.items()}, ERRORS[train])
    predicted = surrogate.predict({name: values[test] for name, values in COLUMNS.items()})
    assert np.mean((predicted - ERRORS[test]) ** 2) < 0.25 * np.var(ERRORS[test])
    assert set(surrogate.features) == {"macs", "residual", "activation"}


def test_predictions_do_not_depend_on_the_unit_of_a_feature() -> None:
    giga = COLUMNS | {"macs": COLUMNS["macs"] / 1e9}
    predictions = [fit_surrogate(columns, ERRORS).predict(columns) for columns in (COLUMNS, giga)]
    np.testing.assert_allclose(*predictions)


def test_predictions_stay_within_the_errors_of_the_trained_networks() -> None:
    surrogate = fit_surrogate(COLUMNS, ERRORS)
    predicted = surrogate.predict(COLUMNS | {"macs": 100 * COLUMNS["macs"], "activation": np.full(N, "new")})
    assert predicted.min() >= ERRORS.min()
    assert predicted.max() <= ERRORS.max()


def test_the_columns_of_a_population_are_features() -> None:
    population = spaces.space("regnetx").with_constraints(macs=(3e8, 5e8)).sample(40)
    columns = Quantities(population.networks, population.parameters, len(population))
    features = {name: columns[name] for name in columns if name != "e_fit"}
    surrogate = fit_surrogate(features, 10 + columns["depth"])
    assert np.corrcoef(surrogate.predict(columns), columns["depth"])[0, 1] > 0.95


def test_a_feature_with_different_values_is_required() -> None:
    with pytest.raises(ValueError, match=r"^columns = same: must have a feature with different values$"):
        fit_surrogate({"same": [1, 1]}, [10, 20])
