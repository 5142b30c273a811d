"""Measured and predicted latency of networks.

records.py      conditions of a measurement, and the files with the results
engines.py      one forward pass in torch or onnxruntime, timed; the only module here that imports torch
measure.py      interleaved repetitions, and when to stop
predictor.py    latency from multiply-adds, activations, parameters and depth
"""
