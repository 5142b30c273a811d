"""A study: its folder, models and records. All reading and writing of these files is here.

    DIR/manifest.json       config and its hash, complete spaces, versions, git revision, sampling reports
    DIR/models.jsonl        one line per (space, index, seed); only extended; the manifest has its hash
    DIR/records/KEY.json    one record per training run, written atomically and never changed
    DIR/claims/KEY          the worker that is training a model; a hint only
    DIR/times/ID.json       constants that predict training times, one file per kind of device
    DIR/latency/NAME.json   measured latencies, one file per condition
    DIR/proposals/NAME.json a model that a search strategy proposed, with its training seeds; never changed
    DIR/search/NAME.journal trials of the search in a space, in Optuna's format; can be rebuilt from the other files
    DIR/checkpoints/KEY     state of a longer training run after its last epoch; removed once there is a record
    DIR/set_aside/          damaged records and retried failures, for inspection
    DIR/hydra/worker-N/     Hydra's files of each worker (config, log)

A model is done when its record exists. Models with the same key (a network drawn twice, or by two spaces) share one
training run and one record. Every file is validated when read; errors are ValueErrors of one line. Only manifest.json
and models.jsonl are required.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import logging
import math
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter

from designspace.atomic import create_file
from designspace.validated import parse_json, read_regular

FEW_UPDATES = 500
"""Updates below which errors depend more on the recipe than on the model."""

MACS_PER_ACT = 50
"""Multiply-adds that take about as long as moving one element of a convolution's output, on CPUs and GPUs."""

Outcome = Literal["ok", "diverged", "timeout", "out_of_memory", "crashed", "stopped"]
STATUSES: tuple[str, ...] = get_args(Outcome)

STOPPED = "stopped"
"""Status of a training that a rule stopped early; not a failure."""

log = logging.getLogger(__name__)


