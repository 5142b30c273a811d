"""Overhead of a sweep: time per model, files per worker, opening a study; workers against one job per model.

    python -m benchmarks.sweep_overhead            # 5,000 models, one worker with one process, no training
    python -m benchmarks.sweep_overhead --slurm    # 60 models on the SLURM of SLURM_CONF, both ways

The alternative is the same launcher with a Hydra job for each model.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from designspace.atomic import replace_file
from designspace.progress import StudyReader
from designspace.study import Record, Study, StudyModel, StudyPaths, lines_hash, now
from sweeps.worker.task import Task, Trainer

TRAINER = "benchmarks.sweep_overhead.open_empty_trainer"

ONE_JOB_EACH = """
import hydra

@hydra.main(version_base="1.3", config_path=None)
def main(config):
    pass
"""


def open_empty_trainer(config: Mapping[str, object]) -> Trainer:
    """Open a trainer that does not train. DESIGNSPACE_EMPTY_SECONDS is the duration of each training."""
    seconds = float(os.environ.get("DESIGNSPACE_EMPTY_SECONDS", "0"))

    def train(task: Task) -> Record:
        time.sleep(seconds)
        task.on_epoch(1)
        error = task.model.macs % 1000 / 10
        return Record("", "", "", 0, "ok", error_percent=error, epochs_done=1, started_at=now())

    return Trainer(train)


def synthetic_study(root: Path, count: int) -> Study:
    """Write a study of `count` models without a space."""
    models = [
        StudyModel(
            f"{i:016x}-r-d-s0", "synthetic", i, 0, f"{i:016x}", 10**6 + i, 10, 10, 4, {"depth": 4}, {"x": [0] * 200}
        )
        for i in range(count)
    ]
    paths = StudyPaths(root)
    lines = [model.to_line() for model in models]
    replace_file(paths.models, "".join(line + "\n" for line in lines))
    config = {"n": count, "spaces": {"synthetic": {}}}
    manifest = {"config": config, "recipe_id": "r", "data_id": "d", "models": count, "models_sha256": lines_hash(lines)}
    replace_file(paths.manifest, json.dumps(manifest))
    return Study.open(root)


def overhead(count: int) -> None:
    """Measure a worker with one process on empty trainings, and then opening the study."""
    from sweeps.study.claims import Claims
    from sweeps.worker.worker import Worker

    with tempfile.TemporaryDirectory() as folder:
        study = synthetic_study(Path(folder), count)
        began = time.perf_counter()
        Worker(study, Claims(study.paths.claims, "benchmark", 60), trainer=TRAINER).run()
        seconds = time.perf_counter() - began
        done = len(study.recorded_keys())
        print(f"{done:,} records in {seconds:.1f} s: {1000 * seconds / done:.1f} ms per model")
        began = time.perf_counter()
        opened = Study.open(folder)
        opened.set_aside_damaged()
        missing = len(opened.models_to_train())
        print(f"opened and checked in {time.perf_counter() - began:.2f} s, {missing} to train")
        began = time.perf_counter()
        StudyReader(Study.open(folder)).read()
        print(f"status read in {time.perf_counter() - began:.2f} s")


def on_slurm(count: int, slots: int) -> None:
    """Time empty trainings on SLURM, pulled by workers and as one job each."""
    launcher = [
        "hydra.launcher.cpus_per_task=1",
        "hydra.launcher.gpus_per_node=null",
        "hydra.launcher.mem_gb=null",
        f"hydra.launcher.array_parallelism={slots}",
    ]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "one_job_each.py").write_text(ONE_JOB_EACH + '\nif __name__ == "__main__":\n    main()\n')
        one_job_each = [
            sys.executable,
            "one_job_each.py",
            "-m",
            "hydra/launcher=submitit_slurm",
            f"+i=range(0,{count})",
        ]
        seconds = _timed([*one_job_each, *launcher], root)
        files = sum(path.is_file() for path in (root / "multirun").rglob("*"))
        print(f"one job per model: {count} models in {seconds:.1f} s, {files} files")
        pull = [sys.executable, "-m", "designspace.cli", "sweep", "-m", "experiment=smoke", "complexity.macs=null"]
        options = [f"n={count // 2}", "run=study", f"trainer={TRAINER}", "processes=2"]
        seconds = _timed([*pull, *options, "hydra/launcher=slurm_gpu", "worker=range(0,2)", *launcher], root)
        study = Study.open(root / "study")
        files = sum(path.is_file() for path in (root / "study" / "hydra").rglob("*"))
        print(f"2 workers of 2 processes: {len(study.recorded_keys())} models in {seconds:.1f} s, {files} other files")


def _timed(command: Sequence[str], folder: Path) -> float:
    began = time.perf_counter()
    path = os.pathsep.join(filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": path}  # for TRAINER
    subprocess.run(
        command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    return time.perf_counter() - began


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=None, help="number of models (default 5000, on SLURM 60)")
    parser.add_argument("--slurm", action="store_true", help="compare with one job per model on SLURM")
    parser.add_argument("--slots", type=int, default=8, help="simultaneous jobs on SLURM")
    arguments = parser.parse_args()
    if not arguments.slurm:
        overhead(arguments.models or 5000)
    elif "SLURM_CONF" in os.environ:
        on_slurm(arguments.models or 60, arguments.slots)
    else:
        raise SystemExit("--slurm needs a running SLURM: SLURM_CONF is not set")


if __name__ == "__main__":
    main()
