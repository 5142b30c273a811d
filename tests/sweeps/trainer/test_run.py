"""A training run: updates, evaluation, repeatability, and its state."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from designspace.network import build_network
from designspace.spec import ModelSpec
from sweeps.config import DeviceConfig, Recipe, load_recipe
from sweeps.data import Splits
from sweeps.trainer.device import Deadline, resolve_device
from sweeps.trainer.images import cache_on_device
from sweeps.trainer.run import (
    Epoch,
    TrainingRun,
    TrainingStopped,
    detached_counters,
    error_percent,
    evaluation_copy,
    is_out_of_memory,
)

RECIPE = load_recipe(epochs=2, batch_size=32, crop_padding=1, flip=False)
CPU = resolve_device(DeviceConfig(device="cpu"))
FLOAT32 = resolve_device(DeviceConfig(device="cpu", dtype="float32"))

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> nn.Sequential:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(128, 10),
    )


def new_run(seed: int = 0, **changes: object) -> TrainingRun:
    return TrainingRun(network, RECIPE, seed, dataclasses.replace(CPU, **changes))  # type: ignore[arg-type]


def train_epoch(run: TrainingRun, splits: Splits) -> Epoch:
    return run.train_epoch(cache_on_device(splits, CPU, RECIPE.crop_padding), Deadline(None))


def weights(run: TrainingRun) -> list[Tensor]:
    return list(run.network.state_dict().values())


def trained_weights(splits: Splits, seed: int = 0) -> list[Tensor]:
    run = new_run(seed)
    for _ in range(RECIPE.epochs):
        train_epoch(run, splits)
    return weights(run)


def equal(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_seed_gives_the_same_weights_whatever_ran_before(splits: Splits) -> None:
    first = trained_weights(splits)
    train_epoch(new_run(seed=3), splits)
    torch.rand(7)
    assert equal(first, trained_weights(splits))
    assert not equal(first, trained_weights(splits, seed=1))


def test_a_run_restored_after_an_epoch_ends_in_the_same_weights(splits: Splits) -> None:
    first = new_run()
    train_epoch(first, splits)
    restored = new_run(seed=0)
    restored.load_state_dict(first.state_dict())
    train_epoch(restored, splits)
    assert equal(weights(restored), trained_weights(splits))


def test_peak_memory_does_not_include_the_first_update(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    resets: list[int] = []
    run = new_run()
    resumed = new_run()
    monkeypatch.setattr("sweeps.trainer.run.reset_peak_memory", lambda _: resets.append(run.updates))
    train_epoch(run, splits)
    resumed.load_state_dict(run.state_dict())
    train_epoch(run, splits)
    assert resets == [1]
    run = resumed
    train_epoch(run, splits)
    assert resets == [1, 21]


def test_momentum_buffers_start_at_zero() -> None:
    run = new_run()
    buffers = [run.optimizer.state[parameter]["momentum_buffer"] for parameter in run.network.parameters()]
    assert all(torch.equal(buffer, torch.zeros_like(buffer)) for buffer in buffers)
    # A gradient overflow skips the first step and leaves the buffers unchanged.
    run = new_run(dtype=torch.float16)
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    run.update(run.network, torch.randn(4, 1, 8, 8), torch.arange(4), 0.1)
    assert all(not state["momentum_buffer"].any() for state in run.optimizer.state.values())


class Calls(TorchDispatchMode):
    """Counts the calls of PyTorch's operators."""

    SYNCHRONIZING = ("_local_scalar_dense", "equal", "is_nonzero", "masked_select", "nonzero", "_unique2")
    WITHOUT_KERNEL = ("detach", "empty", "view", "t", "as_strided", "expand", "squeeze")

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.counts[func.overloadpacket.__name__] += func.namespace == "aten"
        return func(*args, **(kwargs or {}))

    def synchronizing(self) -> int:
        return sum(self.counts[name] for name in self.SYNCHRONIZING)

    def kernels(self) -> int:
        return self.counts.total() - sum(self.counts[name] for name in self.WITHOUT_KERNEL)


