"""Lets tests, and the training processes they spawn, import `fake_study` by its name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
