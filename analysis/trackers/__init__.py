"""Experiment trackers: the records of studies in TensorBoard, Weights & Biases, MLflow or Trackio.

A tracker is written from the records, not by the trainer. This works during a study, afterwards, and repeatedly: each
training is one run, and it is written once.
"""

from analysis.trackers.tracker import TRACKERS, Tracker, open_tracker
from analysis.trackers.tracking import Tracking, track

__all__ = ["TRACKERS", "Tracker", "Tracking", "open_tracker", "track"]
