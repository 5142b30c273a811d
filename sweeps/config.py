"""The typed schema of conf/: spaces, data, recipe, device, and execution. Does not import torch.

The YAML files of conf/ hold the defaults. `load_recipe`, `load_data` and `load_device` read them for Python code.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from designspace.files import read_mapping
from designspace.spaces import RATES, Constraints, Template
from designspace.spaces.config import SUFFIXES
from designspace.study import FEW_UPDATES, STATUSES
from designspace.validated import Name, Validated, shorten, unknown
from sweeps.stopping import Stopping

CONF = Path(__file__).resolve().parents[1] / "conf"

DEFAULT_TRAINER = "sweeps.training.open_trainer"
"""Name of the built-in trainer (null in a config) in hashes and in the manifests of earlier versions."""

FEWEST_HEARTBEATS = 3
"""Missing heartbeats before a claim is stale. A single one may be late, especially on a shared file system."""


Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


def _distinct(seeds: list[int]) -> list[int]:
    if len(set(seeds)) < len(seeds):
        raise ValueError("must be different numbers")
    return seeds


def _from_error(objectives: list[str]) -> list[str]:
    if objectives[:1] != ["error"] or len(set(objectives)) < len(objectives):
        raise ValueError("must be error, and then different ones of macs, params, acts and depth")
    return objectives


def _number_as_text(value: Any) -> Any:
    """A folder named by a number is one in YAML."""
    return str(value) if isinstance(value, int | float) else value


class Recipe(Validated):
    """How a network is trained: SGD with momentum, warm-up, and a decay that is updated at every step.

    `learning_rate` is the peak for batches of `reference_batch_size` images and scales linearly with `batch_size`
    (Goyal et al. 2017, arXiv 1706.02677); without a reference it is used as given. It rises linearly for
    `warmup_epochs` (may be a fraction), then follows `schedule` to zero at the last update. `weight_decay` applies to
    every parameter, as in pycls, unless `decay_norm_and_bias` is false. `crop_padding` (pixels) and `flip` are drawn
    per image and epoch; `padding_color` is black, or the mean of the training images, which is zero after
    normalization. Images are resized to `resolution` pixels a side, by default that of the network; a list is divided
    over the epochs, as in progressive learning (Tan & Le 2021, arXiv 2104.00298). `name` is a label and not part of
    `recipe_id`.

    With `ema_decay`, the network that is evaluated and exported is an exponential moving average of the weights and of
    batch norm's statistics, updated at every step. `mixup` and `cutmix` are the α of their Beta(α, α). `rand_augment`
    is the number of operations and their magnitude (of 30).

    Fields with a default are newer than others; studies of earlier versions lack them.
    """

    name: str
    epochs: int = Field(ge=1)
    batch_size: int = Field(ge=2)
    learning_rate: float = Field(gt=0)
    reference_batch_size: int | None = Field(ge=1)
    schedule: Literal["cosine", "linear", "constant"]
    warmup_epochs: float = Field(ge=0)
    momentum: float = Field(ge=0, lt=1)
    nesterov: bool
    weight_decay: float = Field(ge=0)
    decay_norm_and_bias: bool
    label_smoothing: float = Field(ge=0, lt=1)
    zero_init_residual: bool
    crop_padding: int = Field(ge=0)
    flip: bool
    eval_batch_size: int = Field(ge=1)
    resolution: Positive | Annotated[list[Positive], Field(min_length=1)] | None = None
    padding_color: Literal["black", "mean"] = "black"
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = None
    mixup: float = Field(default=0.0, ge=0)
    cutmix: float = Field(default=0.0, ge=0)
    rand_augment: tuple[Annotated[int, Field(ge=1)], Annotated[int, Field(ge=1, le=29)]] | None = None
    trivial_augment: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.warmup_epochs >= self.epochs and self.schedule != "constant":
            raise ValueError(f"warmup_epochs = {self.warmup_epochs:g}: must be less than epochs = {self.epochs}")
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov = True: must be False when momentum = 0")
        if self.rand_augment is not None and self.trivial_augment:
            raise ValueError("trivial_augment = True: must be False with rand_augment")
        if isinstance(self.resolution, list) and len(self.resolution) > self.epochs:
            raise ValueError(f"resolution = {self.resolution}: must have at most {self.epochs} values, one per epoch")
        return self

    @property
    def uses_policy(self) -> bool:
        """Whether images are augmented by a policy of kornia."""
        return self.rand_augment is not None or self.trivial_augment

    @property
    def batch_augmentation(self) -> str | None:
        """The first field that augments batches on the device, if any."""
        fields = ("mixup", "cutmix", "rand_augment", "trivial_augment")
        return next((name for name in fields if getattr(self, name)), None)

    def check_device(self, device: DeviceConfig) -> None:
        """Raise ValueError if a CUDA graph cannot contain the updates."""
        if device.cuda_graphs and (name := self.batch_augmentation):
            raise ValueError(
                f"device.cuda_graphs = True: must be False with recipe.{name}, which a graph cannot contain"
            )

    @property
    def recipe_id(self) -> str:
        """Hash of every field but `name` and `eval_batch_size` (which only changes rounding), 16 hex digits."""
        content = without_defaults(self.model_dump(exclude={"name", "eval_batch_size"}, mode="json"))
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]

    def with_rates(self, parameters: Mapping[str, Any]) -> Recipe:
        """The recipe of one model: with the learning rate and weight decay among the parameters of its space."""
        rates = {name: parameters[name] for name in RATES if name in parameters}
        return self.changed(**rates) if rates else self

    @property
    def peak_learning_rate(self) -> float:
        """The highest learning rate for this batch size."""
        return self.learning_rate * self.batch_size / (self.reference_batch_size or self.batch_size)

    def updates_per_epoch(self, images: int) -> int:
        """Updates in an epoch of `images` training images: full batches only, since small ones hurt batch norm."""
        return images // self.batch_size

    def learning_rate_at(self, update: int, updates_per_epoch: int) -> float:
        """Learning rate of one update, counted from 0 over all epochs."""
        warmup = self.warmup_epochs * updates_per_epoch
        if update < warmup:
            return self.peak_learning_rate * ((update + 1) / (math.floor(warmup) + 1))
        done = (update - warmup) / (self.epochs * updates_per_epoch - warmup)
        factors = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1.0}
        return self.peak_learning_rate * factors[self.schedule]

    def resolution_at(self, epoch: int, default: int) -> int:
        """Resolution of the images in an epoch, counted from 0; `default` is that of the network."""
        if isinstance(self.resolution, list):
            return self.resolution[epoch * len(self.resolution) // self.epochs]
        return self.resolution or default

    def resizing(self, field: str, resolution: int, images: int) -> str | None:
        """A warning when training resizes the images only because the network has another resolution, else None.

        Args:
            field: of the resolution, for the message.
            resolution: of the network.
            images: resolution of the data.
        """
        if self.resolution is not None or resolution == images:
            return None
        return (
            f"{field} = {resolution}: differs from the {images} pixels of the data; images are resized to "
            f"{resolution} pixels"
        )

    def advice(self, images: int) -> str | None:
        """A warning when training is too short to separate models, else None."""
        updates = self.epochs * self.updates_per_epoch(images)
        if updates >= FEW_UPDATES:
            return None
        return (
            f"only {updates} updates ({self.epochs} epochs of {images} images in batches of {self.batch_size}): below "
            f"about {FEW_UPDATES}, errors depend more on the recipe than on the model"
        )


def without_defaults(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a recipe without fields newer than others at their default, which change no training."""
    newer = {name: field.default for name, field in Recipe.model_fields.items() if not field.is_required()}
    if not recipe.get("crop_padding"):
        recipe = {name: value for name, value in recipe.items() if name != "padding_color"}
    return {name: value for name, value in recipe.items() if name not in newer or value != newer[name]}


