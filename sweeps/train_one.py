"""Train one network from Python or the command line, optionally writing weights and test error to a folder."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from designspace.atomic import not_ours, replace_file
from designspace.spec import ModelSpec, check_spec
from designspace.study import Record
from designspace.validated import check_integer, shorten, unknown
from sweeps.config import DataConfig, DeviceConfig, Recipe, load_data, load_device, load_recipe

if TYPE_CHECKING:
    from torch import nn

    from sweeps.data import Splits, StreamedSplits
    from sweeps.trainer.device import Device
    from sweeps.trainer.distributed import World
    from sweeps.trainer.initial import InitialWeights

log = logging.getLogger(__name__)

T = TypeVar("T")

RESULT = "training.json"
CHECKPOINT = "checkpoint.pt"
INITIAL = "initial_weights"
IDENTITY = ("spec_id", "recipe_id", "data_id", "seed")


def train(
    spec: ModelSpec,
    data: str | DataConfig = "fashion_mnist",
    recipe: str | Recipe = "low_epoch",
    *,
    seed: int = 0,
    device: str | DeviceConfig = "auto",
    deadline_seconds: float | None = None,
    out: str | Path | None = None,
    formats: Sequence[str] = ("yaml",),
    force: bool = False,
    on_epoch: Callable[[Record], None] | None = None,
    world: World | None = None,
    weights: str | Path | None = None,
    probe: bool = False,
    scores: bool = False,
    **changes: Any,
) -> Record:
    """Train a network and return its record.

    A failure of the network (diverged, out_of_memory, timeout, crashed) is a status of the record, not an exception.

    Args:
        spec: the network, with the channels and classes of the data. Images are resized to its resolution.
        data: a data set (digits, fashion_mnist, cifar10, cifar100), or settings from `sweeps.config.load_data`.
        recipe: a recipe (low_epoch, regnet, nds, …), or settings from `sweeps.config.load_recipe`.
        seed: of initialization, data order, augmentation, and dropout.
        device: auto, cpu, or cuda, or settings from `sweeps.config.load_device`.
        deadline_seconds: stop with status "timeout" after this training time.
        out: folder for weights, model card, and training.json with the test error, measured once at the end. The same
            call resumes from the checkpoint of the last epoch; it does not repeat a finished training.
        formats: files to write into `out`, of `designspace.export.FORMATS`.
        force: whether files in `out` from other tools may be replaced.
        on_epoch: called with the record so far after every epoch.
        world: the processes that train this network together. All make the same call; the first writes the files.
        weights: start from these weights: a .safetensors file, a state dict (torch.save), or a folder written by `out`.
            The head is newly initialized if the number of classes differs.
        probe: add gradient norms, and activations of the trained network, to the record.
        scores: add zero-cost scores of the untrained network to the record.
        changes: fields of the recipe, like epochs=3.

    Raises:
        ValueError: an argument is not allowed, or the arguments do not fit together.
    """
    from sweeps.data import find_test, open_data, prepare_data
    from sweeps.trainer.distributed import ALONE
    from sweeps.trainer.initial import read_initial_weights
    from sweeps.trainer.trainer import check_fit, new_record, train_model

    world = world or ALONE
    with world.agree():
        check_spec(spec)
        data = _settings("data", data, DataConfig, load_data)
        recipe = _recipe(recipe, data, changes)
        device = _settings("device", device, DeviceConfig, load_device)
        if deadline_seconds is not None and (not isinstance(deadline_seconds, int | float) or deadline_seconds < 0):
            raise ValueError(f"deadline_seconds = {shorten(deadline_seconds)}: must be a number of at least 0")
        if isinstance(formats, str):
            raise ValueError(f"formats = {formats!r}: must be a list of formats")
        seed = check_integer("seed", seed, 0)
        recipe.check_device(device)
        initial = None if weights is None else read_initial_weights(weights, spec)
        folder = None if out is None else _Folder(Path(out), data, recipe, formats, initial)
        if folder:
            folder.prepare(force)
        prepare_data(data)
        splits = open_data(data)
        check_fit(spec, splits)
        if warning := recipe.resizing("spec.resolution", spec.resolution, splits.resolution):
            log.warning(warning)
        record = new_record(spec, splits, recipe, seed)
        test_part = find_test(data) if folder else None
    if folder and any(world.gather(folder.is_finished)):
        with world.agree():
            return folder.finished(record)

    trained: list[tuple[nn.Module, Device]] = []
    record = train_model(
        spec,
        splits,
        recipe,
        record,
        device_config=device,
        deadline_seconds=deadline_seconds,
        checkpoint=folder and folder.path / CHECKPOINT,
        long_seconds=0.0,
        on_epoch=on_epoch,
        on_trained=(lambda network, device: trained.append((network, device))) if folder else None,
        initial=initial,
        world=world,
        probe=probe,
        scores=scores,
    )
    if folder and trained:
        folder.write(spec, record, splits, test_part, *trained[0])
    return record


def _settings(field: str, value: Any, kind: type[T], load: Callable[[str], T]) -> T:
    """Settings as given or from conf/ by name."""
    if isinstance(value, str):
        return load(value)
    if not isinstance(value, kind):
        raise ValueError(f"{field} = {shorten(value)}: must be a name or a {kind.__name__}")
    return value


def _recipe(recipe: str | Recipe, data: DataConfig, changes: Mapping[str, Any]) -> Recipe:
    if names := [name for name in changes if name not in Recipe.model_fields]:
        raise ValueError(unknown("argument", names[0], Recipe.model_fields))
    if isinstance(recipe, str):
        return load_recipe(recipe, data, **changes)
    return _settings("recipe", recipe, Recipe, load_recipe).changed(**changes)


@dataclass(frozen=True)
class _Folder:
    """The folder of one trained network."""

    path: Path
    data: DataConfig
    recipe: Recipe
    formats: Sequence[str]
    initial: InitialWeights | None = None

    @property
    def is_finished(self) -> bool:
        """Whether the training is done."""
        return (self.path / RESULT).exists()

    def prepare(self, force: bool) -> None:
        """Create the folder; ValueError if a file would be replaced or a package is missing."""
        from designspace.packages import require

        check_train_folder(self.path, force=force)
        require(self.formats, weights=True)
        self.path.mkdir(parents=True, exist_ok=True)

    def finished(self, record: Record) -> Record:
        """Read the record of a finished training; ValueError if it is not the same training."""
        path = self.path / RESULT
        content = path.read_bytes()
        try:
            saved = Record.from_json(content)
        except ValueError as error:
            raise ValueError(f"{path}: must be the result of a training: {error}") from None
        before = {name: getattr(saved, name) for name in IDENTITY}
        before |= {"weights": (json.loads(content).get(INITIAL) or {}).get("sha256")}
        now = {name: getattr(record, name) for name in IDENTITY}
        now |= {"weights": self.initial and self.initial.sha256}
        for name, value in now.items():
            if before[name] != value:
                raise ValueError(
                    f"{path}: result of another training ({name} = {before[name]}), must have {name} = {value}"
                )
        return saved

    def write(
        self,
        spec: ModelSpec,
        record: Record,
        splits: Splits | StreamedSplits,
        test_part: str | None,
        network: nn.Module,
        device: Device,
    ) -> None:
        """Measure the test error and write all files; the first of several processes writes."""
        from designspace.export import write
        from sweeps.data import StreamedSplits, open_test
        from sweeps.trainer.trainer import measure_error

        result: dict[str, Any] = json.loads(record.to_json()) | {
            "processes": device.world.size,
            "test_part": test_part,
            "test_error_percent": None,
        }
        provenance = self._provenance(record, splits, device)
        if self.initial is not None:
            start = {"file": str(self.initial.path), "sha256": self.initial.sha256, "head": self.initial.head}
            result[INITIAL] = provenance[INITIAL] = start
        if test_part is not None:
            test = open_test(self.data, splits)
            resolution = self.recipe.resolution_at(self.recipe.epochs - 1, spec.resolution)
            error = measure_error(network, test, resolution, self.recipe, device)
            result["test_error_percent"] = error
            provenance |= {"test_part": test_part, "test_error_percent": error_interval(error, test.validation_size)}
        if isinstance(splits, StreamedSplits):
            result["skipped_files"] = dict(splits.skipped)
        if not device.world.is_first:
            return
        weights = {
            name: value.float() if value.is_floating_point() else value for name, value in network.state_dict().items()
        }
        write(spec, self.formats, self.path, provenance=provenance, weights=weights)
        replace_file(self.path / RESULT, json.dumps(result, indent=2) + "\n")
        (self.path / CHECKPOINT).unlink(missing_ok=True)

    def _provenance(self, record: Record, splits: Splits | StreamedSplits, device: Device) -> dict[str, Any]:
        assert record.error_percent is not None
        return {
            "spec_id": record.spec_id,
            "recipe_id": record.recipe_id,
            "data_id": record.data_id,
            "seed": record.seed,
            "started_at": record.started_at,
            "torch_version": record.torch_version,
            "device_name": record.device_name,
            "processes": device.world.size,
            "dtype": record.dtype,
            "trained": f"{self.recipe.epochs} epochs on {self.data.name}",
            "recipe": self.recipe.model_dump(mode="json"),
            "validation_error_percent": error_interval(record.error_percent, splits.validation_size),
            "normalisation": {"mean": _rounded(splits.mean), "std": _rounded(splits.std), "scale": "0 to 1"},
            "test_error_percent": "not measured: the data set has no test part",
        }


def check_train_folder(path: Path, *, force: bool = False) -> None:
    """Check that a network may be trained into a folder; ValueError if that would replace files from other tools."""
    from designspace.export import check_folder
    from sweeps.trainer.checkpoint import is_checkpoint

    if (path / RESULT).exists():
        return  # nothing will be written
    check_folder(path, force=force)
    checkpoint = path / CHECKPOINT
    if checkpoint.exists() and not force and not is_checkpoint(checkpoint):
        raise not_ours(checkpoint)


def error_interval(percent: float, images: int) -> dict[str, Any]:
    """Return an error rate with Wilson's 95 % interval for the sampling of the images."""
    from scipy.stats import binomtest

    interval = binomtest(round(percent / 100 * images), images).proportion_ci(0.95, method="wilson")
    low, high = (round(100 * float(bound), 4) for bound in (interval.low, interval.high))
    return {"value": round(percent, 4), "low": low, "high": high, "images": images}


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(float(value), 6) for value in values]


