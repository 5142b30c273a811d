"""Data sets by name: downloaded once, verified, and divided into training and validation by a seed.

`prepare_data` downloads, `open_data` returns the training and validation splits, `open_test` the test part, and
`find_test` its name.
"""

from sweeps.config import DataConfig
from sweeps.data.download import cache_root
from sweeps.data.loading import Splits, StreamedSplits, find_test, names, open_data, open_test, prepare_data
from sweeps.data.source import ImageError

__all__ = [
    "DataConfig",
    "ImageError",
    "Splits",
    "StreamedSplits",
    "cache_root",
    "find_test",
    "names",
    "open_data",
    "open_test",
    "prepare_data",
]
