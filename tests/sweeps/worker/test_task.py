"""The built-in trainer: from a study's config to the fields of a record."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from designspace import ModelSpec, complexity
from designspace.study import StudyModel
from sweeps.config import load_recipe
from sweeps.worker.task import (
    COMPILE_PAYS,
    COMPILE_SECONDS,
    ContextLost,
    Task,
    compile_pays,
    find_trainer,
    leave_clean,
    open_trainer,
)

CONFIG: dict[str, Any] = {
    "data": {"name": "digits", "subset": 160, "validation_size": 40},
    "recipe": load_recipe(epochs=1, batch_size=16).to_mapping(),
    "device": {"device": "cpu", "dtype": "float32"},
    "checkpoint_seconds": 60,
    "processes": 1,
}


def model() -> StudyModel:
    stage = {"block": "vanilla", "depth": 1, "width": 8, "stride": 1}
    base = {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "head": {"classes": 10}}
    spec = ModelSpec.from_mapping(base | {"stages": [stage]})
    counts = complexity(spec)
    return StudyModel(
        "key", "a", 0, 0, spec.spec_id, counts.macs, counts.params, counts.acts, spec.depth, {}, spec.to_mapping()
    )


def test_a_model_becomes_a_record(tmp_path: Path) -> None:
    epochs: list[tuple[int, list[float]]] = []

    def note(epochs_done: int, errors: Sequence[float] = ()) -> None:
        epochs.append((epochs_done, list(errors)))

    trainer = open_trainer(CONFIG)
    record = trainer.train(Task(model(), note, tmp_path / "checkpoint"))
    assert record.status == "ok"
    assert (record.spec_id, record.seed, record.macs) == (model().spec_id, model().seed, model().macs)
    assert {"recipe_id": record.recipe_id, "data_id": record.data_id} == trainer.identity
    assert epochs == [(1, [record.error_percent])]
    limited = open_trainer(CONFIG).train(Task(model(), note, tmp_path / "other", deadline_seconds=0))
    assert limited.status == "timeout"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpus_that_pytorch_cannot_use_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    with pytest.raises(ValueError, match=r"device\.device = auto: must be cpu, because .* the GPUs \(0, 1\)"):
        open_trainer(CONFIG | {"device": {"device": "auto"}})
    open_trainer(CONFIG)


def test_a_gpu_that_accepts_no_process_is_an_error_of_the_trainer(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy(*_: object, **__: object) -> None:
        raise RuntimeError(
            "CUDA error: all CUDA-capable devices are busy or unavailable\nCompile with TORCH_USE_CUDA_DSA"
        )

    monkeypatch.setattr(torch, "zeros", busy)  # the first tensor on a GPU in exclusive mode
    with pytest.raises(ValueError, match=r"^device\.device = cpu: must be .* \(CUDA error: all .* unavailable\)$"):
        open_trainer(CONFIG)


def test_a_lost_cuda_context_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    leave_clean()
    assert emptied

    def lost() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    with pytest.raises(ContextLost, match="illegal memory access"):
        leave_clean()


def test_processes_of_the_same_arithmetic_share_time_constants() -> None:
    one, same, other = (open_trainer(CONFIG | {"processes": processes}).measured_on for processes in (1, 1, 2))
    assert one == same != other
    assert one["dtype"] == "float32"


def test_only_long_trainings_are_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    trainer = open_trainer(CONFIG | {"device": CONFIG["device"] | {"compile": True}})
    for predicted, expected in ((None, False), (1.0, False), (2 * COMPILE_PAYS * COMPILE_SECONDS, True)):
        task = Task(model(), lambda epoch, errors=(): None, tmp_path / "checkpoint", predicted_seconds=predicted)
        assert trainer.train(task).compiled is expected
        assert compile_pays(predicted) is expected
    assert len(compiled) == 1


def test_an_unknown_trainer_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^trainer = 'nothing': must be MODULE:ATTRIBUTE"):
        find_trainer("nothing")


@pytest.mark.parametrize("name", [None, "sweeps.training.open_trainer"])
def test_the_built_in_trainer_has_no_name_or_that_of_earlier_versions(name: str | None) -> None:
    assert find_trainer(name) is open_trainer
