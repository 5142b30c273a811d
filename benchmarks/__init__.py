"""Measurements that anyone can repeat: `python -m benchmarks.NAME`. Machines differ; quote the ratios of one run."""
