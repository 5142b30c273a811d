"""The vocabulary that training writes and analysis reads: the columns of a record and the files of a study.

A study folder holds

    manifest.json        what was asked for: resolved configuration, versions, sampling reports
    models.jsonl         one line a model: space, index, seed, spec_id, spec, parameters, complexity
    records/KEY.json     one record for each trained model

A model is done when its record exists. Records are the truth; everything else in the folder is a help.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FEW_UPDATES = 500
"""Optimizer steps below which errors say more about the recipe than about the models: their number decides first."""

STATUSES = ("ok", "diverged", "timeout", "out_of_memory", "crashed")


def _column(meaning: str, unit: str = "", **default: Any) -> Any:
    return field(metadata={"meaning": meaning, "unit": unit}, **default)


@dataclass(frozen=True)
class Record:
    """One trained model, or the failure to train it. Curves have one value an epoch."""

    spec_id: str = _column("content hash of the spec")
    recipe_id: str = _column("content hash of the training recipe")
    data_id: str = _column("content hash of the data set and its split")
    seed: int = _column("seed of initialisation, data order and augmentation")
    status: str = _column(f"one of {', '.join(STATUSES)}")
    space: str = _column("label of the design space it was drawn from", default="")
    index: int = _column("position in the population of its space", default=0)
    spec: dict[str, Any] = _column("the network, as a nested mapping", default_factory=dict)
    parameters: dict[str, Any] = _column("free parameters of the space, as drawn", default_factory=dict)
    macs: int | None = _column("multiply-adds of one image's forward pass", "multiply-adds", default=None)
    params: int | None = _column("learnable parameters", default=None)
    acts: int | None = _column("output elements of convolutions for one image", "elements", default=None)
    depth: int | None = _column("blocks in all stages", "blocks", default=None)
    message: str = _column("what went wrong, for a failed model", default="")
    error_percent: float | None = _column("top-1 error on the validation split, last epoch", "%", default=None)
    epochs_done: int = _column("epochs finished", default=0)
    updates: int = _column("optimizer steps, with those float16 skipped where gradients overflowed", default=0)
    predicted_seconds: float | None = _column("training time predicted before, with evaluation", "s", default=None)
    device_share: float | None = _column(
        "part of its device it had: one over its worker's trainings at once there", default=None
    )
    train_seconds: float | None = _column("time spent in training epochs, without evaluation", "s", default=None)
    images_per_second: float | None = _column("training images over train_seconds", "1/s", default=None)
    peak_memory_bytes: int | None = _column("peak memory: PyTorch's on the GPU, or the process's", "B", default=None)
    epoch_train_loss: tuple[float, ...] = _column("mean training loss", "nats", default=())
    epoch_train_error_percent: tuple[float, ...] = _column("training error, augmented images", "%", default=())
    epoch_validation_error_percent: tuple[float, ...] = _column("validation error", "%", default=())
    epoch_learning_rate: tuple[float, ...] = _column("learning rate at the end of the epoch", default=())
    epoch_seconds: tuple[float, ...] = _column("time of the epoch with its evaluation", "s", default=())
    torch_version: str = _column("version of PyTorch", default="")
    device_name: str = _column("GPU or processor", default="")
    threads: int | None = _column("CPU threads of the training process", default=None)
    dtype: str = _column("arithmetic of the forward pass; tfloat32 is float32 on tensor cores", default="")
    memory_format: str = _column("channels_last or contiguous", default="")
    compiled: bool = _column("whether torch.compile was used", default=False)
    host: str = _column("machine name", default="")
    started_at: str = _column("start of training, also if it was stopped and resumed, UTC, ISO 8601", default="")
    ended_at: str = _column("end of training, UTC, ISO 8601", default="")
    attempts: int = _column("how often training was tried", default=1)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status = {self.status!r}: must be one of {', '.join(STATUSES)}")
        for name in CURVES:
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def to_json(self) -> str:
        """One JSON object; a number that is not finite becomes null."""
        return json.dumps(_finite(asdict(self)), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read what `to_json` wrote; unknown keys of later versions are dropped; ValueError if it is no record."""
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError(f"a record is a JSON object, not {type(content).__name__}")
        missing = [name for name in ("spec_id", "recipe_id", "data_id", "seed", "status") if name not in content]
        if missing:
            raise ValueError(f"record without {', '.join(missing)}")
        return cls(**{name: value for name, value in content.items() if name in COLUMNS})


@dataclass(frozen=True)
class Column:
    """What a column of a record means and its unit ("" where it has none)."""

    meaning: str
    unit: str
    dtype: str


COLUMNS = {f.name: Column(f.metadata["meaning"], f.metadata["unit"], str(f.type)) for f in fields(Record)}
CURVES = tuple(name for name, column in COLUMNS.items() if column.dtype.startswith("tuple"))


def now() -> str:
    """This moment as records have it: UTC, ISO 8601, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def record_key(spec_id: str, recipe_id: str, data_id: str, seed: int) -> str:
    """The file name (without suffix) of the record of one training."""
    return f"{spec_id}-{recipe_id}-{data_id}-s{seed}"


def read_records(folder: str | Path) -> list[Record]:
    """All readable records of a study, ordered by file name; an unreadable one is left out with a warning."""
    records = []
    for path in sorted((Path(folder) / "records").glob("*.json")):
        try:
            records.append(Record.from_json(path.read_text()))
        except (ValueError, TypeError) as error:
            warnings.warn(f"{path}: not a record ({error}); left out", stacklevel=2)
    return records


def read_study(folder: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]], list[Record]]:
    """Manifest, models and records of a study folder.

    Raises:
        FileNotFoundError: the folder is not a study.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").exists():
        raise FileNotFoundError(f"{folder}: not a study folder (it has no manifest.json)")
    manifest = json.loads((folder / "manifest.json").read_text())
    models = [json.loads(line) for line in (folder / "models.jsonl").read_text().splitlines()]
    return manifest, models, read_records(folder)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if value - value == 0 else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
