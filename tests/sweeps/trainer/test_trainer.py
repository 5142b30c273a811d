"""The trainer: it fills a record and turns every failure of a network into a status."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from designspace import ModelSpec, complexity
from designspace.study import SCORES, Record
from sweeps.config import DeviceConfig, load_recipe
from sweeps.data import Splits
from sweeps.trainer import trainer
from sweeps.trainer.device import resolve_device
from sweeps.trainer.run import TrainingRun
from sweeps.trainer.trainer import is_collapsed, new_record, train_model, train_network

RECIPE = load_recipe(epochs=2, batch_size=32, crop_padding=1, flip=False)
CPU = DeviceConfig(device="cpu")
RECORD = Record("spec", "recipe", "data", 0, "ok")

pytestmark = pytest.mark.usefixtures("one_thread")


def network() -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(288, 10))


def spec(**changes: object) -> ModelSpec:
    stage = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 8}
    mapping = {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [stage]}
    return ModelSpec.from_mapping(mapping | {"head": {"classes": 10}} | changes)


def test_a_training_learns_and_fills_its_record(splits: Splits) -> None:
    seen: list[Record] = []
    recipe = load_recipe(epochs=4, crop_padding=0, flip=False)
    start = new_record(spec(), splits, recipe, seed=5)
    assert (start.spec_id, start.recipe_id, start.data_id, start.seed) == (
        spec().spec_id,
        recipe.recipe_id,
        splits.data_id,
        5,
    )
    assert start.macs == complexity(spec()).macs
    record = train_model(spec(), splits, recipe, start, on_epoch=seen.append)
    assert (record.status, record.message, record.epochs_done, record.updates) == ("ok", "", 4, 80)
    assert record.key == start.key
    last = record.epoch_validation_error_percent[-1]
    assert last is not None
    assert record.error_percent == last < 40
    assert record.epoch_train_loss[-1] < record.epoch_train_loss[0]  # type: ignore[operator]
    assert [partial.epochs_done for partial in seen] == [1, 2, 3, 4]
    assert seen[-1].epoch_validation_error_percent == record.epoch_validation_error_percent
    assert {len(curve) for name, curve in vars(record).items() if name.startswith("epoch_")} == {4}
    assert record.train_seconds is not None
    assert record.images_per_second == pytest.approx(4 * 640 / record.train_seconds)
    assert record.peak_memory_bytes is None
    assert Record.from_json(record.to_json()) == record


class Constant(nn.Module):
    """A network that cannot learn: its logits are zero."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x)
        return output * 0


@pytest.mark.parametrize("label_smoothing", [0.0, 0.1])
def test_a_network_that_learns_nothing_is_marked_as_collapsed(splits: Splits, label_smoothing: float) -> None:
    recipe = RECIPE.model_copy(update={"label_smoothing": label_smoothing})
    collapsed = train_network(Constant, splits, recipe, RECORD)
    assert (collapsed.status, collapsed.collapsed) == ("ok", True)
    assert not train_network(network, splits, recipe, RECORD).collapsed


def test_a_collapse_has_the_error_and_the_loss_of_a_constant_prediction(splits: Splits) -> None:
    ln10 = math.log(10)
    assert is_collapsed(90.0, ln10, splits)
    assert is_collapsed(89.0, ln10 + 0.1, splits)  # one sd of 300 validation images is 1.7 points
    assert not is_collapsed(60.0, ln10 + 0.1, splits)  # it overfits or fluctuates
    assert not is_collapsed(90.0, ln10 - 0.1, splits)  # it learns, but does not generalize
    mostly_zeros = dataclasses.replace(splits, train_labels=np.array([0] * 9 + [1]))
    entropy = -0.9 * math.log(0.9) - 0.1 * math.log(0.1)
    assert is_collapsed(10.0, entropy, mostly_zeros)
    assert not is_collapsed(10.0, entropy - 0.01, mostly_zeros)


