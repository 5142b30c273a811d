"""One network trained at length: interrupted and resumed it ends in the same weights, with the test error told once."""

import dataclasses
import json
import shutil
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from designspace import ModelSpec, save_spec
from designspace.export import load_network
from designspace.network import build_network
from sweeps import train_one as module
from sweeps.config import DeviceConfig, Recipe
from sweeps.data import DataConfig, open_test
from sweeps.train_command import train
from sweeps.train_one import Job, interval, train_one

STAGE = {"block": "bottleneck", "depth": 1, "width": 8, "stride": 2, "group_width": 2}
SPEC = ModelSpec.from_mapping(
    {"resolution": 8, "in_channels": 1, "stem": {"width": 8, "stride": 1}, "stages": [STAGE], "head": {"classes": 10}}
)
RECIPE = Recipe(epochs=3, batch_size=32, crop_padding=1)
DATA = DataConfig(name="digits", validation_size=300, subset=320)


class Killed(BaseException):
    """Stands for the end of the process."""


def job(out) -> Job:
    return Job(SPEC, RECIPE, DATA, DeviceConfig(device="cpu"), 0, out)


def test_interrupted_training_ends_in_the_same_weights(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")

    def kill(epoch):
        if epoch.epoch == 1:
            raise Killed

    whole = train_one(job(tmp_path / "whole"))
    with pytest.raises(Killed):
        train_one(job(tmp_path / "cut"), on_epoch=kill)
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["checkpoint.pt"]
    cut = train_one(job(tmp_path / "cut"))
    assert cut["test_error_percent"] == whole["test_error_percent"] < 80
    ours, theirs = (load_network(tmp_path / name).state_dict() for name in ("whole", "cut"))
    for name, value in ours.items():
        torch.testing.assert_close(theirs[name], value, rtol=0, atol=0)
    monkeypatch.setattr(module, "open_test", None)  # read once: not again for a finished training
    assert train_one(job(tmp_path / "cut")) == json.loads((tmp_path / "cut" / "training.json").read_text())
    with pytest.raises(ValueError, match="is of another training: seed is 0 there and 1 here"):
        train_one(dataclasses.replace(job(tmp_path / "cut"), seed=1))


def test_command_writes_a_folder_with_weights_and_card(tmp_path, capsys):
    pytest.importorskip("safetensors")
    save_spec(SPEC, tmp_path / "spec.yaml")
    words = [
        "recipe.epochs=1",
        "recipe.batch_size=32",
        "data=digits",
        "device=cpu",
        f"out={tmp_path / 'out'}",
        "to=json",
    ]
    assert train([str(tmp_path / "spec.yaml"), *words]) == 0
    assert "epoch 1/1" in capsys.readouterr().out
    assert {"README.md", "model.safetensors", "spec.yaml", "spec.json", "training.json"} == {
        path.name for path in (tmp_path / "out").iterdir()
    }
    card = (tmp_path / "out" / "README.md").read_text()
    assert "The weights are trained" in card
    assert "test error percent" in card


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data=digits"], "out is missing"),
        (["out=x", "seed=one"], "seed=one is not allowed"),
        (["out=x", "to=tflite"], "to=tflite is not allowed; allowed: yaml, json, pycls"),
    ],
)
def test_mistakes_are_named(words, message):
    with pytest.raises(ValueError, match=message):
        train(["spec.yaml", *words])


def test_streamed_sets_are_tested_once_at_the_end(tmp_path, monkeypatch):
    pytest.importorskip("safetensors")
    for part, count in (("train", 8), ("test", 5)):
        for label, shade in enumerate((40, 200)):
            place = tmp_path / "set" / part / str(label)
            place.mkdir(parents=True)
            for number in range(count):
                Image.new("RGB", (12, 12), (shade, number, shade)).save(place / f"{number}.png")
    mapping = SPEC.to_mapping() | {"in_channels": 3, "head": {"classes": 2}}
    data = DataConfig(name="image_folder", root=tmp_path / "set", resolution=8, validation_size=4, workers=0)
    recipe = Recipe(epochs=2, batch_size=4)
    whole = dataclasses.replace(
        job(tmp_path / "tested"), spec=ModelSpec.from_mapping(mapping), data=data, recipe=recipe
    )
    events = []

    def opened(*arguments):
        events.append("test")
        return open_test(*arguments)

    monkeypatch.setattr(module, "open_test", opened)
    told = train_one(whole, on_epoch=lambda epoch: events.append(epoch.epoch))
    assert events == [0, 1, "test"]
    assert (told["test_part"], told["test_error_percent"] % 10) == ("test", 0)
    assert "on 10 images)" in (tmp_path / "tested" / "README.md").read_text()
    shutil.rmtree(tmp_path / "set" / "test")
    told = train_one(dataclasses.replace(whole, out=tmp_path / "untested"))
    assert (told["test_part"], told["test_error_percent"]) == (None, None)
    assert "not measured: the data set has no test part" in (tmp_path / "untested" / "README.md").read_text()


def test_images_are_resized_to_the_networks_resolution(tmp_path):
    pytest.importorskip("safetensors")
    larger = ModelSpec.from_mapping(SPEC.to_mapping() | {"resolution": 12})
    seen = set()

    def build(spec, **options):
        network = build_network(spec, **options)
        network.register_forward_pre_hook(lambda module, inputs: seen.add(inputs[0].shape[2:]))
        return network

    with patch.object(module, "build_network", build):
        train_one(dataclasses.replace(job(tmp_path), spec=larger, recipe=Recipe(epochs=1, batch_size=32)))
    assert seen == {(12, 12)}  # in training, validation and test


def test_interval_is_wilsons():
    low, high = interval(10.0, 1000)  # 100 of 1000: 8.29 to 12.02 (Newcombe 1998, method 3)
    assert (round(low, 2), round(high, 2)) == (8.29, 12.02)
    assert interval(0.0, 100)[0] == 0
