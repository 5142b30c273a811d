"""What a study consists of, and its stored table."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

import analysis
import designspace as ds
from analysis.table import Table
from benchmarks.studies.claims import Family, findings
from designspace.study import Study as Run

TABLE, PROTOCOL, PLAN, PAGE = "table.parquet", "protocol.json", "plan.json", "README.md"
DISCUSSION = "discussion.md"
"""What we make of the findings, written by hand after the run; part of the page if it exists."""

REPEAT = "repeat"
"""Folder with the table and protocol of a second run, if there is one."""

FROZEN = ("n", "training_seeds", "seed", "complexity", "template", "data", "recipe", "device")
"""Keys of the config that the protocol keeps."""

UNUSED = ("spec", "host", "started_at", "ended_at", "message", "parameters")
"""Columns that the stored table lacks: numbers do not depend on them."""


@dataclass(frozen=True)
class Results:
    """The stored table of a study and its protocol.

    Attributes:
        table: trained models, read from Parquet.
        runs: config and environment of each run.
    """

    table: Table
    runs: list[dict[str, Any]]

    @classmethod
    def read(cls, folder: Path) -> Results:
        """Read a folder written by `store`."""
        return cls(analysis.load(folder / TABLE), json.loads((folder / PROTOCOL).read_text()))


@dataclass(frozen=True)
class Drawing:
    """A figure of a page: file name without suffix, caption, and a function that draws it."""

    name: str
    caption: str
    draw: Callable[[Results, Figure], None]
    size: tuple[float, float] = (5.8, 4.2)


@dataclass(frozen=True)
class Definition:
    """A study: question, experiments, claims and figures.

    Attributes:
        name: folder of the page.
        title: of the page.
        question: one or two sentences.
        experiments: names of conf/experiment, the main one first.
        families: claims, decided before the run.
        drawings: figures.
        caveats: what the page must say about the protocol.
        derive: columns computed from the runs and stored, from the frame with its specs.
        sections: parts of the page in Markdown that need no trained network.
    """

    name: str
    title: str
    question: str
    experiments: tuple[str, ...]
    families: tuple[Family, ...]
    drawings: tuple[Drawing, ...]
    caveats: str = ""
    derive: tuple[Callable[[pd.DataFrame], pd.DataFrame], ...] = ()
    sections: tuple[Callable[[], str], ...] = ()

    def findings(self, results: Results) -> pd.DataFrame:
        """Evaluate the claims; see `benchmarks.studies.claims.findings`."""
        return findings(self.families, results.table)

    def results(self, runs: Sequence[Path]) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
        """The table of study folders with its derived columns, and their protocols."""
        frame = analysis.load(*runs).frame
        for derive in self.derive:
            frame = pd.concat([frame, derive(frame)], axis=1)
        frame = frame.drop(columns=list(UNUSED), errors="ignore")
        return frame, [_protocol(Run.open(run)) for run in runs]

    def store(self, runs: Sequence[Path], folder: Path) -> None:
        """Store the table and the protocol of study folders."""
        frame, protocols = self.results(runs)
        folder.mkdir(parents=True, exist_ok=True)
        frame.to_parquet(folder / TABLE, index=False, compression="zstd")
        (folder / PROTOCOL).write_text(json.dumps(protocols, indent=1) + "\n")


def _protocol(run: Run) -> dict[str, Any]:
    config = {name: run.config[name] for name in FROZEN}
    config["data"] = {name: value for name, value in config["data"].items() if name != "root"}
    environment = run.manifest["environment"]
    git = environment["git"] or {}
    return {"config": config, "packages": environment["packages"], "revision": git.get("revision")}


def training_error(frame: pd.DataFrame) -> pd.DataFrame:
    """The training error of the last epoch, percent."""
    last = [
        curve[-1] if isinstance(curve, tuple | list) and len(curve) else None
        for curve in frame["epoch_train_error_percent"]
    ]
    return pd.DataFrame({"train_error_percent": pd.to_numeric(pd.Series(last, index=frame.index))})


def width_fit_error(frame: pd.DataFrame) -> pd.DataFrame:
    """e_fit of the quantized linear rule (RegNet § 3.3), once per network."""
    from analysis.widths import fit_population

    distinct = frame["block_widths"].drop_duplicates()
    errors = dict(zip(distinct, fit_population(distinct)["fit_error"], strict=True))
    return pd.DataFrame({"e_fit": frame["block_widths"].map(errors)})


def costs(frame: pd.DataFrame) -> pd.DataFrame:
    """CPU seconds of the training (on a CPU), and bytes of training memory for batches of 32 in float32."""
    cpu = [sum(filter(None, seconds)) or None for seconds in frame["epoch_cpu_seconds"].map(lambda curve: curve or ())]
    memory = {
        key: ds.training_memory(ds.ModelSpec.from_mapping(spec), batch_size=32, precision="float32").total
        for key, spec in zip(frame["spec_id"], frame["spec"], strict=True)
    }
    seconds = pd.to_numeric(pd.Series(cpu, index=frame.index)).fillna(frame["train_seconds"])
    return pd.DataFrame({"training_cpu_seconds": seconds, "training_memory_bytes": frame["spec_id"].map(memory)})


def latency(frame: pd.DataFrame) -> pd.DataFrame:
    """Median CPU time of a forward pass of 64 images in float32 on one thread, measured now, seconds."""
    from designspace.latency.engines import condition
    from designspace.latency.measure import measure

    specs = {key: ds.ModelSpec.from_mapping(spec) for key, spec in zip(frame["spec_id"], frame["spec"], strict=True)}
    blocks = measure(specs, condition("torch", batch=64, clock="cpu"))
    seconds = {key: one.median_ms / 1000 for block in blocks for key, one in block.items()}
    return pd.DataFrame({"latency_seconds": frame["spec_id"].map(seconds)})
