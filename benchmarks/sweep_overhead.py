"""What a sweep costs beyond training: time a model, files a worker, opening a study; pulling against one job a model.

    python -m benchmarks.sweep_overhead            # 5,000 models, one worker with one process, an empty training
    python -m benchmarks.sweep_overhead --slurm    # 60 models on the SLURM of SLURM_CONF, both ways

The stock way is the same launcher with a Hydra job for each model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from designspace.atomic import replace_file
from designspace.study import Study, StudyModel, StudyPaths, lines_hash
from sweeps.study.status import StudyReader

STOCK = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    pass
"""


def made_up_study(root: Path, config: dict[str, object], count: int) -> Study:
    """Write a study of `count` models that no space has drawn."""
    models = [
        StudyModel(
            f"{i:016x}-r-d-s0", "made_up", i, 0, f"{i:016x}", 10**6 + i, 10, 10, 4, {"depth": 4}, {"x": [0] * 200}
        )
        for i in range(count)
    ]
    paths = StudyPaths(root)
    lines = [model.to_line() for model in models]
    replace_file(paths.models, "".join(line + "\n" for line in lines))
    manifest = {"config": config, "recipe_id": "r", "data_id": "d", "models": count, "models_sha256": lines_hash(lines)}
    replace_file(paths.manifest, json.dumps(manifest))
    return Study.open(root)


def overhead(count: int) -> None:
    """Let one worker with one process finish a study of empty trainings; then open it as a start does."""
    from sweeps.study.claims import Claims
    from sweeps.worker.worker import Worker

    with tempfile.TemporaryDirectory() as folder:
        study = made_up_study(Path(folder), {}, count)
        began = time.perf_counter()
        Worker(study, Claims(study.paths.claims, "benchmark", 60), trainer="sweeps.training.open_empty_trainer").run()
        seconds = time.perf_counter() - began
        done = len(study.recorded_keys())
        print(f"{done:,} records in {seconds:.1f} s: {1000 * seconds / done:.1f} ms a model")
        began = time.perf_counter()
        opened = Study.open(folder)
        opened.set_aside_damaged()
        missing = len(opened.models_to_train())
        print(f"opened and checked in {time.perf_counter() - began:.2f} s, {missing} to train")
        began = time.perf_counter()
        StudyReader(Study.open(folder)).read()
        print(f"status read in {time.perf_counter() - began:.2f} s")


def on_slurm(count: int, slots: int) -> None:
    """Time the same number of empty models on SLURM, pulled by workers and as a job each."""
    launcher = [
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.gpus_per_node=null",
        "hydra.launcher.mem_gb=null",
        f"hydra.launcher.array_parallelism={slots}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "stock_app.py").write_text(STOCK + '\nif __name__ == "__main__":\n    main()\n')
        stock = [sys.executable, "stock_app.py", "-m", "hydra/launcher=submitit_slurm", f"+i=range(0,{count})"]
        seconds = _timed([*stock, *launcher], place)
        files = sum(path.is_file() for path in (place / "multirun").rglob("*"))
        print(f"one job a model: {count} models in {seconds:.1f} s, {files} files")
        pull = [sys.executable, "-m", "designspace.cli", "sweep", "-m", "experiment=smoke", "complexity.macs=null"]
        options = [f"n={count // 2}", "run=study", "trainer=sweeps.training.open_empty_trainer", "processes=2"]
        seconds = _timed([*pull, *options, "hydra/launcher=slurm_gpu", "worker=range(0,2)", *launcher], place)
        study = Study.open(place / "study")
        files = sum(path.is_file() for path in (place / "study" / "hydra").rglob("*"))
        print(
            f"2 workers of 2 processes: {len(study.recorded_keys())} models in {seconds:.1f} s, {files} files beside it"
        )


def _timed(command: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=None, help="how many (5000, and 60 on SLURM)")
    parser.add_argument("--slurm", action="store_true", help="compare with one job a model on SLURM")
    parser.add_argument("--slots", type=int, default=8, help="jobs at a time on SLURM")
    arguments = parser.parse_args()
    if not arguments.slurm:
        overhead(arguments.models or 5000)
    elif "SLURM_CONF" in os.environ:
        on_slurm(arguments.models or 60, arguments.slots)
    else:
        raise SystemExit("--slurm needs a running SLURM: SLURM_CONF is not set")


if __name__ == "__main__":
    main()