def _plain(value: Any) -> Any:
    """The value as valid JSON: null for a number that is not finite, escapes for text that is not Unicode."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):  # file names may contain bytes that are not UTF-8
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _check_finite(mapping: dict[str, Any]) -> dict[str, Any]:
    try:
        json.dumps(mapping, allow_nan=False)  # several times faster than a Python loop
    except ValueError:
        raise ValueError("numbers: must be finite") from None
    return mapping


def _check_time(text: str) -> str:
    try:
        if datetime.fromisoformat(text).tzinfo is not None:
            return text
    except ValueError:
        pass
    raise ValueError("must be a time with its offset from UTC, as in 2026-01-31T12:00:00+00:00")


# Strict: no text as a number, no 1 as true, no fraction as an integer, only finite numbers.
STRICT = ConfigDict(strict=True, allow_inf_nan=False)
Count = Annotated[int, Field(ge=0, lt=2**63)]
Seconds = Annotated[float, Field(ge=0)]
Percent = Annotated[float, Field(ge=0, le=100)]
Curve = tuple[float | None, ...]
Parts = tuple[float | None, ...]
Mapped = Annotated[dict[str, Any], AfterValidator(_check_finite)]
Time = Annotated[str, AfterValidator(_check_time)]
TimeOrEmpty = Annotated[str, AfterValidator(lambda text: text and _check_time(text))]


def _column(meaning: str, unit: str = "", **default: Any) -> Any:
    return field(metadata={"meaning": meaning, "unit": unit}, **default)


@dataclass(frozen=True)
class Record:
    """One trained model, or the failure to train it. Curves have one value per epoch.

    Fields of the probe (`probe: true`) have one value per block or per part (stem, stages, head), and are empty without
    it. Zero-cost scores (`scores: true`) are null without it; a larger score is meant to predict a smaller error.
    """

    __pydantic_config__ = STRICT

    spec_id: str = _column("content hash of the spec")
    recipe_id: str = _column("content hash of the training recipe")
    data_id: str = _column("content hash of the data set and its split")
    seed: Count = _column("seed of initialization, data order and augmentation")
    status: Outcome = _column(f"one of {', '.join(STATUSES)}")
    space: str = _column("label of the design space it was drawn from", default="")
    index: Count = _column("position in the population of its space", default=0)
    spec: Mapped = _column("the network, as a nested mapping", default_factory=dict)
    parameters: Mapped = _column("free parameters of the space, as drawn", default_factory=dict)
    proposed_by: str = _column("search strategy that proposed it; empty for a random draw of its space", default="")
    macs: Count | None = _column("multiply-adds of one image's forward pass", "multiply-adds", default=None)
    params: Count | None = _column("learnable parameters", default=None)
    acts: Count | None = _column("output elements of convolutions for one image", "elements", default=None)
    depth: Count | None = _column("blocks in all stages", "blocks", default=None)
    message: str = _column("error message of a failed model", default="")
    error_percent: Percent | None = _column(
        "top-1 error on the validation split, last finished epoch", "%", default=None
    )
    collapsed: bool = _column("whether it learned nothing: error and loss of a constant prediction", default=False)
    epochs_done: Count = _column("epochs finished", default=0)
    updates: Count = _column("optimizer steps, including those that float16 skipped (overflow)", default=0)
    predicted_seconds: Seconds | None = _column("predicted training time, with evaluation", "s", default=None)
    device_share: Annotated[float, Field(gt=0, le=1)] | None = _column(
        "fraction of the device: 1 / training runs of the worker on it at once", default=None
    )
    train_seconds: Seconds | None = _column("time spent in training epochs, without evaluation", "s", default=None)
    images_per_second: Seconds | None = _column("training images over train_seconds", "1/s", default=None)
    peak_memory_bytes: Count | None = _column("peak of the GPU memory allocated by PyTorch", "B", default=None)
    epoch_train_loss: Curve = _column("mean training loss", "nats", default=())
    epoch_train_error_percent: Curve = _column("training error, augmented images", "%", default=())
    epoch_validation_error_percent: Curve = _column("validation error", "%", default=())
    epoch_learning_rate: Curve = _column("learning rate at the end of the epoch", default=())
    epoch_seconds: Curve = _column("time of the epoch with its evaluation", "s", default=())
    epoch_cpu_seconds: Curve = _column("CPU time of the training process in the epoch, all threads", "s", default=())
    probe_images: Count | None = _column("validation images of the probe", default=None)
    block_channels: Parts = _column("channels at the narrow point of the block", default=())
    block_rank_before: Parts = _column("effective rank at the narrow point, before its activation", default=())
    block_rank_after: Parts = _column("effective rank at the narrow point, after its activation if any", default=())
    block_dead_fraction: Parts = _column("fraction of channels at the narrow point that never fire", default=())
    part_gradient_norm_first: Parts = _column("L2 norm of the gradient, mean over the first epoch", default=())
    part_gradient_norm_last: Parts = _column("L2 norm of the gradient, mean over the last epoch", default=())
    score_nwot: float | None = _column("NASWOT score of the untrained network", default=None)
    score_synflow: float | None = _column("log of the SynFlow score of the untrained network", default=None)
    score_grad_norm: float | None = _column("gradient norm of the untrained network, summed over layers", default=None)
    score_snip: float | None = _column("SNIP score of the untrained network, summed over weights", default=None)
    torch_version: str = _column("version of PyTorch", default="")
    device_name: str = _column("GPU or processor", default="")
    threads: Count | None = _column("CPU threads of the training process", default=None)
    dtype: str = _column("arithmetic of the forward pass; tfloat32 is float32 on tensor cores", default="")
    memory_format: str = _column("channels_last or contiguous", default="")
    compiled: bool = _column("whether torch.compile was used", default=False)
    host: str = _column("machine name", default="")
    started_at: TimeOrEmpty = _column("start of training, before any interruption, UTC, ISO 8601", default="")
    ended_at: TimeOrEmpty = _column("end of training, UTC, ISO 8601", default="")
    attempts: Count = _column("number of attempts", default=1)

    @property
    def key(self) -> str:
        """Key of the recorded training run."""
        return record_key(self.spec_id, self.recipe_id, self.data_id, self.seed)

    def to_json(self) -> str:
        """Format as a JSON object; a number that is not finite becomes null."""
        return json.dumps(_plain(asdict(self)), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str | bytes) -> Record:
        """Read the output of `to_json`; keys of later versions are ignored; ValueError if it is not a record."""
        return parse_json(_RECORD, text)


@dataclass(frozen=True)
class Column:
    """Meaning and unit ("" if none) of a column of a record."""

    meaning: str
    unit: str


_RECORD = TypeAdapter(Record)
COLUMNS = {f.name: Column(f.metadata["meaning"], f.metadata["unit"]) for f in fields(Record)}
CURVES = tuple(f.name for f in fields(Record) if f.type == "Curve")
PARTS = tuple(f.name for f in fields(Record) if f.type == "Parts")
SCORES = tuple(f.name for f in fields(Record) if f.name.startswith("score_"))


def now() -> str:
    """The current time in the format of records: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_key(spec_id: str, recipe_id: str, data_id: str, seed: int) -> str:
    """The file name (without suffix) of the record of one training run."""
    return f"{spec_id}-{recipe_id}-{data_id}-s{seed}"