class DataConfig(Validated):
    """A data set and its validation split.

    The defaults equal those of conf/data and apply to studies of versions without a setting.

    Attributes:
        name: one of `sweeps.data.names()`.
        resolution: pixels a side; checked against the images, or the size they are resized to.
        in_channels: channels of the images.
        classes: number of classes; fewer than the set has keeps the labels 0 … classes − 1.
        subset: training images to keep after the validation split, stratified by label. Larger subsets contain
            smaller ones.
        validation_size: images held out of the training set, stratified by label.
        validation_fraction: fraction to hold out where `validation_size` is None.
        split_seed: seed of the validation split.
        crop_padding: augmentation for longer training, in pixels; recipes refer to it.
        flip: the same for horizontal flips.
        path: name in the `datasets` library (data set hf).
        workers: decoding processes for each training process (image_folder, hf). "auto": its share of the cores. 0: the
            training process decodes. Not part of any id.
        white_level: value of white in images with more than 8 bits, which are rejected without it (image_folder, hf).
        max_pixels: larger images are rejected. Not part of any id.
        root: cache folder (default: $DESIGNSPACE_DATA, else ~/.cache/designspace; for hf, the library's own), or the
            images of image_folder. Not part of any id.
    """

    name: str
    resolution: int | None = Field(default=None, ge=1)
    in_channels: int | None = Field(default=None, ge=1)
    classes: int | None = Field(default=None, ge=2)
    subset: int | None = Field(default=None, ge=1)
    validation_size: int | None = Field(default=None, ge=1)
    validation_fraction: float = Field(default=0.1, gt=0, lt=1)
    split_seed: int = Field(default=0, ge=0)
    crop_padding: int = Field(default=0, ge=0)
    flip: bool = False
    path: str | None = None
    workers: Literal["auto"] | Count = "auto"
    white_level: float | None = Field(default=None, gt=0)
    max_pixels: int = Field(default=178_956_970, ge=1)
    root: Path | None = None


