"""Which data set to train on, how much of it, and how the validation split is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sweeps.checked import checked


class DataConfig(BaseModel):
    """One data set and its split; frozen, unknown keys are rejected.

    `name` is one of `sweeps.data.names()`. `resolution` (pixels a side), `in_channels` and `classes` describe what the
    network must fit and are checked against the real images; a smaller `classes` keeps the labels 0 … classes − 1 only.
    `validation_size` images (or, without it, `validation_fraction` of the training set, in (0, 1)) are held out,
    stratified by label and drawn from `split_seed`; `subset` then keeps that many of the remaining training images,
    also stratified, and a larger subset contains the smaller one. `crop_padding` (pixels) and `flip` are the set's
    usual augmentation in longer trainings; a recipe file may refer to them, so that digits are never mirrored.
    `path` names a set of the `datasets` library (name hf). For image_folder and hf, `workers` are the processes that
    decode images for one that trains ("auto": its share of the cores; 0: the training process decodes), `white_level`
    is the value that is white in images with gray values of more than 8 bits, which are rejected without it, and
    images of more than `max_pixels` (default: Pillow's limit against decompression bombs) are rejected. `root` is
    the cache folder (default: $DESIGNSPACE_DATA or ~/.cache/designspace; for hf that of the library), for image_folder
    the folder of the images. `workers`, `max_pixels` and `root` take part in no identity.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

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
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = "auto"
    white_level: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    max_pixels: int = Field(default=178_956_970, ge=1)
    root: Path | None = None


def data_from_config(mapping: Mapping[str, Any]) -> DataConfig:
    """Build a DataConfig from a plain mapping; ValueError names field, value and what is allowed."""
    return checked(DataConfig, "data", mapping)
