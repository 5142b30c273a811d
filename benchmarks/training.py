"""Models per hour of this and a typical trainer, share of the machine's peak, and the effect of each optimization.

    python -m benchmarks.training [--models 4] [--images 4000] [--macs 6e6] [--isa avx2] [--out FILE]

Both trainers alternate in one run with the same models, images, recipe, and cores: the reference trains each model once
with a thread per core, ours trains a copy on every core at once with one thread each. The peak is a 1024×1024 matrix
product in bfloat16 (float32 without hardware support), one thread per core at once. Training takes 6 operations per
multiply-add.

The CPU time of the reference includes its threads' waiting: OpenMP threads spin at the end of every kernel. On a busy
machine they spin for most of the time, so ratios are valid only if both trainers use all cores (`cores used`).
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.ingredients import ingredients
from benchmarks.reference_trainer import train_reference
from designspace import ModelSpec, complexity
from designspace.machine import processor_name
from designspace.network import build_network
from designspace.spaces import space_from_config
from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import DataConfig, Splits, open_data
from sweeps.resources import cores
from sweeps.trainer.device import merge_narrow_groups, resolve_device
from sweeps.trainer.trainer import new_record, train_model

CONVOLUTIONS = {"aten::mkldnn_convolution", "aten::convolution_backward"}

TARGETS = {"bfloat16": 2.8, "AVX512": 1.8, "AVX2": 1.8}
"""Models per hour over the reference's on a quiet machine, by processor type: bfloat16 in hardware, else float32."""

EMULATION = {
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"},
}
"""Environment that limits the kernels of oneDNN and PyTorch to an instruction set without bfloat16."""

splits: Splits  # of this process
device_config: DeviceConfig  # of this process


class Contest(NamedTuple):
    """Seconds per model of the reference and this trainer, the mean number of cores each used, and their CPU times."""

    reference: list[float]
    ours: list[float]
    reference_cores: float
    our_cores: float
    cpu_time_ratio: float


def processor_type(config: DeviceConfig) -> str:
    """Return bfloat16, or else the instruction set of PyTorch's float32 kernels, such as AVX2."""
    return "bfloat16" if resolve_device(config).dtype == torch.bfloat16 else torch.backends.cpu.get_cpu_capability()


def models(count: int, macs: float) -> list[ModelSpec]:
    """Return RegNetX networks for 28×28 images within 10 % of `macs` multiply-adds."""
    template = {"resolution": 28, "in_channels": 1, "head": {"classes": 10}}
    template |= {"stem": {"width": 16, "stride": 1}, "strides": [1, 2, 2, 2]}
    constraints = {"macs": [0.9 * macs, 1.1 * macs]}
    population = space_from_config({"base": "regnetx", "template": template, "constraints": constraints}).sample(count)
    return [population.spec(index) for index in range(len(population))]


