"""Data sets by name: fetched once, checked, divided by a recorded seed, handed over as uint8 arrays.

`prepare_data` fills the cache, `open_data` gives training and validation splits (`load_data` those of small sets as
arrays), `open_test` the test part (`load_test` that of small sets), where `find_test` finds one.
"""

from sweeps.config import DataConfig
from sweeps.data.cache import cache_root
from sweeps.data.loading import (
    Splits,
    StreamedSplits,
    find_test,
    load_data,
    load_test,
    names,
    open_data,
    open_test,
    prepare_data,
)
from sweeps.data.source import LabelledImages

__all__ = [
    "DataConfig",
    "LabelledImages",
    "Splits",
    "StreamedSplits",
    "cache_root",
    "find_test",
    "load_data",
    "load_test",
    "names",
    "open_data",
    "open_test",
    "prepare_data",
]
