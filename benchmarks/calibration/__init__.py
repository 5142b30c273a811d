"""Simulated coverage and error rates of the statistics: python -m benchmarks.calibration SECTION"""
