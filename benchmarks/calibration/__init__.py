"""Coverage and error rates of the statistics, by simulation: python -m benchmarks.calibration SECTION."""