class DeviceConfig(Validated):
    """Device, arithmetic, memory layout and threads; "auto" follows the hardware.

    The defaults equal those of conf/device.

    Attributes:
        device: auto is the GPU if there is one.
        dtype: auto is bfloat16 where it is native (CPU with AVX512_BF16 or AMX, GPU of compute capability 8 or more),
            else float16 on GPUs with tensor cores, else float32.
        channels_last: auto is True on a CPU, and on a GPU where it is faster for the model.
        threads: CPU threads of PyTorch.
        compile: run torch.compile, which takes 16 to 50 s per model and pays off only for long training.
        cuda_graphs: replay updates as a CUDA graph, faster for small networks, where a single process trains a network
            and the images are kept on the GPU. Not yet tested on a GPU.
        deterministic: bit-for-bit repeatable results on a GPU where PyTorch supports it, slower. A CPU always is.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    channels_last: Literal["auto"] | bool = "auto"
    threads: int = Field(default=1, ge=1)
    compile: bool = False
    cuda_graphs: bool = False
    deterministic: bool = False


class TrainingConfig(Validated):
    """Settings that all training runs of a study share."""

    data: DataConfig
    recipe: Recipe
    device: DeviceConfig

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        self.recipe.check_device(self.device)
        return self

    @classmethod
    def of_study(cls, config: Mapping[str, Any]) -> TrainingConfig:
        """The sections of a study's frozen config; its other keys are ignored."""
        return cls.from_mapping({name: config[name] for name in TrainingConfig.model_fields})


class StudyConfig(TrainingConfig):
    """Schema of conf/config.yaml, which holds the defaults and describes every key."""

    model_config = ConfigDict(strict=True)

    n: Positive
    seed: Count
    duplicates: Literal["keep", "drop"]
    training_seeds: Annotated[list[Count], Field(min_length=1), AfterValidator(_distinct)]
    spaces: dict[Name, dict[str, Any]]  # as `designspace.spaces.space_from_config` reads them
    template: Template
    complexity: Constraints
    deadline_seconds: Seconds | None
    trainer: str | None
    stopping: Stopping | None
    search: Literal["tpe", "nsga2", "cmaes", "random", "surrogate"] | None
    budget: Positive | None
    objectives: Annotated[list[Literal["error", "macs", "params", "acts", "depth"]], AfterValidator(_from_error)]

    probe: bool
    scores: bool
    run: Annotated[str, Field(min_length=1), BeforeValidator(_number_as_text)]
    plan: Literal["only"] | None
    processes: Literal["auto"] | Positive
    processes_per_device: Positive
    attempts: Positive
    allowed_failures: float = Field(ge=0, le=1)
    retry: list[Literal[STATUSES[1:]]]  # type: ignore[valid-type]
    worker: Count
    deadline_factor: Annotated[float, Field(ge=1)] | None
    heartbeat_seconds: float = Field(gt=0)
    stale_seconds: Seconds
    checkpoint_seconds: Seconds
    stop_seconds: Seconds

    @model_validator(mode="after")
    def _check(self) -> Self:
        self._check_search()
        if self.stale_seconds < FEWEST_HEARTBEATS * self.heartbeat_seconds:
            raise ValueError(
                f"stale_seconds = {self.stale_seconds:g}: must be at least {FEWEST_HEARTBEATS} times heartbeat_seconds "
                f"= {self.heartbeat_seconds:g}"
            )
        epochs = self.recipe.epochs
        if self.stopping is not None and (first := self.stopping.first_epoch(epochs)) >= epochs:
            raise ValueError(f"stopping.min_epochs = {first}: must be less than recipe.epochs = {epochs}")
        return self

    def _check_search(self) -> None:
        if self.search is None:
            if self.budget is not None:
                raise ValueError(f"budget = {self.budget}: must be null without a search; add search=tpe")
            if len(self.objectives) > 1:
                raise ValueError(f"objectives = {self.objectives}: must be [error] without a search; add search=tpe")
            return
        if self.budget is None:
            raise ValueError(
                f"budget: required with search = {self.search}: models per space, including the n random draws"
            )
        if self.budget <= self.n:
            raise ValueError(
                f"budget = {self.budget}: must be greater than n = {self.n}; it includes the random draws of a space"
            )
        if self.search == "cmaes" and len(self.objectives) > 1:
            raise ValueError(f"objectives = {self.objectives}: must be [error] with search = cmaes; use tpe or nsga2")


