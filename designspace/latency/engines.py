"""One forward pass of a network in torch or onnxruntime, timed."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from designspace.export.program import example, save_onnx, trace
from designspace.export.weights import network_with
from designspace.latency.records import Clock, Condition, Device, Engine
from designspace.machine import processor_name
from designspace.packages import optional
from designspace.spec import ModelSpec
from designspace.validated import check_integer

Timer = Callable[[], float]
"""Runs one forward pass and returns its seconds."""


def condition(
    engine: Engine, device: Device = "cpu", batch: int = 1, threads: int = 1, clock: Clock = "wall"
) -> Condition:
    """The condition of a measurement on this machine; see `Condition`.

    Raises:
        ValueError: this machine or engine does not support it.
        MissingPackage: a package that the engine requires is not installed.
    """
    batch, threads = check_integer("batch", batch, 1), check_integer("threads", threads, 1)
    if device == "cuda" and engine != "torch":
        raise ValueError(f"device = cuda: must be cpu with {engine}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device = cuda: must be cpu, PyTorch sees no GPU")
    if clock == "cpu" and (device == "cuda" or threads > 1):
        raise ValueError("clock = cpu: must be wall on a GPU and with several threads")
    packages = {"torch": str(torch.__version__)}
    if engine == "onnxruntime":
        for package in ("onnx", "onnxscript", "onnxruntime"):
            optional(package, "onnx")
        packages |= {package: version(package) for package in ("onnxruntime", "onnxscript")}
    name = torch.cuda.get_device_name() if device == "cuda" else processor_name()
    return Condition(engine, device, name, batch, threads, clock, packages)


@contextmanager
def fixed_threads(threads: int) -> Iterator[None]:
    """Set the CPU threads of torch; restore them on exit. A session of onnxruntime has its own."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def make_timer(spec: ModelSpec, condition: Condition) -> Timer:
    """A timer of the network with random weights, in float32 and evaluation mode, on a fixed batch of random images.

    For onnxruntime the network is exported as by `designspace export --to onnx`.
    """
    network, images = network_with(spec, None), example(spec, condition.batch)
    if condition.engine == "onnxruntime":
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.onnx"
            save_onnx(trace(network, spec), file)
            session = _session(file.read_bytes(), condition.threads)
        inputs = {"images": images.numpy()}
        return _timed(lambda: session.run(["logits"], inputs), condition.clock)
    network, images = network.to(condition.device), images.to(condition.device)

    def forward() -> None:
        with torch.inference_mode():
            network(images)

    return _timed_on_gpu(forward) if condition.device == "cuda" else _timed(forward, condition.clock)


def _session(program: bytes, threads: int) -> Any:
    onnxruntime = optional("onnxruntime", "onnx")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads of a session would otherwise spin and delay the network timed next.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    return onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])


def _timed(forward: Callable[[], object], clock: Clock) -> Timer:
    read = time.thread_time if clock == "cpu" else time.perf_counter

    def seconds() -> float:
        start = read()
        forward()
        return read() - start

    return seconds


def _timed_on_gpu(forward: Callable[[], object]) -> Timer:
    def seconds() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        start.record()
        forward()
        end.record()
        end.synchronize()
        return float(start.elapsed_time(end)) / 1000

    return seconds
