"""Restrictions keep the same networks in a population and in a table of them."""

import numpy as np
import pandas as pd
import pytest

from analysis import load
from analysis.restrictions import satisfies
from designspace import Population, spaces

POPULATION = spaces.space("anynetx_a").with_constraints(depth=(4, 24)).sample(60)


def table(population: Population) -> pd.DataFrame:
    widths = [spec.block_widths for spec in population]
    return population.to_frame().assign(error_percent=np.linspace(5, 20, len(population)), block_widths=widths)


@pytest.mark.parametrize(
    "text",
    [
        "depth <= 12 and group_width >= 2",
        "width_1 <= 64",
        "nondecreasing(width) or ratio(depth) <= 2",
        "bottleneck_ratio_2 in (1, 4) and not shared(bottleneck_ratio)",
        "macs / params > 100",
        "e_fit <= 0.5",
    ],
)
def test_a_table_and_its_population_agree(text: str) -> None:
    kept = satisfies(table(POPULATION), text)
    assert 0 < kept.sum() < len(kept)
    assert kept.tolist() == POPULATION.satisfies(text).tolist()


def test_tables_are_filtered_by_restrictions() -> None:
    models = load(table(POPULATION).drop(columns=["spec"]))
    kept = models.where("depth <= 12 and max(group_width) <= 16", "space=anynetx_a")
    expected = POPULATION.satisfies("depth <= 12 and max(group_width) <= 16")
    assert len(kept) == expected.sum() > 0
    with pytest.raises(ValueError, match=r"where = shared\(widht\): name = widht: unknown; did you mean width"):
        models.where("shared(widht)")
    with pytest.raises(ValueError, match=r"where = max\(depth\) > 99: no model is left"):
        models.where("max(depth) > 99")


def test_models_without_block_widths_satisfy_no_limit_of_the_fit() -> None:
    frame = pd.DataFrame({"block_widths": [(8, 16, 24, 32), None], "depth": [4, 4]})
    assert satisfies(frame, "e_fit <= 9").tolist() == [True, False]
    assert satisfies(frame, "not e_fit > 9").tolist() == [True, False]