@dataclass(frozen=True)
class StudyModel:
    """One model to train: its origin (space, index), spec, complexity, training seed and record key."""

    __pydantic_config__ = STRICT

    key: Annotated[str, Field(pattern=r"^[\w-][\w.-]*$")]  # a file name
    space: str
    index: Count
    seed: Count
    spec_id: str
    macs: Count
    params: Count
    acts: Count
    depth: Count
    parameters: dict[str, Any]  # as hashed by the manifest
    spec: dict[str, Any]
    proposed_by: str = ""  # search strategy; empty for a random draw of the space

    @property
    def cost(self) -> int:
        """Relative training time: arithmetic and memory traffic."""
        return self.macs + MACS_PER_ACT * self.acts

    def to_line(self) -> str:
        """Return the model's line in models.jsonl, without the newline."""
        line = asdict(self)
        if not self.proposed_by:  # as in studies of earlier versions
            del line["proposed_by"]
        return json.dumps(line, separators=(",", ":"))

    @property
    def place(self) -> tuple[str, int, int]:
        """(space, index, seed), which identify a line of models.jsonl."""
        return self.space, self.index, self.seed


_MODEL = TypeAdapter(StudyModel)


@dataclass(frozen=True)
class Proposal:
    """A model that a search strategy proposed: one `StudyModel` per training seed.

    Attributes:
        space: label of the space.
        index: of the model in the space; proposals follow the random draws.
        models: the model with each training seed.
        asked: parameters that the strategy proposed until one was accepted.
        rejected: those of them that violated a constraint of the space, by the first one they violated.
        repeated: those of them that gave a network of the study again.
    """

    __pydantic_config__ = STRICT

    space: str
    index: Count
    models: Annotated[tuple[StudyModel, ...], Field(min_length=1)]
    asked: Count = 0
    rejected: dict[str, Count] = field(default_factory=dict)
    repeated: Count = 0

    @property
    def proposed_by(self) -> str:
        """The strategy; "random" if it is a random draw because the strategy proposed nothing acceptable."""
        return self.models[0].proposed_by


_PROPOSAL = TypeAdapter(Proposal)


def damaged_text(damaged: Mapping[str, str], shown: int = 3) -> str:
    """Describe damaged records by the errors of the first ones."""
    first = "; ".join(f"{key}: {reason}" for key, reason in itertools.islice(damaged.items(), shown))
    more = f"; and {len(damaged) - shown:,} more" if len(damaged) > shown else ""
    return f"{len(damaged):,} damaged record{'s' if len(damaged) > 1 else ''} ({first}{more})"


def trainings(models: Iterable[StudyModel]) -> list[StudyModel]:
    """Return the first model of each key, in order."""
    first: dict[str, StudyModel] = {}
    for model in models:
        first.setdefault(model.key, model)
    return list(first.values())


# The keys of a manifest that commands use are checked; further keys are kept unchanged.
_Range = Annotated[list[float], Field(min_length=2, max_length=2)] | None


class _Part(BaseModel):
    model_config = STRICT | ConfigDict(extra="allow")


class _Ranges(_Part):
    macs: _Range = None
    params: _Range = None
    acts: _Range = None
    depth: _Range = None


class _Space(_Part):
    constraints: _Ranges | None = None