def spaces_by_label(spaces: object) -> dict[str, Any]:
    """The spaces of a study as mappings by label.

    Args:
        spaces: a list of names and files, or a mapping of labels to names, files (.yaml) or mappings. The label of a
            name is the name, without the module of an import path; that of a file is its stem.
    Raises:
        FileNotFoundError: a file does not exist.
        ValueError: another type, a label that is not unique, or a file that is not valid YAML.
    """
    if isinstance(spaces, str):
        spaces = [spaces]
    if isinstance(spaces, list) and all(isinstance(name, str) for name in spaces):
        labels = [Path(name).stem if _is_file(name) else name.rpartition(":")[2] for name in spaces]
        if len(set(labels)) < len(labels):
            raise ValueError(f"spaces = {shorten(spaces)}: must be different; name them, like spaces={{first: …}}")
        spaces = dict(zip(labels, spaces, strict=True))
    if not isinstance(spaces, Mapping):
        raise ValueError(f"spaces = {shorten(spaces)}: must be a list of names, or a mapping of labels to spaces")
    return {str(label): _mapping(space) if isinstance(space, str) else space for label, space in spaces.items()}


def _is_file(name: str) -> bool:
    return Path(name).suffix in SUFFIXES


def _mapping(name: str) -> dict[str, Any]:
    return dict(read_mapping(Path(name))) if _is_file(name) else {"base": name}


def load_recipe(recipe: str = "low_epoch", /, data: DataConfig | None = None, **changes: Any) -> Recipe:
    """Load a recipe of conf/recipe.

    Args:
        recipe: its name.
        data: the data set; most recipes apply its augmentation.
        changes: fields to override.
    Raises:
        ValueError: the name or a field is unknown, or a value is not allowed.
    """
    return Recipe.from_mapping(_load("recipe", recipe, data) | changes)


def load_data(data: str, /, **changes: Any) -> DataConfig:
    """Load the settings of a data set of conf/data; see `load_recipe`."""
    return DataConfig.from_mapping(_load("data", data) | changes)


def load_device(device: str = "auto", /, **changes: Any) -> DeviceConfig:
    """Load device settings of conf/device; see `load_recipe`."""
    return DeviceConfig.from_mapping(_load("device", device) | changes)


def _load(group: str, name: str, data: DataConfig | None = None) -> dict[str, Any]:
    from omegaconf import OmegaConf
    from omegaconf.errors import InterpolationKeyError

    config = OmegaConf.create({group: _inherited(group, name)} | ({"data": data.model_dump()} if data else {}))
    try:
        values: Any = OmegaConf.to_container(config, resolve=True)
    except InterpolationKeyError:
        raise ValueError(f"{group} = {name}: depends on the data set, so data is required") from None
    return dict(values[group])


def _inherited(group: str, name: str) -> dict[str, Any]:
    from omegaconf import OmegaConf

    names = sorted(path.stem for path in (CONF / group).glob("*.yaml"))
    if name not in names:
        raise ValueError(unknown(group, name, names))
    values: Any = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))
    bases = [base for base in values.pop("defaults", []) if base != "_self_"]
    for base in bases:
        values = _inherited(group, base) | values
    return dict(values)
