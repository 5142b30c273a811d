"""Networks as programs that run without designspace: torch.export and ONNX, for any batch size."""

from __future__ import annotations

import io
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from designspace.atomic import replace_file
from designspace.packages import optional
from designspace.spec import ModelSpec

TOLERANCE = 1e-4


def trace(network: nn.Module, spec: ModelSpec) -> torch.export.ExportedProgram:
    """The network in evaluation mode as a graph for images (N, in_channels, resolution, resolution) with any N."""
    images = example(spec, 2)
    return torch.export.export(
        network.eval(), (images,), dynamic_shapes=({0: torch.export.Dim("batch")},), strict=False
    )


def save_program(program: torch.export.ExportedProgram, path: str | Path) -> None:
    """Write a .pt2 file for `torch.export.load`."""
    with _ExporterWarningsIgnored():
        content = io.BytesIO()
        torch.export.save(program, content)
    replace_file(path, content.getvalue())


def save_onnx(program: torch.export.ExportedProgram, path: str | Path) -> None:
    """Write an ONNX file with input `images`, output `logits`, and the weights.

    Raises:
        MissingPackage: onnx or onnxscript is not installed.
    """
    for package in ("onnx", "onnxscript"):
        optional(package, "onnx")
    with _ExporterWarningsIgnored():
        converted = torch.onnx.export(
            program, (), dynamo=True, input_names=["images"], output_names=["logits"], verbose=False
        )
    assert converted is not None
    replace_file(path, converted.model_proto.SerializeToString())


def onnx_difference(path: str | Path, network: nn.Module, spec: ModelSpec, batches: tuple[int, ...] = (1, 3)) -> float:
    """Largest difference of the logits of onnxruntime and torch on random images, relative where logits exceed 1.

    Raises:
        MissingPackage: onnxruntime is not installed.
        ValueError: the difference exceeds TOLERANCE.
    """
    options = optional("onnxruntime", "onnx").SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = optional("onnxruntime", "onnx").InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    worst = 0.0
    for batch in batches:
        images = example(spec, batch)
        with torch.inference_mode():
            expected = network.eval()(images).numpy()
        (logits,) = session.run(["logits"], {"images": images.numpy()})
        worst = max(worst, float(np.abs(logits - expected).max()) / max(1.0, float(np.abs(expected).max())))
    if worst > TOLERANCE:
        raise ValueError(f"{path}: logits differ from torch by {worst:.1e}, must differ by at most {TOLERANCE:g}")
    return worst


def example(spec: ModelSpec, batch: int) -> Tensor:
    """Fixed random images for a spec, shape (batch, in_channels, resolution, resolution)."""
    generator = torch.Generator().manual_seed(batch)
    return torch.randn(batch, spec.in_channels, spec.resolution, spec.resolution, generator=generator)


_REGISTRATION = logging.getLogger("torch.onnx._internal.exporter._registration")


class _ExporterWarningsIgnored(warnings.catch_warnings):
    """Ignores calls of deprecated functions in PyTorch's exporters, and that torchvision's operators are absent."""

    def __enter__(self) -> None:
        super().__enter__()
        _REGISTRATION.setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", category=FutureWarning, message=".*LeafSpec.*")
        warnings.filterwarnings("ignore", category=DeprecationWarning)
