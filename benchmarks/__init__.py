"""Benchmarks: `python -m benchmarks.NAME`. Compare numbers from one run only, because machines differ."""
