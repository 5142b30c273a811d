"""The trainer: it learns, repeats itself bit for bit, and turns every failure into a result."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from designspace import ModelSpec
from designspace.network import build_network
from designspace.study import COLUMNS
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import DataConfig, Splits, load_data
from sweeps.trainer import result
from sweeps.trainer import run as run_module
from sweeps.trainer.device import native_dtype, resolve_device
from sweeps.trainer.evaluate import error_percent, evaluation_copy
from sweeps.trainer.images import ResidentImages, at_resolution, draw_augmentation, forget, resident
from sweeps.trainer.measure import Deadline, keep_freed_memory
from sweeps.trainer.result import TrainingStopped
from sweeps.trainer.run import TrainingRun
from sweeps.trainer.trainer import train_model, train_network

RECIPE = Recipe(epochs=2, batch_size=32, crop_padding=1, flip=False)
CPU = DeviceConfig(device="cpu")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def splits() -> Splits:
    return load_data(DataConfig(name="digits", validation_size=300, subset=640))


def network(width: int = 8) -> nn.Module:
    return nn.Sequential(
        nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
        nn.Sequential(nn.Conv2d(width, width, 3, stride=2, padding=1), nn.BatchNorm2d(width), nn.ReLU(inplace=True)),
        nn.Flatten(),
        nn.Dropout(0.1),
        nn.Linear(width * 16, 10),
    )


def spec(**changes: object) -> ModelSpec:
    stage = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 8}
    whole = {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [stage]}
    return ModelSpec.from_mapping(whole | {"head": {"classes": 10}} | changes)


def run_of(recipe: Recipe = RECIPE, seed: int = 0, **changes: object) -> TrainingRun:
    device = dataclasses.replace(resolve_device(CPU), **changes)  # type: ignore[arg-type]
    return TrainingRun(network, recipe, seed, device)


def train_epoch(run: TrainingRun, splits: Splits) -> result.EpochResult:
    return run.train_epoch(resident(splits, resolve_device(CPU), RECIPE.crop_padding), Deadline(None))


def weights(run: TrainingRun) -> list[Tensor]:
    return list(run.network.state_dict().values())


def trained(splits: Splits, seed: int = 0) -> list[Tensor]:
    run = run_of(seed=seed)
    for _ in range(RECIPE.epochs):
        train_epoch(run, splits)
    return weights(run)


def same(first: list[Tensor], second: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_it_learns_and_fills_every_column(splits: Splits) -> None:
    seen: list[result.EpochResult] = []
    outcome = train_model(spec(), splits, Recipe(epochs=4, crop_padding=0, flip=False), seed=0, on_epoch=seen.append)
    assert (outcome.status, outcome.message, outcome.epochs_done, outcome.updates) == ("ok", "", 4, 80)
    assert outcome.error_percent == outcome.epoch_validation_error_percent[-1] < 40
    assert outcome.epoch_train_loss[-1] < outcome.epoch_train_loss[0]
    assert [epoch.validation_error_percent for epoch in seen] == list(outcome.epoch_validation_error_percent)
    assert {len(curve) for name, curve in vars(outcome).items() if name.startswith("epoch_")} == {4}
    assert outcome.train_seconds < sum(outcome.epoch_seconds)
    assert outcome.images_per_second == pytest.approx(4 * 640 / outcome.train_seconds)
    assert outcome.peak_memory_bytes > 50e6
    assert {field.name for field in dataclasses.fields(outcome)} <= set(COLUMNS)


def test_a_seed_gives_the_same_weights_bit_for_bit_whatever_ran_before(splits: Splits) -> None:
    first = trained(splits)
    train_network(lambda: network(12), splits, RECIPE, seed=3, device_config=CPU)
    torch.rand(7)
    assert same(first, trained(splits))
    assert not same(first, trained(splits, seed=1))


def test_stopped_after_an_epoch_and_resumed_it_ends_the_same(splits: Splits) -> None:
    half = run_of()
    train_epoch(half, splits)
    saved = half.state_dict()
    other = run_of(seed=0)
    other.load_state_dict(saved)
    train_epoch(other, splits)
    assert same(weights(other), trained(splits))


def test_training_leaves_the_callers_process_as_it_was(splits: Splits) -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    two = DeviceConfig(device="cpu", threads=threads + 1)
    train_network(network, splits, Recipe(epochs=1, batch_size=320), seed=0, device_config=two)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_divergence_is_seen_within_fifty_updates(splits: Splits) -> None:
    recipe = Recipe(epochs=9, learning_rate=1e30, batch_size=16, warmup_epochs=0, crop_padding=0)
    outcome = train_network(network, splits, recipe, seed=0)
    assert outcome.status == "diverged"
    assert outcome.updates <= 50
    assert outcome.error_percent is None
    assert "not finite" in outcome.message


def test_outputs_that_are_not_finite_only_in_evaluation_are_divergence_too(splits: Splits) -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.inner(x)
            return output if self.training else output * torch.inf

    outcome = train_network(Odd, splits, RECIPE, seed=0)
    assert (outcome.status, outcome.epochs_done) == ("diverged", 0)


def test_a_deadline_is_a_result_that_keeps_the_epochs_before(splits: Splits) -> None:
    outcome = train_network(network, splits, RECIPE, seed=0, deadline_seconds=0)
    assert (outcome.status, outcome.updates, outcome.error_percent) == ("timeout", 1, None)
    assert "limit of 0 s" in outcome.message

    class Ends(Exception):
        pass

    def stop(_: result.EpochResult) -> None:
        raise Ends

    with pytest.raises(Ends):
        train_network(network, splits, RECIPE, seed=0, on_epoch=stop)


class Fails(nn.Module):
    def __init__(self, failure: Callable[[], object]) -> None:
        super().__init__()
        self.linear, self.failure = nn.Linear(64, 10), failure

    def forward(self, x: Tensor) -> Tensor:
        self.failure()
        output: Tensor = self.linear(x.flatten(1))
        return output


def no_room_for_a_convolution() -> None:
    raise RuntimeError("GET was unable to find an engine to execute this computation")  # as cuDNN tells it


def out_of_memory_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def missing_key() -> None:
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (lambda: torch.empty(10**15), "out_of_memory", "allocate"),
        (out_of_memory_on_a_gpu, "out_of_memory", "20.00 GiB"),
        (no_room_for_a_convolution, "out_of_memory", "GET was unable"),
        (missing_key, "crashed", "KeyError at test_trainer.py:"),
    ],
)
def test_a_failure_is_a_result(splits: Splits, failure: Callable[[], object], status: str, message: str) -> None:
    outcome = train_network(lambda: Fails(failure), splits, RECIPE, seed=0)
    assert (outcome.status, outcome.error_percent, outcome.updates) == (status, None, 0)
    assert message in outcome.message
    assert train_network(network, splits, RECIPE, seed=0).status == "ok"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"in_channels": 3}, "in_channels of the spec is 3; the data set needs 1"),
        ({"head": {"classes": 7}}, "head.classes of the spec is 7; the data set needs 10"),
    ],
)
def test_a_spec_that_does_not_fit_the_data_is_refused_before_training(
    splits: Splits, changes: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        train_model(spec(**changes), splits, RECIPE, seed=0)


def test_images_are_resized_to_the_networks_resolution(splits: Splits) -> None:
    larger = at_resolution(splits, 12)
    assert larger.train_images.shape[2:] == (12, 12)
    assert larger.train_images.dtype == np.uint8
    assert larger.train_images.mean() == pytest.approx(splits.train_images.mean(), rel=0.05)
    assert larger.data_id == splits.data_id
    assert train_model(spec(resolution=12), splits, RECIPE, seed=0).status == "ok"


def test_a_batch_larger_than_the_training_split_is_refused(splits: Splits) -> None:
    with pytest.raises(ValueError, match="batch_size is 1024; the training split has only 640"):
        train_network(network, splits, Recipe(batch_size=1024), seed=0)


def test_the_gather_is_pad_crop_flip_normalise() -> None:
    images = torch.randint(0, 256, (9, 3, 6, 5), dtype=torch.uint8)
    mean, std = torch.tensor([0.2, 0.4, 0.6]), torch.tensor([0.3, 0.2, 0.1])
    place = ResidentImages(images, torch.arange(9), mean, std, torch.device("cpu"), padding=2)
    draws = draw_augmentation(Recipe(crop_padding=2, flip=True), 9, seed=1, epoch=0)
    chosen = torch.tensor([3, 1, 8, 0, 0])
    batch = place.batch(chosen, draws[chosen])
    for position, index in enumerate(chosen):
        top, left = int(draws.top[index]), int(draws.left[index])
        one = nn.functional.pad(images[index], (2, 2, 2, 2))[:, top : top + 6, left : left + 5]
        one = one.flip(-1) if draws.flip[index] else one
        torch.testing.assert_close(batch[position], (one / 255 - mean[:, None, None]) / std[:, None, None])
    plain = (images / 255 - mean[:, None, None]) / std[:, None, None]
    torch.testing.assert_close(place.batch(torch.arange(9)), plain)


def test_the_layout_of_the_images_is_that_of_every_layer(splits: Splits) -> None:
    for layout in (torch.channels_last, torch.contiguous_format):
        device = dataclasses.replace(resolve_device(CPU), memory_format=layout)
        images, _ = next(resident(splits, device, 0).epoch(RECIPE, 0, 0))
        inner = network().to(memory_format=layout)[0][0](images)  # type: ignore[call-overload, index]
        assert inner.is_contiguous(memory_format=layout)  # of grey images too, which count as both


def test_images_stay_on_the_device_for_the_next_model(splits: Splits) -> None:
    first, second = (resident(splits, resolve_device(CPU), 2) for _ in range(2))
    assert first.train is second.train
    forget()
    assert resident(splits, resolve_device(CPU), 2).train is not first.train


def test_an_epoch_sees_every_image_once_in_an_order_of_its_own(splits: Splits) -> None:
    data = resident(splits, resolve_device(CPU), 0)
    recipe = Recipe(crop_padding=0, flip=False)
    first, second = (torch.cat([x for x, _ in data.epoch(recipe, 0, epoch)]) for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(first, torch.cat([x for x, _ in data.epoch(recipe, 0, 0)]))
    assert torch.equal(first.flatten(1).sort(0).values, second.flatten(1).sort(0).values)


def test_augmentation_differs_between_epochs_and_seeds_but_not_between_calls() -> None:
    def draws(seed: int, epoch: int) -> bytes:
        drawn = draw_augmentation(Recipe(crop_padding=3), 100, seed, epoch)
        return bytes(torch.stack([drawn.top, drawn.left, drawn.flip]).numpy().astype(np.uint8))

    assert draws(0, 0) == draws(0, 0)
    assert len({draws(0, 0), draws(0, 1), draws(1, 0), draws(1, 1)}) == 4


def test_momentum_begins_at_zero_and_not_with_whatever_lies_in_memory() -> None:
    run = run_of()
    buffers = [run.optimizer.state[parameter]["momentum_buffer"] for parameter in run.network.parameters()]
    assert all(torch.equal(buffer, torch.zeros_like(buffer)) for buffer in buffers)
    # Gradients that overflow skip the first step, and leave the buffers as they are.
    run = run_of(dtype=torch.float16)
    run.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    run.update(run.network, torch.randn(4, 1, 8, 8), torch.arange(4), 0.1)
    assert all(not state["momentum_buffer"].any() for state in run.optimizer.state.values())


def test_float16_that_overflows_in_evaluation_is_evaluated_in_float32(splits: Splits) -> None:
    large = network()
    with torch.no_grad():
        large[0][1].weight.mul_(1e6)  # type: ignore[index, operator, union-attr]
    device = resolve_device(DeviceConfig(device="cpu", dtype="float32"))
    data = resident(splits, device, 0)
    half = dataclasses.replace(device, dtype=torch.float16)
    in_float16, in_float32 = (error_percent(large, lambda: data.validation_batches(100), d) for d in (half, device))
    assert in_float16 == in_float32 < 100


def test_outputs_that_are_no_numbers_are_a_divergence(splits: Splits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "error_percent", lambda *_: float("nan"))
    with pytest.raises(TrainingStopped, match="Validation outputs were not finite"):
        train_epoch(run_of(), splits)


def test_every_network_is_compiled_not_only_the_first_eight(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []
    monkeypatch.setattr(torch._dynamo, "reset", lambda: done.append("reset"))
    monkeypatch.setattr(torch, "compile", lambda network: done.append("compile") or network)
    for _ in range(2):
        run_of(compile=True)
    assert done == ["reset", "compile"] * 2


def test_a_search_for_the_fastest_kernels_is_for_long_trainings() -> None:
    device = resolve_device(CPU)
    for updates, searched in ((500, False), (50_000, True)):
        with device.settings(updates):
            assert torch.backends.cudnn.benchmark is searched
    with dataclasses.replace(device, deterministic=True).settings(50_000):
        assert not torch.backends.cudnn.benchmark
        assert torch.backends.cudnn.deterministic


def test_time_spent_in_an_epoch_that_was_not_ended_counts(splits: Splits) -> None:
    recipe = Recipe(epochs=9, learning_rate=1e30, batch_size=16, warmup_epochs=0, crop_padding=0)
    outcome = train_network(network, splits, recipe, seed=0)
    assert (outcome.status, outcome.epochs_done) == ("diverged", 0)
    assert outcome.train_seconds > 0
    assert outcome.images_per_second == pytest.approx(16 * outcome.updates / outcome.train_seconds)


def test_the_evaluation_copy_computes_the_same_function() -> None:
    torch.manual_seed(0)
    model = build_network(spec())
    model.train()
    for _ in range(3):
        model(torch.randn(16, 1, 8, 8) + 1)  # running statistics away from 0 and 1
    before = [value.clone() for value in model.state_dict().values()]
    replica = evaluation_copy(model)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in replica.modules())
    x = torch.randn(8, 1, 8, 8)
    torch.testing.assert_close(replica(x), model.eval()(x), rtol=1e-4, atol=1e-5)
    assert same(before, list(model.state_dict().values()))


def test_arithmetic_and_layout_follow_the_hardware_and_are_recorded(splits: Splits) -> None:
    native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    assert native_dtype("cpu") == (torch.bfloat16 if native else torch.float32)
    config = DeviceConfig(device="cpu", dtype="float32", channels_last=False)
    outcome = train_network(network, splits, RECIPE, seed=0, device_config=config)
    assert (outcome.dtype, outcome.memory_format, outcome.threads) == ("float32", "contiguous", 1)


def test_what_the_machine_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match=r"device\.device is 'cuda', but PyTorch sees no GPU"):
        resolve_device(DeviceConfig(device="cuda"))
    with pytest.raises(ValueError, match="'float16', which needs a GPU"):
        resolve_device(DeviceConfig(dtype="float16"))


def test_keeping_freed_memory_is_possible_or_says_no() -> None:
    assert keep_freed_memory() in (True, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_trains_with_the_same_code(splits: Splits, dtype: str) -> None:
    config = DeviceConfig.model_validate({"device": "cuda", "dtype": dtype, "deterministic": True})
    first, second = (train_network(network, splits, RECIPE, seed=0, device_config=config) for _ in range(2))
    assert first.status == "ok"
    assert first.epoch_train_loss == second.epoch_train_loss
    assert first.error_percent is not None
    assert first.error_percent < 60


PEAKS = """
import torch
from torch import nn
from sweeps.data import DataConfig, load_data
from sweeps.config import Recipe
from sweeps.trainer.result import TrainingStopped
from sweeps.trainer.trainer import train_network

torch.set_num_threads(1)
splits = load_data(DataConfig(name="digits", validation_size=300, subset=640))

def peak(width):
    def network():
        conv = nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 8, 3), nn.ReLU()
        return nn.Sequential(*conv, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10))

    return train_network(network, splits, Recipe(epochs=1, batch_size=320), seed=0).peak_memory_bytes

print(peak(8), peak(512), peak(8))
"""


def test_a_model_that_used_much_memory_does_not_raise_the_peak_of_the_next() -> None:
    # in a process of its own: what other tests left in the allocator would blur it
    done = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    before, large, after = (int(word) for word in done.stdout.split())
    assert large > before + 50e6
    assert after < before + (large - before) / 4
