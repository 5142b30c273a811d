"""Training one network, from Python and from the command line."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from command import ROOT
from PIL import Image

import designspace
import sweeps
import sweeps.data
from designspace import ModelSpec, save_spec
from designspace.export import load_network
from designspace.network import build_network
from designspace.study import Record
from sweeps.commands import train as train_command
from sweeps.config import DataConfig, load_recipe
from sweeps.train_one import CHECKPOINT, check_train_folder, error_interval, train
from sweeps.trainer import trainer

STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 2}
SPEC = ModelSpec.from_mapping(
    {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 10}}
)
DATA = DataConfig(name="digits", validation_size=300, subset=320)


def train_digits(spec: ModelSpec = SPEC, data: str | DataConfig = DATA, **options: Any) -> Record:
    return train(spec, data, **{"device": "cpu", "epochs": 3, "crop_padding": 1} | options)


class Killed(BaseException):
    """Simulates the end of the process."""


def test_data_and_recipe_can_be_names() -> None:
    record = sweeps.train(SPEC, data="digits", recipe="low_epoch", epochs=1, seed=3, device="cpu")
    assert (record.status, record.epochs_done, record.seed) == ("ok", 1, 3)
    assert record.recipe_id == load_recipe(epochs=1).recipe_id
    assert Record.from_json(record.to_json()) == record


def test_settings_and_names_give_the_same_training() -> None:
    named = train_digits(recipe="low_epoch", epochs=1, crop_padding=0)
    given = train_digits(recipe=load_recipe(learning_rate=0.1), epochs=1, crop_padding=0, learning_rate=0.2)
    assert named.key == given.key
    assert named.epoch_train_loss == given.epoch_train_loss


def test_a_spec_with_another_resolution_than_the_data_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    larger = SPEC.changed(resolution=12)
    train_digits(larger, epochs=1)
    message = "spec.resolution = 12: differs from the 8 pixels of the data; images are resized to 12 pixels"
    assert [record.getMessage() for record in caplog.records if "differs" in record.getMessage()] == [message]
    caplog.clear()
    train_digits(epochs=1)
    train_digits(larger, epochs=1, resolution=10)  # the recipe sets the size of the images
    assert "differs" not in caplog.text


def test_a_deadline_is_a_status() -> None:
    assert train_digits(deadline_seconds=0.0).status == "timeout"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"recipe": "low_epochs"}, r"^recipe = low_epochs: unknown; did you mean low_epoch"),
        ({"data": "digit"}, r"^data = digit: unknown; did you mean digits"),
        ({"device": "xla"}, r"^device = xla: unknown; must be one of auto, cpu, cuda"),
        ({"data": 3}, r"^data = 3: must be a name or a DataConfig"),
        ({"recipe": 3}, r"^recipe = 3: must be a name or a Recipe"),
        ({"device": 3}, r"^device = 3: must be a name or a DeviceConfig"),
        ({"formats": "yaml"}, r"^formats = 'yaml': must be a list of formats"),
        ({"deadline_seconds": "1"}, r"^deadline_seconds = '1': must be a number of at least 0"),
        ({"epochs": 0}, r"^epochs = 0: must be"),
        ({"epoch": 3}, r"^argument = epoch: unknown; did you mean epochs"),
        ({"seed": -1}, r"^seed = -1: must be at least 0"),
        ({"data": "fashion_mnist_"}, r"^data = fashion_mnist_: unknown; did you mean fashion_mnist"),
    ],
)
def test_errors_name_the_argument(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        train_digits(**arguments)
    assert "\n" not in str(error.value)


def test_the_code_of_the_documentation_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(designspace, "sweeps", sweeps, raising=False)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "training.md").read_text(), re.DOTALL)
    assert blocks
    names: dict[str, Any] = {}
    for block in blocks:
        exec(block, names)
    assert names["record"].status == "ok"


def test_importing_sweeps_does_not_import_torch() -> None:
    code = "import sys, sweeps, sweeps.train_one, sweeps.config; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_interrupted_training_ends_in_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")

    def kill(record: Record) -> None:
        if record.epochs_done == 2:
            raise Killed

    complete = train_digits(out=tmp_path / "complete")
    with pytest.raises(Killed):
        train_digits(out=tmp_path / "resumed", on_epoch=kill)
    assert [path.name for path in (tmp_path / "resumed").iterdir()] == ["checkpoint.pt"]
    resumed = train_digits(out=tmp_path / "resumed")
    assert resumed.epoch_train_loss == complete.epoch_train_loss
    results = [json.loads((tmp_path / name / "training.json").read_text()) for name in ("complete", "resumed")]
    assert results[0]["test_error_percent"] == results[1]["test_error_percent"] < 80
    first, second = (load_network(tmp_path / name).state_dict() for name in ("complete", "resumed"))
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, rtol=0, atol=0)

    monkeypatch.setattr(trainer, "build_network", None)  # a finished training is not repeated
    assert train_digits(out=tmp_path / "resumed") == resumed
    with pytest.raises(
        ValueError, match=r"training\.json: result of another training \(seed = 0\), must have seed = 1"
    ):
        train_digits(out=tmp_path / "resumed", seed=1)


def test_the_command_writes_a_folder_with_weights_and_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("safetensors")
    save_spec(SPEC, tmp_path / "spec.yaml")
    settings = ["recipe.epochs=1", "recipe.batch_size=32", "data=digits", "device=cpu", "--to=json"]
    assert train_command([str(tmp_path / "spec.yaml"), *settings, f"--out={tmp_path / 'out'}"]) == 0
    printed = capsys.readouterr().out
    assert "epoch 1/1" in printed
    assert "test error" in printed
    assert {"README.md", "model.safetensors", "spec.yaml", "spec.json", "training.json"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The weights are trained" in card
    assert "test error percent" in card


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["data=digits"], "--out: required"),
        (["--out", "x", "--seed", "one"], "--seed = one: must be an integer"),
        (["--out", "x", "--to", "yam"], r"to = yam: unknown; did you mean yaml"),
    ],
)
def test_the_command_rejects_wrong_settings(settings: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        train_command(["spec.yaml", *settings])


def test_streamed_sets_are_tested_once_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    for part, count in (("train", 8), ("test", 5)):
        for label, shade in enumerate((40, 200)):
            folder = tmp_path / "set" / part / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (12, 12), (shade, number, shade)).save(folder / f"{number}.png")
    spec = ModelSpec.from_mapping(SPEC.to_mapping() | {"in_channels": 3, "head": {"classes": 2}})
    data = DataConfig(name="image_folder", root=tmp_path / "set", resolution=8, validation_size=4, workers=0)
    options = {"epochs": 2, "batch_size": 4, "crop_padding": 0}
    events: list[object] = []
    open_test = sweeps.data.open_test

    def opened(*arguments: Any) -> Any:
        events.append("test")
        return open_test(*arguments)

    monkeypatch.setattr(sweeps.data, "open_test", opened)
    on_epoch = lambda record: events.append(record.epochs_done)  # noqa: E731
    train_digits(spec, data, out=tmp_path / "tested", on_epoch=on_epoch, **options)
    assert events == [1, 2, "test"]
    result = json.loads((tmp_path / "tested" / "training.json").read_text())
    assert (result["test_part"], result["test_error_percent"] % 10) == ("test", 0)
    assert "on 10 images)" in (tmp_path / "tested" / "README.md").read_text()
    shutil.rmtree(tmp_path / "set" / "test")
    train_digits(spec, data, out=tmp_path / "untested", **options)
    result = json.loads((tmp_path / "untested" / "training.json").read_text())
    assert (result["test_part"], result["test_error_percent"]) == (None, None)
    assert "not measured: the data set has no test part" in (tmp_path / "untested" / "README.md").read_text()


def test_images_are_resized_to_the_resolution_of_the_spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("safetensors")
    larger = ModelSpec.from_mapping(SPEC.to_mapping() | {"resolution": 12})
    shapes = set()

    def build(spec: ModelSpec, **options: Any) -> torch.nn.Module:
        network = build_network(spec, **options)
        network.register_forward_pre_hook(lambda module, inputs: shapes.add(inputs[0].shape[2:]))
        return network

    monkeypatch.setattr(trainer, "build_network", build)
    train_digits(larger, epochs=1, out=tmp_path)
    assert shapes == {(12, 12)}  # training, validation, and test


@pytest.mark.parametrize("name", ["README.md", "spec.yaml", "model.safetensors", CHECKPOINT])
def test_files_from_other_tools_are_not_replaced(tmp_path: Path, name: str) -> None:
    check_train_folder(tmp_path / "absent")
    (tmp_path / name).write_text("precious")
    with pytest.raises(ValueError, match=rf"{name}: must be a new file or one that this tool wrote"):
        check_train_folder(tmp_path)
    check_train_folder(tmp_path, force=True)


def test_a_folder_with_a_checkpoint_is_accepted(tmp_path: Path) -> None:
    (tmp_path / CHECKPOINT).write_bytes(b"designspace checkpoint 4 0123\n")
    check_train_folder(tmp_path)


def test_error_interval_is_wilsons() -> None:
    interval = error_interval(10.0, 1000)  # 100 of 1000: 8.29 to 12.02 (Newcombe 1998, method 3)
    assert (round(interval["low"], 2), round(interval["high"], 2)) == (8.29, 12.02)
    assert error_interval(0.0, 100)["low"] == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained network."""
    folder = tmp_path_factory.mktemp("trained") / "network"
    train_digits(out=folder, epochs=1)
    return folder