@pytest.mark.parametrize("probe", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_update_never_waits_for_the_device(splits: Splits, dtype: torch.dtype, probe: bool) -> None:
    run = TrainingRun(network, RECIPE, 0, dataclasses.replace(CPU, dtype=dtype), probe=probe)
    with Calls() as calls:
        for images, labels in itertools.islice(cache_on_device(splits, CPU, 1).epoch(RECIPE, 0, 0), 2):
            run.update(run.network, images, labels, 0.1)
    assert calls.synchronizing() == 0
    with Calls() as calls:
        torch.ones(3).sum().item()
    assert calls.synchronizing() == 1


def test_an_update_takes_at_most_nine_kernels_per_convolution() -> None:
    stage = {"block": "bottleneck", "depth": 2, "width": 16, "stride": 2, "group_width": 8}
    mapping = {"resolution": 28, "in_channels": 1, "stem": {"width": 16, "stride": 1}, "head": {"classes": 10}}
    spec = ModelSpec.from_mapping(mapping | {"stages": [stage] * 4})
    device = dataclasses.replace(CPU, dtype=torch.bfloat16)
    run = TrainingRun(lambda: build_network(spec), RECIPE, 0, device)
    convolutions = sum(isinstance(module, nn.Conv2d) for module in run.network.modules())
    with detached_counters(run.network), Calls() as calls:
        run.update(run.network, torch.randn(4, 1, 28, 28), torch.arange(4), 0.1)
    # Forward and backward: convolution, batch norm, activation, and cast of the weights; sums of residual branches.
    assert calls.kernels() <= 9 * convolutions + 25


def test_batch_norms_count_the_updates(splits: Splits) -> None:
    run = new_run()
    train_epoch(run, splits)
    train_epoch(run, splits)
    counters = [value for name, value in run.network.state_dict().items() if name.endswith("num_batches_tracked")]
    assert [counter.item() for counter in counters] == [run.updates, run.updates] == [40, 40]


def test_every_network_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: calls.append("reset"))
    monkeypatch.setattr(torch, "compile", lambda network: calls.append("compile") or network)
    for _ in range(2):
        new_run(compile=True)
    assert calls == ["reset", "compile"] * 2  # without the reset, PyTorch stops compiling after eight networks


def test_a_float16_overflow_in_evaluation_is_repeated_in_float32(splits: Splits) -> None:
    large = network()
    with torch.no_grad():
        large[0][1].weight.mul_(1e6)  # type: ignore[index, operator, union-attr]
    loader = cache_on_device(splits, FLOAT32, 0)
    float16 = dataclasses.replace(FLOAT32, dtype=torch.float16)
    errors = [error_percent(large, lambda: loader.validation_batches(100), device) for device in (float16, FLOAT32)]
    assert errors[0] == errors[1] < 100


def test_validation_outputs_that_are_not_finite_are_a_divergence(splits: Splits) -> None:
    run = new_run()
    with torch.no_grad():
        run.network[1][1].running_var.fill_(float("nan"))  # type: ignore[index, operator, union-attr]
    with pytest.raises(TrainingStopped, match="Validation outputs were not finite"):
        train_epoch(run, splits)


def test_the_evaluation_copy_computes_the_same_function() -> None:
    torch.manual_seed(0)
    model = network()
    for _ in range(3):
        model(torch.randn(16, 1, 8, 8) + 1)  # move the running statistics away from 0 and 1
    before = [value.clone() for value in model.state_dict().values()]
    x = torch.randn(8, 1, 8, 8)
    outputs = evaluation_copy(model)(x)
    assert model.training
    assert equal(before, list(model.state_dict().values()))
    torch.testing.assert_close(outputs, model.eval()(x))


@pytest.mark.parametrize(
    "message",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_NOT_INITIALIZED",
        "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
        "GET was unable to find an engine to execute this computation",
    ],
)
def test_errors_of_cuda_libraries_without_memory_are_out_of_memory(message: str) -> None:
    assert is_out_of_memory(RuntimeError(message))


def test_other_cuda_errors_are_not_out_of_memory() -> None:
    assert not is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))
    assert not is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_the_average_of_the_weights_follows_its_recursion(splits: Splits) -> None:
    recipe = RECIPE.changed(ema_decay=0.9)
    run = TrainingRun(network, recipe, 0, FLOAT32)
    loader = cache_on_device(splits, FLOAT32, RECIPE.crop_padding)
    expected: dict[str, Tensor] = {}

    def average() -> None:
        for name, value in run.network.state_dict().items():
            if value.is_floating_point():
                new = value.detach().clone()
                expected[name] = 0.9 * expected[name] + 0.1 * new if name in expected else new

    class Observed:
        train_size = loader.train_size
        normalization = loader.normalization
        validation_batches = staticmethod(loader.validation_batches)

        def epoch(self, recipe: Recipe, seed: int, epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            for batch in loader.epoch(recipe, seed, epoch):
                yield batch
                average()

    epoch = run.train_epoch(Observed(), Deadline(None))
    state = run.result.state_dict()
    assert any("running_var" in name for name in expected)
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value)
    tracked = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert [int(value) for value in tracked] == [run.updates] * 2
    error = error_percent(run.result, lambda: loader.validation_batches(256), FLOAT32)
    assert epoch.validation_error_percent == error
    assert not equal(weights(run), list(state.values()))