class _Config(_Part):
    n: Count
    search: str | None = None
    budget: Count | None = None
    objectives: list[str] = ["error"]
    training_seeds: list[Count] = [0]
    spaces: dict[str, _Space]
    seed: Count = 0
    complexity: _Ranges | None = None
    data: dict[str, Any] | None = None
    recipe: dict[str, Any] | None = None
    device: dict[str, Any] | None = None


class _Sampling(_Part):
    asked: Count
    drawn: Count
    acceptance: Seconds
    rejected: dict[str, Count] = {}


class _Environment(_Part):
    git: dict[str, Any] | None = None
    packages: dict[str, Any] | None = None


class _Manifest(_Part):
    config: _Config
    recipe_id: str
    data_id: str
    models: Count
    models_sha256: str
    spaces: dict[str, dict[str, Any]] = {}  # complete; absent in earlier versions
    sampling: dict[str, _Sampling] = {}
    environment: _Environment = _Environment()


_MANIFEST = TypeAdapter(_Manifest)


def check_is_models(path: Path) -> None:
    """Check that a models.jsonl without a manifest was written by an interrupted start.

    Raises:
        ValueError: the file is from another tool.
    """
    try:
        parse_json(_MODEL, read_regular(path).partition(b"\n")[0])
    except FileNotFoundError:
        pass
    except ValueError:
        raise ValueError(f"{path}: exists and was not written by this tool; use another folder for the study") from None


def lines_hash(lines: Iterable[str]) -> str:
    """Return the SHA-256 of lines of models.jsonl."""
    return hashlib.sha256("".join(line + "\n" for line in lines).encode()).hexdigest()


@dataclass(frozen=True)
class StudyPaths:
    """Every path of a study folder, in one place."""

    root: Path

    @property
    def manifest(self) -> Path:
        """Frozen description of the study."""
        return self.root / "manifest.json"

    def manifest_version(self) -> tuple[int, ...]:
        """Identify the current manifest, which is replaced when the study grows; OSError if there is none."""
        stat = self.manifest.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size

    @property
    def models(self) -> Path:
        """The models to train, one JSON object per line."""
        return self.root / "models.jsonl"

    @property
    def records(self) -> Path:
        """Folder of the records."""
        return self.root / "records"

    def record(self, key: str) -> Path:
        """Record file of a model."""
        return self.records / f"{key}.json"

    @property
    def claims(self) -> Path:
        """Folder of the claims."""
        return self.root / "claims"

    @property
    def times(self) -> Path:
        """Folder of the constants that predict training times."""
        return self.root / "times"

    @property
    def latency(self) -> Path:
        """Folder of the measured latencies."""
        return self.root / "latency"

    def checkpoint(self, key: str) -> Path:
        """Checkpoint of a model in training."""
        return self.root / "checkpoints" / key

    @property
    def proposals(self) -> Path:
        """Folder of the proposals of a search."""
        return self.root / "proposals"

    def proposal(self, space: str, index: int) -> Path:
        """File of a proposal."""
        return self.proposals / f"{_file_stem(space)}-{index:05d}.json"

    def journal(self, space: str) -> Path:
        """Optuna's journal of the search in a space."""
        return self.root / "search" / f"{_file_stem(space)}.journal"

    @property
    def search_lock(self) -> Path:
        """Lock file held while a proposal is made."""
        return self.root / "search" / ".lock"

    @property
    def set_aside(self) -> Path:
        """Folder of records set aside."""
        return self.root / "set_aside"

    @property
    def lock(self) -> Path:
        """Lock file held only while the manifest is written."""
        return self.root / ".lock"


def _file_stem(label: str) -> str:
    """A file name for a space; labels that are not file names get a part of their hash."""
    if re.fullmatch(r"[\w][\w.-]{0,99}", label, re.ASCII):
        return label
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', label)[:80].strip('-')}-{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def find_studies(root: str | Path) -> list[Path]:
    """The study folders at or below a folder, in order of their names; empty if there are none."""
    root = Path(root)
    if StudyPaths(root).manifest.exists():
        return [root]
    if not root.is_dir():
        return []
    folders = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    return [study for folder in folders for study in find_studies(folder)]