STANDING = {"learning_rate": 1e-9, "momentum": 0.0, "nesterov": False, "epochs": 1}
"""A recipe that leaves the weights as they are."""


def test_a_training_starts_from_the_weights_of_another(trained: Path, tmp_path: Path) -> None:
    train_digits(out=tmp_path / "b", weights=trained, **STANDING)
    before, after = load_network(trained).state_dict(), load_network(tmp_path / "b").state_dict()
    for name, value in after.items():
        if "running" not in name and "tracked" not in name:
            torch.testing.assert_close(value, before[name], atol=1e-5, rtol=0)
    result = json.loads((tmp_path / "b" / "training.json").read_text())
    content = (trained / "model.safetensors").read_bytes()
    assert result["initial_weights"] == {
        "file": str(trained / "model.safetensors"),
        "sha256": hashlib.sha256(content).hexdigest(),
        "head": "loaded",
    }
    with pytest.raises(
        ValueError, match=r"training.json: result of another training \(weights = .*must have weights = "
    ):
        train_digits(out=tmp_path / "b", **STANDING)
    torch.save(before, tmp_path / "weights.pt")
    spec = tmp_path / "spec.yaml"
    save_spec(SPEC, spec)
    settings = ["data=digits", "data.subset=320", "data.validation_size=300", "recipe.epochs=1", "device=cpu"]
    assert train_command([str(spec), *settings, f"--out={tmp_path / 'c'}", f"--weights={tmp_path / 'weights.pt'}"]) == 0
    assert json.loads((tmp_path / "c" / "training.json").read_text())["initial_weights"]["head"] == "loaded"


