"""The folder of an exported network: weights, programs, card, schema."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from designspace import ModelSpec, complexity, load_spec, zoo
from designspace.export import FORMATS, load_network, timm_source, write
from designspace.network import build_network
from designspace.spec import SCHEMA_VERSION, schema_text, spec_schema

sys.path.insert(0, str(Path(__file__).parent))
from other_libraries import need

DOCS = Path(__file__).parents[2] / "docs"
SMALL = ModelSpec.from_mapping(
    {
        "resolution": 28,
        "in_channels": 1,
        "stem": {"width": 8, "stride": 1},
        "stages": [
            {"block": "bottleneck", "depth": 2, "width": 16, "group_width": 8, "se_ratio": 0.25},
            {"block": "bottleneck", "depth": 1, "width": 32, "group_width": 8, "bottleneck_ratio": 0.5},
        ],
        "head": {"classes": 10},
    }
)
BLOCKS = ["basic", "vanilla", "inverted", "separable", "xception"]


def trained(spec: ModelSpec) -> torch.nn.Module:
    """A network in evaluation mode with batch-norm statistics of one batch."""
    torch.manual_seed(1)
    network = build_network(spec)
    network(torch.randn(4, spec.in_channels, spec.resolution, spec.resolution))
    return network.eval()


def test_all_formats_compute_the_same_logits(tmp_path):
    pytest.importorskip("safetensors")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    network = trained(SMALL)
    provenance = {"study": "demo", "validation_error_percent": 9.5}
    written = write(SMALL, FORMATS, tmp_path, provenance=provenance, weights=network.state_dict())
    assert sorted(written.files) == sorted(path.name for path in tmp_path.iterdir())
    assert written.refused == {
        "pycls": "pycls: in_channels = 1: must be 3",
        "torchvision": "torchvision: stages.*.se_ratio = [0.0, 0.25]: must be the same for all stages",
    }
    images = torch.randn(5, 1, 28, 28)
    with torch.inference_mode():
        expected = network(images)
        torch.testing.assert_close(load_network(tmp_path)(images), expected, rtol=0, atol=0)
        program = torch.export.load(tmp_path / "model.pt2").module()
        torch.testing.assert_close(program(images), expected, rtol=0, atol=1e-5)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    torch.testing.assert_close(torch.from_numpy(logits), expected, rtol=0, atol=1e-4)


def test_every_block_runs_in_onnxruntime(tmp_path):
    """`write` compares logits with torch and raises if they differ."""
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    stages = [{"block": block, "depth": 1, "width": 16, "stride": 1} for block in BLOCKS]
    written = write(ModelSpec.from_mapping(SMALL.to_mapping() | {"stages": stages}), ["onnx"], tmp_path)
    assert "model.onnx" in written.files


def test_documented_script_runs(tmp_path, monkeypatch, capsys):
    for package in ("safetensors", "onnxscript"):
        pytest.importorskip(package)
    need("timm", "torchvision", "onnxruntime")
    write(SMALL, ["timm", "onnx"], tmp_path, weights=trained(SMALL).state_dict())
    text = (DOCS / "export.md").read_text()
    script = text.split("# load_exported.py")[1].split("```")[0]
    monkeypatch.setattr(sys, "argv", ["load_exported.py", str(tmp_path)])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for module in ("timm_network", "torchvision_network"):  # imported by another test from another folder
        monkeypatch.delitem(sys.modules, module, raising=False)
    exec(compile(script, "load_exported.py", "exec"), {})
    assert "timm and onnxruntime differ by" in capsys.readouterr().out


def test_documented_backbone_runs(tmp_path, monkeypatch, capsys):
    """The features of timm and torchvision are equal, and have the stated channels and reductions."""
    pytest.importorskip("safetensors")
    need("timm", "torchvision")
    spec = zoo.spec("RegNetX-200MF")
    write(spec, ["timm", "torchvision"], tmp_path, weights=build_network(spec).state_dict())
    script = (DOCS / "export.md").read_text().split("# backbone.py")[1].split("```")[0]
    monkeypatch.setattr(sys, "argv", ["backbone.py", str(tmp_path)])
    monkeypatch.setattr(sys, "path", sys.path.copy())
    for module in ("timm_network", "torchvision_network"):  # imported by another test from another folder
        monkeypatch.delitem(sys.modules, module, raising=False)
    names: dict = {}
    exec(compile(script, "backbone.py", "exec"), names)
    for name in ("timm_network", "torchvision_network"):
        del sys.modules[name]
    assert names["channels"] == [stage.width for stage in spec.stages]
    assert [96 // feature.shape[-1] for feature in names["features"]] == names["reductions"]
    assert "stage 4: (2, 368, 3, 3), 368 channels, 1/32 of the image" in capsys.readouterr().out


@pytest.mark.parametrize("block", ["bottleneck", "inverted"])
@pytest.mark.parametrize("stride", [1, 2])
def test_timm_features_have_the_stated_channels_and_reductions(block, stride):
    """Also with a stem of stride 1, which timm does not have."""
    need("timm")
    from timm.models import FeatureListNet

    stages = [{"block": block, "depth": 1, "width": 16}, {"block": block, "depth": 2, "width": 32}]
    spec = ModelSpec.from_mapping(SMALL.to_mapping() | {"stem": {"width": 8, "stride": stride}, "stages": stages})
    names: dict = {}
    exec(timm_source(spec), names)
    network = names["build"]()
    indices = tuple(range(len(network.feature_info)))
    backbone = FeatureListNet(network, out_indices=indices, flatten_sequential=True).eval()
    features = backbone(torch.randn(1, 1, 32, 32))
    assert [32 // feature.shape[-1] for feature in features] == backbone.feature_info.reduction()
    assert [feature.shape[1] for feature in features] == backbone.feature_info.channels()
    assert backbone.feature_info.channels()[-1] == 32


def test_spec_file_has_version_complexity_and_provenance_and_loads_back(tmp_path):
    write(SMALL, ["yaml", "json"], tmp_path, provenance={"seed": 3})
    origin = yaml.safe_load((tmp_path / "spec.yaml").read_text())["provenance"]
    assert origin == json.loads((tmp_path / "spec.json").read_text())["provenance"]
    assert (origin["schema_version"], origin["seed"]) == (SCHEMA_VERSION, 3)
    assert origin["complexity"]["params"] == complexity(SMALL).params
    assert load_spec(tmp_path / "spec.yaml") == load_spec(tmp_path / "spec.json") == SMALL


def test_card_describes_the_network(tmp_path):
    spec = zoo.spec("RegNetX-200MF")
    write(
        spec, ["yaml", "timm", "pycls"], tmp_path, provenance={"validation_error_percent": 31.1, "trained": "10 epochs"}
    )
    card = (tmp_path / "README.md").read_text()
    for text in (
        "# RegNetX-200MF",
        "2,684,792",
        "validation error percent | 31.1",
        "build()",
        "This folder has no weights",
    ):
        assert text in card
    front = yaml.safe_load(card.split("---")[1])
    assert front["pipeline_tag"] == "image-classification"


def test_card_calls_weights_trained_only_if_the_provenance_does(tmp_path):
    pytest.importorskip("safetensors")
    state = build_network(SMALL).state_dict()
    for provenance in (None, {"seed": 3}, {"trained": ""}):
        write(SMALL, ["yaml"], tmp_path, provenance=provenance, weights=state)
        card = (tmp_path / "README.md").read_text()
        assert "origin of the weights is not recorded" in card
        assert "are trained" not in card
    write(SMALL, ["yaml"], tmp_path, provenance={"trained": "10 epochs"}, weights=state)
    assert "The weights are trained" in (tmp_path / "README.md").read_text()


def test_weights_of_another_network_are_rejected(tmp_path):
    pytest.importorskip("safetensors")
    other = SMALL.model_copy(update={"head": SMALL.head.model_copy(update={"classes": 3})})
    with pytest.raises(ValueError, match=f"weights: must be those of network {SMALL.spec_id}"):
        write(SMALL, ["yaml"], tmp_path, weights=build_network(other).state_dict())
    write(SMALL, ["yaml"], tmp_path)
    with pytest.raises(FileNotFoundError, match="exported without weights"):
        load_network(tmp_path)


def test_unknown_format_is_named(tmp_path):
    with pytest.raises(ValueError, match="format = tflite: unknown; must be one of yaml, json, pycls"):
        write(SMALL, ["yaml", "tflite"], tmp_path)


def test_missing_package_is_an_error_before_anything_is_written(monkeypatch, tmp_path):
    pytest.importorskip("onnxscript")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ValueError, match=r"onnxruntime is not installed: run pip install 'cnn-designspace\[onnx\]'"):
        write(SMALL, ["yaml", "onnx"], tmp_path)
    assert not list(tmp_path.iterdir())


def test_published_schema_is_current():
    assert (DOCS / "spec.schema.json").read_text() == schema_text(), "write schema_text() there"
    properties = spec_schema()["properties"]
    assert set(properties) == {*ModelSpec.model_fields, "provenance"}


def test_importing_export_does_not_import_torch():
    code = "import sys, designspace.export; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