@dataclass(frozen=True)
class Study:
    """An existing study folder.

    Attributes:
        paths: its files.
        manifest: content of manifest.json.
        drawn: the random draws of the spaces, as in models.jsonl.
        proposals: what a search proposed until the study was opened, by file name.
    """

    paths: StudyPaths
    manifest: Mapping[str, Any]
    drawn: tuple[StudyModel, ...]
    proposals: Mapping[str, Proposal] = field(default_factory=dict)

    @classmethod
    def open(cls, root: str | Path) -> Study:
        """Open a study.

        Args:
            root: the study folder.
        Raises:
            FileNotFoundError: there is no study in that folder.
            ValueError: the manifest, models.jsonl or a proposal is damaged, or models.jsonl is not the one that was
                frozen.
        """
        paths = StudyPaths(Path(root))
        try:
            content = read_regular(paths.manifest)
            parse_json(_MANIFEST, content)
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(
                f"{root}: not a study folder (no manifest.json); start a study with designspace sweep … run={root}"
            ) from None
        except ValueError as error:
            raise ValueError(f"{paths.manifest}: not a valid manifest: {error}") from None
        manifest = json.loads(content)
        # While a study grows, the file briefly has more lines than the manifest; only the frozen lines count.
        lines = read_regular(paths.models).split(b"\n")[: manifest["models"]]
        if hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest() != manifest["models_sha256"]:
            raise ValueError(f"{paths.models}: was changed after the study was frozen; restore the original file")
        models = []
        for number, line in enumerate(lines, 1):
            try:
                models.append(parse_json(_MODEL, line))
            except ValueError as error:
                raise ValueError(f"{paths.models}, line {number}: {error}") from None
        return cls(paths, manifest, tuple(models)).with_new_proposals()

    def with_new_proposals(self) -> Study:
        """The study with the proposals made since it was opened; itself if there are none.

        Raises:
            ValueError: a proposal is damaged.
        """
        names: list[str] = []
        if self.search is not None and any(self.to_propose.values()):
            with contextlib.suppress(FileNotFoundError):
                names = [name for name in os.listdir(self.paths.proposals) if not name.startswith(".")]
        new = {}
        for name in sorted(set(names) - self.proposals.keys()):
            path = self.paths.proposals / name
            try:
                new[name] = parse_json(_PROPOSAL, read_regular(path))
            except ValueError as error:
                raise ValueError(f"{path}: not a valid proposal: {error}") from None
        return replace(self, proposals={**self.proposals, **new}) if new else self

    @cached_property
    def models(self) -> tuple[StudyModel, ...]:
        """The random draws, then the proposals in the order of their indices."""
        proposals = sorted(self.proposals.values(), key=lambda proposal: proposal.index)
        return (*self.drawn, *(model for proposal in proposals for model in proposal.models))

    @property
    def search(self) -> str | None:
        """The search strategy; None if all models are random draws."""
        search: str | None = self.config.get("search")
        return search

    @property
    def to_propose(self) -> dict[str, int]:
        """Number of models that the search has yet to propose in each space."""
        if self.search is None:
            return {}
        proposed = Counter(proposal.space for proposal in self.proposals.values())
        planned = self.config["budget"] - self.config["n"]
        return {space: max(0, planned - proposed[space]) for space in self.config["spaces"]}

    @property
    def trainings_to_propose(self) -> dict[str, int]:
        """Number of trainings of these models, one per training seed."""
        seeds = len(self.config.get("training_seeds", [0]))
        return {space: seeds * models for space, models in self.to_propose.items()}

    def write_proposal(self, proposal: Proposal) -> bool:
        """Write a proposal atomically; False if there is one with this index."""
        text = json.dumps(asdict(proposal), indent=1, allow_nan=False)
        return create_file(self.paths.proposal(proposal.space, proposal.index), text)

    @property
    def config(self) -> Mapping[str, Any]:
        """The config that the study was frozen with."""
        config: Mapping[str, Any] = self.manifest["config"]
        return config

    @cached_property
    def keys(self) -> frozenset[str]:
        """Keys of the models."""
        return frozenset(model.key for model in self.models)

    def recipe_id(self, model: StudyModel) -> str:
        """The recipe of a model: that of the study, unless the space of the model draws the learning rate or decay."""
        end = f"-{self.manifest['data_id']}-s{model.seed}"
        return model.key.removeprefix(f"{model.spec_id}-").removesuffix(end)

    def is_gone(self) -> bool:
        """Whether the folder was moved or deleted since the study was opened."""
        try:
            self.paths.manifest.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return True
        return False

    def recorded_keys(self) -> set[str]:
        """Return the keys of the models that have a record, damaged or not."""
        return self._record_names() & self.keys

    def foreign_records(self) -> int:
        """Number of records that belong to no model of the study."""
        return len(self._record_names() - self.keys)

    def _record_names(self) -> set[str]:
        try:
            names = os.listdir(self.paths.records)
        except FileNotFoundError:
            return set()
        return {name.removesuffix(".json") for name in names if name.endswith(".json") and not name.startswith(".")}

    def read_record(self, key: str) -> Record | None:
        """Read the record of a model; None if there is none.

        Raises:
            ValueError: it is damaged.
        """
        try:
            record = Record.from_json(read_regular(self.paths.record(key)))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ValueError(error.strerror) from None
        if record.key != key:
            raise ValueError("is the record of another model")
        return record

    def read_records(self, keys: Iterable[str] | None = None) -> tuple[dict[str, Record], dict[str, str]]:
        """Read the records of models.

        Args:
            keys: of the models; by default all that have a record.
        Returns:
            The records by key, and the error of each damaged one by key.
        """
        records, damaged = {}, {}
        for key in sorted(self.recorded_keys() if keys is None else keys):
            try:
                if (record := self.read_record(key)) is not None:  # None: set aside meanwhile
                    records[key] = record
            except ValueError as error:
                damaged[key] = str(error)
        return records, damaged

    def models_to_train(self) -> list[StudyModel]:
        """Return the models without a record, each key once, in the order (index, seed).

        Draws are independent, so any prefix is a fair sample of every space.
        """
        recorded = self.recorded_keys()
        missing = [model for model in trainings(self.models) if model.key not in recorded]
        return sorted(missing, key=lambda model: (model.index, model.seed))

    def write_record(self, model: StudyModel, record: Record) -> bool:
        """Write the record of a model atomically; an existing record is kept.

        Returns:
            False if the model already had a record.
        Raises:
            OSError: the disk is full or not writable; no partial file is left.
        """
        return create_file(self.paths.record(model.key), record.to_json())

    def remove_old_checkpoints(self) -> None:
        """Remove checkpoints of recorded models, left by processes that were killed just after writing the record."""
        recorded = self.recorded_keys()
        for checkpoint in (self.paths.root / "checkpoints").glob("*"):
            if checkpoint.name in recorded:
                checkpoint.unlink(missing_ok=True)

    def set_aside(self, key: str, reason: str) -> None:
        """Move a record out of the study, so that its model is trained again, and log a warning."""
        self.paths.set_aside.mkdir(exist_ok=True)
        places = (self.paths.set_aside / f"{key}.{number}.json" for number in itertools.count())
        with contextlib.suppress(FileNotFoundError):  # another process moved it first
            os.rename(self.paths.record(key), next(place for place in places if not os.path.lexists(place)))
            log.warning("record %s set aside (%s); its model will be trained again", key, reason)

    def was_set_aside(self, key: str, status: str) -> bool:
        """Whether a record of a model with this status was set aside."""
        for number in itertools.count():
            try:
                record = Record.from_json(read_regular(self.paths.set_aside / f"{key}.{number}.json"))
            except FileNotFoundError:
                return False
            except ValueError:  # damaged
                continue
            if record.status == status:
                return True
        raise AssertionError

    def set_aside_damaged(self) -> int:
        """Set aside every damaged record; return their number."""
        _, damaged = self.read_records()
        for key, reason in damaged.items():
            self.set_aside(key, f"damaged: {reason}")
        return len(damaged)

    def set_aside_with(self, statuses: Collection[str]) -> None:
        """Set aside the records with these statuses; call `set_aside_damaged` first."""
        records, _ = self.read_records() if statuses else ({}, {})
        for key, record in records.items():
            if record.status in statuses:
                self.set_aside(key, f"{record.status}, retry={list(statuses)}")
