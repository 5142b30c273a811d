"""What a user says about the device; read without PyTorch, before any process that needs it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sweeps.checked import checked


class DeviceConfig(BaseModel):
    """Device, arithmetic type, layout and threads; "auto" follows the hardware.

    dtype auto: bfloat16 where it is native (CPU with AVX512_BF16 or AMX; GPU of compute capability 8 or more), else
    float16 on older GPUs with tensor cores, else float32. channels_last auto: yes on a CPU, and on a GPU where it is
    faster for the model. `threads` are the CPU threads of PyTorch. `compile` runs torch.compile, which costs 16–50 s a
    model and pays for long trainings only. `deterministic` makes a GPU repeat itself bit for bit, more slowly, where
    PyTorch can (it warns where it cannot); a CPU always does.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    channels_last: bool | Literal["auto"] = "auto"
    threads: int = Field(default=1, ge=1)
    compile: bool = False
    deterministic: bool = False

    @property
    def kind(self) -> str:
        """cuda or cpu."""
        import torch

        return "cuda" if self.device != "cpu" and torch.cuda.is_available() else "cpu"


def device_from_config(mapping: Mapping[str, Any]) -> DeviceConfig:
    """Build a DeviceConfig from a plain mapping; ValueError names field, value and what is allowed."""
    return checked(DeviceConfig, "device", mapping)