def test_training_restores_the_state_of_the_process(splits: Splits) -> None:
    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    two = DeviceConfig(device="cpu", threads=threads + 1)
    train_network(network, splits, load_recipe(epochs=1, batch_size=320), RECORD, device_config=two)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_divergence_is_detected_within_fifty_updates(splits: Splits) -> None:
    recipe = load_recipe(epochs=9, learning_rate=1e30, batch_size=16, warmup_epochs=0, crop_padding=0)
    record = train_network(network, splits, recipe, RECORD)
    assert (record.status, record.epochs_done, record.error_percent) == ("diverged", 0, None)
    assert record.updates <= 50
    assert "not finite" in record.message
    assert record.train_seconds is not None
    assert record.images_per_second == pytest.approx(16 * record.updates / record.train_seconds)


def test_outputs_that_are_not_finite_only_in_evaluation_are_a_divergence(splits: Splits) -> None:
    class InfiniteInEvaluation(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = network()

        def forward(self, x: Tensor) -> Tensor:
            output: Tensor = self.inner(x)
            return output if self.training else output * torch.inf

    record = train_network(InfiniteInEvaluation, splits, RECIPE, RECORD)
    assert (record.status, record.epochs_done) == ("diverged", 0)


def test_a_deadline_is_a_status(splits: Splits) -> None:
    record = train_network(network, splits, RECIPE, RECORD, deadline_seconds=0)
    assert (record.status, record.updates, record.error_percent) == ("timeout", 1, None)
    assert "limit of 0 s" in record.message


def test_an_exception_in_on_epoch_propagates(splits: Splits) -> None:
    class Stopped(Exception):
        pass

    def stop(_: Record) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        train_network(network, splits, RECIPE, RECORD, on_epoch=stop)


class Fails(nn.Module):
    def __init__(self, failure: Callable[[], object]) -> None:
        super().__init__()
        self.linear, self.failure = nn.Linear(64, 10), failure

    def forward(self, x: Tensor) -> Tensor:
        self.failure()
        output: Tensor = self.linear(x.flatten(1))
        return output


def cudnn_without_workspace() -> None:
    raise RuntimeError("GET was unable to find an engine to execute this computation")


def out_of_memory_on_a_gpu() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")


def missing_key() -> None:
    raise KeyError("gone")


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        (lambda: torch.empty(10**15), "out_of_memory", "allocate"),
        (out_of_memory_on_a_gpu, "out_of_memory", "20.00 GiB"),
        (cudnn_without_workspace, "out_of_memory", "GET was unable"),
        (missing_key, "crashed", "KeyError at test_trainer.py:"),
    ],
)
def test_a_failure_is_a_status(splits: Splits, failure: Callable[[], object], status: str, message: str) -> None:
    trained: list[object] = []
    on_trained = lambda *arguments: trained.append(arguments)  # noqa: E731
    record = train_network(lambda: Fails(failure), splits, RECIPE, RECORD, on_trained=on_trained)
    assert (record.status, record.error_percent, record.updates) == (status, None, 0)
    assert message in record.message
    assert not trained
    assert train_network(network, splits, RECIPE, RECORD, on_trained=on_trained).status == "ok"
    assert len(trained) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 3}, r"spec\.in_channels = 3: must be 1 for this data set"),
        ({"head": {"classes": 7}}, r"spec\.head\.classes = 7: must be 10 for this data set"),
    ],
)
def test_a_spec_must_fit_the_data(splits: Splits, changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_model(spec(**changes), splits, RECIPE, RECORD)


def test_images_are_resized_to_the_resolution_of_the_spec(splits: Splits) -> None:
    assert train_model(spec(resolution=12), splits, RECIPE, RECORD).status == "ok"


def test_the_training_split_must_fill_a_batch(splits: Splits) -> None:
    with pytest.raises(ValueError, match=r"recipe\.batch_size = 1024: must be at most 640, the training images"):
        train_network(network, splits, load_recipe(batch_size=1024), RECORD)


def test_the_record_has_the_arithmetic(splits: Splits) -> None:
    config = DeviceConfig(device="cpu", dtype="float32", channels_last=False)
    record = train_network(network, splits, RECIPE, RECORD, device_config=config)
    assert (record.dtype, record.memory_format, record.threads, record.compiled) == ("float32", "contiguous", 1, False)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_a_gpu_trains_with_the_same_code(splits: Splits, dtype: str) -> None:
    config = DeviceConfig.model_validate({"device": "cuda", "dtype": dtype, "deterministic": True})
    first, second = (train_network(network, splits, RECIPE, RECORD, device_config=config) for _ in range(2))
    assert first.status == "ok"
    assert first.epoch_train_loss == second.epoch_train_loss
    assert first.error_percent is not None
    assert first.error_percent < 60


def probed(record: Record) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name.startswith(("probe", "block", "part"))}


