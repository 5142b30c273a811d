from pathlib import Path

import pandas as pd
import pytest

SHARED = Path(__file__).parents[3] / "shared" / "data"


def table(name: str) -> pd.DataFrame:
    if not (SHARED / name).exists():
        pytest.skip(f"{name} is not here; it comes with the development data, not with the project")
    return pd.read_csv(SHARED / name)


@pytest.fixture(scope="session")
def published() -> pd.DataFrame:
    """Exact integers in the pycls convention, indexed by name."""
    return table("published_complexity.csv").set_index("name")


@pytest.fixture(scope="session")
def regnets() -> pd.DataFrame:
    """The 24 published RegNets: rule parameters, widths before and after group-width compatibility, depths."""
    return table("regnet_params.csv").set_index("name")
