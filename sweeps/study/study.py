"""The study folder: a frozen manifest, the list of models, one atomic record per model.

    DIR/manifest.json       the resolved config, its hash, versions, git revision, sampling reports
    DIR/models.jsonl        one line per (space, index, seed); only ever grows at its end
    DIR/records/KEY.json    one record per training (designspace.record), written atomically and never altered
    DIR/claims/KEY          hints about who trains what
    DIR/times/ID.json       constants that predict training times, one file for each kind of device
    DIR/checkpoints/KEY     state of a longer training after its last epoch; removed once there is a record
    DIR/set_aside/          damaged records, and failures that are tried again, kept for inspection
    DIR/hydra/worker-N/     Hydra's files of each worker (config, log)

KEY is `designspace.record.record_key`. A model is done when its record exists; nothing else counts. Models whose keys
are equal, a network drawn twice or by two spaces, share one training and one record.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from designspace.atomic import create_file
from designspace.record import Record, record_key

MACS_PER_ACT = 50
"""Multiply-adds that take about as long as moving one element of a convolution's output, on processors and GPUs."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudyPaths:
    """Every path of a study folder, in one place."""

    root: Path

    @property
    def manifest(self) -> Path:
        """Frozen description of the study."""
        return self.root / "manifest.json"

    @property
    def models(self) -> Path:
        """The models to train, a JSON object a line."""
        return self.root / "models.jsonl"

    @property
    def records(self) -> Path:
        """Folder of the records."""
        return self.root / "records"

    @property
    def claims(self) -> Path:
        """Folder of the claims."""
        return self.root / "claims"

    @property
    def times(self) -> Path:
        """Folder of the constants that predict training times."""
        return self.root / "times"

    def checkpoint(self, key: str) -> Path:
        """Checkpoint of a model in training; its folder may not exist yet."""
        return self.root / "checkpoints" / key

    @property
    def set_aside(self) -> Path:
        """Folder of records set aside."""
        return self.root / "set_aside"

    @property
    def lock(self) -> Path:
        """Lock file held only while the manifest is written."""
        return self.root / ".lock"

    def record(self, key: str) -> Path:
        """Record file of a model."""
        return self.records / f"{key}.json"

    def make_folders(self) -> None:
        """Create the folders that do not exist yet."""
        for folder in (self.root, self.records, self.claims):
            folder.mkdir(parents=True, exist_ok=True)


@dataclass(frozen=True)
class StudyModel:
    """One model to train: its origin (space, index), spec, complexity, training seed and record key."""

    key: str
    space: str
    index: int
    seed: int
    spec_id: str
    macs: int
    params: int
    acts: int
    depth: int
    parameters: dict[str, Any]
    spec: dict[str, Any]

    @property
    def cost(self) -> int:
        """Relative training time: arithmetic and memory traffic."""
        return self.macs + MACS_PER_ACT * self.acts

    def to_line(self) -> str:
        """Return the model's line in models.jsonl, without the newline."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @property
    def place(self) -> tuple[str, int, int]:
        """(space, index, seed), which identify a line of models.jsonl."""
        return self.space, self.index, self.seed


def trainings(models: Iterable[StudyModel]) -> list[StudyModel]:
    """Return the first model of each key, in order: each training once."""
    first: dict[str, StudyModel] = {}
    for model in models:
        first.setdefault(model.key, model)
    return list(first.values())


def lines_hash(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines of models.jsonl."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


@dataclass(frozen=True)
class Study:
    """An existing study folder."""

    paths: StudyPaths
    manifest: Mapping[str, Any]
    models: tuple[StudyModel, ...]

    @classmethod
    def open(cls, root: str | Path) -> Study:
        """Open a study.

        Args:
            root: the study folder.
        Raises:
            FileNotFoundError: there is no study in that folder.
            ValueError: models.jsonl is not the one the manifest was frozen with.
        """
        paths = StudyPaths(Path(root))
        if not paths.manifest.is_file():
            raise FileNotFoundError(
                f"no study in '{root}': it has no manifest.json (start one with: designspace sweep … run={root})"
            )
        manifest = json.loads(paths.manifest.read_text(encoding="utf-8"))
        # While a study grows, the file is ahead of the manifest for a moment: only the frozen lines count.
        lines = paths.models.read_text(encoding="utf-8").splitlines()[: manifest["models"]]
        if lines_hash(lines) != manifest["models_sha256"]:
            raise ValueError(
                f"{paths.models} was changed after the study was frozen; allowed: the file as it was written"
            )
        return cls(paths, manifest, tuple(StudyModel(**json.loads(line)) for line in lines))

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config the study was frozen with."""
        config: Mapping[str, Any] = self.manifest["config"]
        return config

    def recorded_keys(self) -> set[str]:
        """Return the keys of all records."""
        return {
            entry.name[:-5]
            for entry in os.scandir(self.paths.records)
            if entry.name.endswith(".json") and not entry.name.startswith(".")
        }

    def models_to_train(self) -> list[StudyModel]:
        """Return the models without a record, the most expensive first, each key once."""
        recorded = self.recorded_keys()
        missing = [model for model in trainings(self.models) if model.key not in recorded]
        return sorted(missing, key=lambda model: (-model.cost, model.key))

    def write_record(self, model: StudyModel, record: Record) -> bool:
        """Write the record of a model atomically; the first record of a model stays.

        Returns:
            False if the model had a record already.
        Raises:
            OSError: the disk is full or not writable; no trace of the record is left.
        """
        return create_file(self.paths.record(model.key), record.to_json())

    def remove_old_checkpoints(self) -> None:
        """Remove the checkpoints of recorded models, whose processes were killed just after they wrote the record."""
        for checkpoint in (self.paths.root / "checkpoints").glob("*"):
            if self.paths.record(checkpoint.name).exists():
                checkpoint.unlink(missing_ok=True)

    def set_aside(self, key: str, reason: str) -> None:
        """Move a record out of the study, so that its model is trained again, and log a warning."""
        self.paths.set_aside.mkdir(exist_ok=True)
        number = sum(1 for _ in self.paths.set_aside.glob(f"{key}.*"))
        try:
            os.rename(self.paths.record(key), self.paths.set_aside / f"{key}.{number}.json")
        except FileNotFoundError:  # another driver was quicker
            return
        log.warning("record %s set aside (%s); its model will be trained again", key, reason)

    def set_aside_damaged(self) -> int:
        """Set aside every record that cannot be read or is not the record of its model.

        Returns:
            Their number.
        """
        damaged = 0
        for key, content in self._recorded():
            try:
                record = Record.from_json(content)
                if record_key(record.spec_id, record.recipe_id, record.data_id, record.seed) != key:
                    raise ValueError("it belongs to another model")
            except (ValueError, TypeError, KeyError) as error:
                self.set_aside(key, f"damaged: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
                damaged += 1
        return damaged

    def set_aside_failed(self, statuses: Collection[str]) -> None:
        """Set aside the records with these statuses; call `set_aside_damaged` first."""
        for key, content in self._recorded() if statuses else ():
            if (status := Record.from_json(content).status) in statuses:
                self.set_aside(key, f"{status}, and retry={list(statuses)}")

    def _recorded(self) -> Iterator[tuple[str, str]]:
        """The records' keys and contents, without those that another driver sets aside at this moment."""
        for key in sorted(self.recorded_keys()):
            with contextlib.suppress(FileNotFoundError):
                yield key, self.paths.record(key).read_bytes().decode(errors="replace")