def run_command(
    spec_path: Path,
    overrides: Sequence[str],
    out: str,
    *,
    config_dir: str | None,
    seed: int,
    formats: Sequence[str],
    weights: str | None,
    force: bool,
) -> int:
    """Run the command `train`; see `train` for the arguments."""
    from designspace.export import FORMATS
    from designspace.files import load_spec
    from sweeps.compose import compose
    from sweeps.trainer.device import device_kind
    from sweeps.trainer.distributed import join

    if names := [name for name in formats if name not in FORMATS]:
        raise ValueError(unknown("to", names[0], FORMATS))
    config = compose([*overrides, "run=train"], folder=config_dir).config
    recipe, data, device = config.recipe, config.data, config.device
    world = join(device_kind(device))
    if not world.is_first:  # only the first process prints warnings
        for module in ("sweeps.train_one", "sweeps.trainer.checkpoint", "sweeps.trainer.initial", "sweeps.data"):
            logging.getLogger(module).setLevel(logging.ERROR)

    def print_epoch(record: Record) -> None:
        if world.is_first:
            print(
                f"epoch {record.epochs_done}/{recipe.epochs}  loss {record.epoch_train_loss[-1]:.3f}  "
                f"validation error {record.epoch_validation_error_percent[-1]:.2f} %  {record.epoch_seconds[-1]:.1f} s",
                flush=True,
            )

    record = train(
        load_spec(spec_path / "spec.yaml" if spec_path.is_dir() else spec_path),
        data,
        recipe,
        seed=seed,
        device=device,
        out=out,
        formats=formats,
        force=force,
        on_epoch=print_epoch,
        world=world,
        weights=weights,
        probe=config.probe,
        scores=config.scores,
    )
    if record.status != "ok":
        process = f"process {world.rank} of {world.size}: " if world.size > 1 else ""
        print(f"{process}{record.status}: {record.message}", flush=True)
        return 1
    world.leave()
    if world.is_first:
        result = json.loads((Path(out) / RESULT).read_bytes())
        test = result["test_error_percent"]
        suffix = "" if test is None else f", test error {test:.2f} %"
        print(f"{out}: validation error {record.error_percent:.2f} %{suffix}")
    return 0