def test_a_head_for_other_classes_is_new(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec, data = SPEC.changed(head=SPEC.head.changed(classes=5)), DATA.changed(classes=5)
    train_digits(spec, data, out=tmp_path / "b", weights=trained, **STANDING)
    assert "has 10 classes, the data 5: the head is newly initialized" in caplog.text
    before, after = load_network(trained).state_dict(), load_network(tmp_path / "b").state_dict()
    first = next(iter(before))
    torch.testing.assert_close(after[first], before[first], atol=1e-5, rtol=0)
    assert json.loads((tmp_path / "b" / "training.json").read_text())["initial_weights"]["head"] == "initialized"


def test_a_checkpoint_of_a_training_from_other_weights_is_an_error(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(record: Record) -> None:
        raise Killed

    with pytest.raises(Killed):
        train_digits(out=tmp_path / "b", weights=trained, on_epoch=kill)
    with pytest.raises(ValueError, match=r"checkpoint of another training \(weights = "):
        train_digits(out=tmp_path / "b")


def test_weights_that_do_not_fit_are_one_line(trained: Path, tmp_path: Path) -> None:
    wider = SPEC.changed(stem=SPEC.stem.changed(width=16))
    deeper = SPEC.changed(stages=[STAGE | {"depth": 2}])
    (tmp_path / "text.pt").write_text("no weights")
    torch.save([1], tmp_path / "list.pt")
    for spec, weights, message in (
        (wider, trained, r"weights = .*model\.safetensors: stem\.\S+ has shape \[8.*\]: must be \[16.*\]"),
        (deeper, trained, r"weights = .*: must have the tensors of network \w+, but stage1\S+ is missing"),
        (SPEC, tmp_path / "absent.pt", r"weights = .*absent.pt: must be an existing file"),
        (SPEC, tmp_path / "text.pt", r"weights = .*text.pt: must be a .safetensors file or a state dict"),
        (SPEC, tmp_path / "list.pt", r"weights = .*list.pt: must be a state dict, which maps names to tensors"),
    ):
        with pytest.raises(ValueError, match=message) as caught:
            train_digits(spec, weights=weights)
        assert "\n" not in str(caught.value)
