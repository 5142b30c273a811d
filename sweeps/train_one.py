"""One network trained at length, in a folder of its own: resumable, with weights, card and test error at the end."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from designspace.atomic import replace_file
from designspace.export import check_folder, write
from designspace.packages import require
from designspace.network import build_network
from designspace.atomic import not_ours
from designspace.spec import ModelSpec
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import DataConfig, Splits, StreamedSplits, find_test, open_data, open_test, prepare_data
from sweeps.trainer.checkpoint import Checkpoint, is_checkpoint
from sweeps.trainer.device import Device, resolve_device
from sweeps.trainer.distributed import ALONE, World
from sweeps.trainer.evaluate import error_percent
from sweeps.trainer.images import at_resolution
from sweeps.trainer.result import EpochResult
from sweeps.trainer.trainer import arithmetic, check_fit, placed, train_network, training_identity

DONE = "training.json"
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Job:
    """What is trained, how and where."""

    spec: ModelSpec
    recipe: Recipe
    data: DataConfig
    device: DeviceConfig
    seed: int
    out: Path


def check_train_folder(out: Path, *, force: bool = False) -> None:
    """Check that a network may be trained into a folder; ValueError if that would replace files of other origin."""
    if (out / DONE).exists():
        return  # nothing will be written
    check_folder(out, force=force)
    checkpoint = out / CHECKPOINT
    if checkpoint.exists() and not force and not is_checkpoint(checkpoint):
        raise not_ours(checkpoint)


def train_one(
    job: Job,
    formats: Sequence[str] = ("yaml",),
    on_epoch: Callable[[EpochResult], None] | None = None,
    world: World = ALONE,
) -> dict[str, Any]:
    """Train a network, or go on from its checkpoint, and write its folder as `designspace.export.write` does.

    The test part is read once, after the last epoch. A folder whose training is done is left as it is.

    Args:
        job: what to train; `out` gets the checkpoint after every epoch, and at the end all files.
        formats: of `designspace.export.FORMATS`.
        on_epoch: called after every epoch.
        world: the processes that train it together, which all call this alike; the first writes the files.

    Returns:
        The content of training.json: identity, outcome, curves, environment, `test_part` (the set's own name for it,
        None if it has none), `test_error_percent` and, for sets of images on disk, `skipped_files` (their number by
        kind); the status says whether the training ended well, and only then are there files.

    Raises:
        ValueError: spec, data, recipe and folder do not fit together.
    """
    with world.together():
        require(formats, weights=True)  # not after days of training
        prepare_data(job.data)
        opened = open_data(job.data)
        check_fit(job.spec, opened)
        test_part = find_test(job.data)
        device = resolve_device(job.device, world)
    identity = training_identity(job.spec, job.recipe, opened, job.seed)
    if any(world.gathered((job.out / DONE).exists())):
        with world.together():
            return _finished(job.out / DONE, identity)
    job.out.mkdir(parents=True, exist_ok=True)
    place = Checkpoint(job.out / CHECKPOINT, identity, arithmetic(device), long_seconds=0.0)
    built: list[nn.Module] = []

    def build() -> nn.Module:
        built[:] = [build_network(job.spec, zero_init_residual=job.recipe.zero_init_residual)]
        return built[0]

    result = train_network(
        build,
        opened,
        job.recipe,
        seed=job.seed,
        resolution=job.spec.resolution,
        device_config=job.device,
        on_epoch=on_epoch,
        checkpoint=place,
        world=world,
    )
    outcome: dict[str, Any] = identity | {"processes": world.size} | dataclasses.asdict(result)
    outcome |= {"test_part": test_part, "test_error_percent": None}
    if isinstance(opened, StreamedSplits):
        outcome["skipped_files"] = dict(opened.skipped)
    if result.status != "ok":
        return outcome
    network = built[0]
    origin = _provenance(job, outcome)
    origin["validation_error_percent"] = _measured(result.error_percent, opened.validation_size)
    origin["normalisation"] = {"mean": _rounded(opened.mean), "std": _rounded(opened.std), "scale": "0 to 1"}
    origin["test_error_percent"] = "not measured: the data set has no test part"
    if test_part is not None:
        origin["test_part"] = test_part
        test = open_test(job.data, opened)
        used = device.in_layout(result.memory_format)
        outcome["test_error_percent"] = error_on(network, test, job.spec.resolution, job.recipe, used)
        origin["test_error_percent"] = _measured(outcome["test_error_percent"], test.validation_size)
    if not world.is_first:
        return outcome
    weights = {
        name: value.float() if value.is_floating_point() else value for name, value in network.state_dict().items()
    }
    write(job.spec, formats, job.out, provenance=origin, weights=weights)
    replace_file(job.out / DONE, json.dumps(outcome, indent=2) + "\n")
    place.remove()
    return outcome


def error_on(
    network: nn.Module, splits: Splits | StreamedSplits, resolution: int, recipe: Recipe, device: Device
) -> float:
    """Top-1 error of a network in percent on the images of the validation part, or of what stands in its place."""
    with device.settings():
        data = placed(at_resolution(splits, resolution), device, recipe)
        return error_percent(network, lambda: data.validation_batches(recipe.eval_batch_size), device)


def interval(percent: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of an error rate measured on n images, in percent: chance of the images alone."""
    rate, z = percent / 100, 1.96
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5 / (1 + z * z / n)
    return 100 * max(0.0, centre - half), 100 * min(1.0, centre + half)


def _measured(percent: float | None, n: int) -> dict[str, Any]:
    assert percent is not None
    low, high = interval(percent, n)
    return {"value": round(percent, 4), "low": round(low, 4), "high": round(high, 4), "images": n}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 6) for value in values]


def _provenance(job: Job, outcome: Mapping[str, Any]) -> dict[str, Any]:
    keys = (
        "spec_id",
        "recipe_id",
        "data_id",
        "seed",
        "started_at",
        "torch_version",
        "device_name",
        "processes",
        "dtype",
    )
    return {
        **{key: outcome[key] if isinstance(outcome[key], int) else str(outcome[key]) for key in keys},
        "trained": f"{job.recipe.epochs} epochs on {job.data.name}",
        "recipe": job.recipe.model_dump(mode="json"),
    }


def _finished(path: Path, identity: Mapping[str, Any]) -> dict[str, Any]:
    try:
        result: dict[str, Any] = dict(json.loads(path.read_bytes()))
    except (TypeError, ValueError):
        raise ValueError(f"{path}: not the result of a training") from None
    for key, value in identity.items():
        if result.get(key) != value:
            raise ValueError(f"{path} is of another training: {key} is {result.get(key)} there and {value} here")
    return result