def data(images: int) -> DataConfig:
    """Return the settings of Fashion-MNIST with a fifth as many validation images."""
    return DataConfig(name="fashion_mnist", subset=images, validation_size=images // 5)


def open_process(images: int, config: DeviceConfig) -> None:
    """Initialize a process: threads, data, and device."""
    global splits, device_config
    torch.set_num_threads(1)
    device_config = config
    opened = open_data(data(images))
    assert isinstance(opened, Splits)
    splits = opened


def ours(mapping: dict[str, Any], recipe: Recipe) -> tuple[float, float]:
    """Train one model in a training process; return the seconds in training epochs and the total processor time."""
    before = time.process_time()
    spec = ModelSpec.from_mapping(mapping)
    record = train_model(spec, splits, recipe, new_record(spec, splits, recipe, seed=0), device_config=device_config)
    assert record.status == "ok", record.message
    assert record.train_seconds is not None
    return record.train_seconds, time.process_time() - before


def gemm_peak(seconds: float = 1.0) -> float:
    """Measure the operations per second of a 1024×1024 matrix product with one thread."""
    a, b = (torch.randn(1024, 1024, dtype=resolve_device(device_config).dtype) for _ in range(2))
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        begun = time.perf_counter()
        for _ in range(5):
            torch.mm(a, b)
        best = min(best, (time.perf_counter() - begun) / 5)
    return 2 * 1024**3 / best


def convolution_seconds(mapping: dict[str, Any], batch: int, updates: int = 5) -> float:
    """Measure the seconds that an update spends in the kernels of its convolutions, forward and backward."""
    spec = ModelSpec.from_mapping(mapping)
    device = resolve_device(device_config)
    network = build_network(spec).to(memory_format=device.memory_format)  # type: ignore[call-overload]
    merge_narrow_groups(network, device)
    images = torch.randn(batch, spec.in_channels, spec.resolution, spec.resolution)
    images = images.contiguous(memory_format=device.memory_format)

    def update() -> None:
        with device.autocast():
            logits = network(images)
        logits.float().sum().backward()

    for _ in range(updates):
        update()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        for _ in range(updates):
            update()
    microseconds = sum(row.self_cpu_time_total for row in profile.key_averages() if row.key in CONVOLUTIONS)
    return microseconds / 1e6 / updates


def processor_seconds() -> float:
    """Return the CPU time of this process and its finished children, including the loader's workers."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def contest(pool: ProcessPoolExecutor, specs: Sequence[ModelSpec], recipe: Recipe, threads: int) -> Contest:
    """Train each model with the reference, then on every core with ours."""
    theirs, mine, their_work, our_work = [], [], 0.0, 0.0
    torch.set_num_threads(threads)
    for spec in specs:
        begun, before = time.perf_counter(), processor_seconds()
        torch.manual_seed(0)
        train_reference(build_network(spec), splits, recipe)
        theirs.append(time.perf_counter() - begun)
        their_work += processor_seconds() - before
        begun = time.perf_counter()
        done = list(pool.map(ours, [spec.to_mapping()] * cores(), [recipe] * cores()))
        mine.append((time.perf_counter() - begun) / cores())
        our_work += statistics.mean(work for _, work in done)
    return Contest(theirs, mine, their_work / sum(theirs), our_work / sum(mine), their_work / our_work)


def shares(pool: ProcessPoolExecutor, specs: Sequence[ModelSpec], images: int) -> dict[int, tuple[float, float, float]]:
    """Measure the share of the peak by batch size, with all cores busy: mean and best model; mean of convolutions only.

    The last one is the limit for a trainer that spends all its time in convolutions.
    """
    table = {}
    for batch in (32, 64, 128):
        recipe = load_recipe(epochs=1, warmup_epochs=0.5, batch_size=batch)
        total, convolution_only = [], []
        for first in range(0, len(specs), cores()):
            group = specs[first : first + cores()]
            peak = statistics.mean(pool.map(gemm_peak, [0.5] * cores()))
            mappings = [spec.to_mapping() for spec in group]
            trained = list(pool.map(ours, mappings, [recipe] * len(group)))
            convolutions = pool.map(convolution_seconds, mappings, [batch] * len(group))
            done = images // batch * batch
            for spec, (took, _), in_convolutions in zip(group, trained, convolutions, strict=True):
                operations = 6 * complexity(spec).macs
                total.append(operations * done / took / peak)
                convolution_only.append(operations * batch / in_convolutions / peak)
        table[batch] = statistics.mean(total), max(total), statistics.mean(convolution_only)
    return table


def main() -> None:
    """Run all benchmarks and print the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=4)
    parser.add_argument("--images", type=int, default=4000)
    parser.add_argument("--macs", type=float, nargs="+", default=[3e6, 6e6])
    parser.add_argument("--batch", type=int, nargs="+", default=[32, 128])
    parser.add_argument(
        "--reference-threads", type=int, default=cores(), help="use 1 on a busy machine and compare CPU time"
    )
    parser.add_argument("--isa", choices=sorted(EMULATION), help="emulate a processor without bfloat16")
    parser.add_argument("--skip-ingredients", action="store_true")
    parser.add_argument("--out", type=Path, help="file for the results")
    arguments = parser.parse_args()
    os.environ.update(EMULATION.get(arguments.isa, {}))  # before the first kernel; inherited by the training processes
    config = DeviceConfig(device="cpu", dtype="float32" if arguments.isa else "auto")
    open_process(arguments.images, config)
    processor = processor_type(config)
    if arguments.isa and processor.lower() != arguments.isa:
        parser.error(f"isa = {arguments.isa}: must be supported by this processor, whose kernels are {processor}")
    target = f"target {TARGETS[processor]}x" if processor in TARGETS else "no target"
    lines = [
        f"{processor_name()}, {cores()} cores, torch {torch.__version__}, {platform.system()}",
        f"processor type {processor}{' (emulated)' if arguments.isa else ''}: {target} on a quiet machine",
        f"{arguments.models} RegNetX, {arguments.images} images, one epoch, {arguments.images // 5} validation images",
    ]
    print(*lines, sep="\n", flush=True)
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(cores(), spawn, open_process, (arguments.images, config)) as pool:
        warm = load_recipe(epochs=1, batch_size=arguments.images // 2)
        list(pool.map(ours, [spec.to_mapping() for spec in models(cores(), 1e6)], [warm] * cores()))
        for macs in arguments.macs:
            specs = models(arguments.models, macs)
            for batch in arguments.batch:
                recipe = load_recipe(epochs=1, batch_size=batch, crop_padding=2, flip=True)
                result = contest(pool, specs, recipe, arguments.reference_threads)
                ratios = sorted(a / b for a, b in zip(result.reference, result.ours, strict=True))
                slow, fast = statistics.mean(result.reference), statistics.mean(result.ours)
                lines.append(
                    f"{macs:.0e} macs, batch {batch:3}: reference {slow:5.2f} s a model ({3600 / slow:4.0f} an hour), "
                    f"ours {fast:5.2f} s ({3600 / fast:4.0f} an hour): {slow / fast:.2f}x "
                    f"({ratios[0]:.2f}–{ratios[-1]:.2f}), {target}; CPU time {result.cpu_time_ratio:.2f}x, "
                    f"cores used {result.reference_cores:.1f} and {result.our_cores:.1f}"
                )
                print(lines[-1], flush=True)
        for macs in arguments.macs:
            for batch, (mean, best, limit) in shares(pool, models(arguments.models, macs), arguments.images).items():
                lines.append(
                    f"{macs:.0e} macs, batch {batch:3}: {mean:.1%} of peak, best model {best:.1%}; "
                    f"convolutions only {limit:.1%}"
                )
                print(lines[-1], flush=True)
    if not arguments.skip_ingredients:
        for line in ingredients(models(2, arguments.macs[-1]), splits, config):
            lines.append(line)
            print(line, flush=True)
    if arguments.out:
        arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(cores()))
    main()