TIMES = ("train_seconds", "images_per_second", "epoch_seconds", "epoch_cpu_seconds", "started_at", "ended_at")


def with_and_without(option: str, splits: Splits, dtype: str) -> tuple[Record, Record]:
    """The records of a training without and with an option, which must not change the weights."""
    networks: list[dict[str, Tensor]] = []

    def train(on: bool) -> Record:
        return train_model(
            spec(),
            splits,
            RECIPE,
            new_record(spec(), splits, RECIPE, seed=5),
            device_config=DeviceConfig(device="cpu", dtype=dtype),  # type: ignore[arg-type]
            on_trained=lambda network, _: networks.append(network.state_dict()),
            **{option: on},  # type: ignore[arg-type]
        )

    plain, record = train(False), train(True)
    assert all(torch.equal(value, networks[1][name]) for name, value in networks[0].items())
    return plain, record


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_probe_changes_nothing_but_its_own_fields(splits: Splits, dtype: str) -> None:
    plain, record = with_and_without("probe", splits, dtype)
    same = [name for name in vars(plain) if name not in (*TIMES, *probed(plain))]
    assert {name: getattr(record, name) for name in same} == {name: getattr(plain, name) for name in same}
    assert set(probed(plain).values()) == {(), None}
    assert record.probe_images == 256
    assert record.block_channels == (8,)
    assert 1 <= record.block_rank_before[0] <= 8  # type: ignore[operator]
    assert len(record.part_gradient_norm_first) == len(record.part_gradient_norm_last) == 3  # stem, stage, head
    assert all(norm and norm > 0 for norm in record.part_gradient_norm_first + record.part_gradient_norm_last)
    assert record.part_gradient_norm_first != record.part_gradient_norm_last
    assert Record.from_json(record.to_json()) == record


def test_a_failed_probe_does_not_lose_the_training(
    splits: Splits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(trainer, "measure_activations", fail)
    record = train_model(spec(), splits, RECIPE, new_record(spec(), splits, RECIPE, 0), probe=True)
    assert record.status == "ok"
    assert record.block_channels == ()
    assert "The probe failed, so its fields are empty (RuntimeError: no kernel)" in caplog.text


def test_any_network_can_be_probed(splits: Splits) -> None:
    record = train_network(network, splits, RECIPE, RECORD, probe=True)
    assert (record.status, record.probe_images, record.block_channels) == ("ok", 256, ())
    assert len(record.part_gradient_norm_last) == 3  # convolution, batch norm, linear


def test_gradient_norms_of_float16_do_not_depend_on_the_loss_scale(splits: Splits) -> None:
    device = dataclasses.replace(resolve_device(CPU), dtype=torch.float16)
    norms = []
    for scale in (2.0**4, 2.0**12):
        run = TrainingRun(network, RECIPE, 0, device, probe=True)
        run.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        run.update(
            run.network, torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(4), 0.1
        )
        assert run.gradient_norms is not None
        norms.append(run.gradient_norms.take())
    assert norms[0] == pytest.approx(norms[1], rel=0.02)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_scores_change_nothing_but_their_own_fields(splits: Splits, dtype: str) -> None:
    plain, record = with_and_without("scores", splits, dtype)
    same = [name for name in vars(plain) if name not in (*TIMES, *SCORES)]
    assert {name: getattr(record, name) for name in same} == {name: getattr(plain, name) for name in same}
    assert all(getattr(plain, name) is None for name in SCORES)
    assert all(isinstance(getattr(record, name), float) for name in SCORES)
    assert Record.from_json(record.to_json()) == record


def test_failed_scores_do_not_lose_the_training(
    splits: Splits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("no kernel")

    monkeypatch.setattr(trainer, "measure_scores", fail)
    record = train_model(spec(), splits, RECIPE, new_record(spec(), splits, RECIPE, 0), scores=True)
    assert (record.status, record.score_nwot) == ("ok", None)
    assert "The zero-cost scores failed, so they are empty (RuntimeError: no kernel)" in caplog.text
