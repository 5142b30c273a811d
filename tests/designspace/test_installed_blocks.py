"""Blocks of installed packages: the unit of docs/blocks.md, a block with its own kinds of layers, broken packages."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fvcore.nn import FlopCountAnalysis

import designspace
from designspace import ModelSpec, Population, complexity, load_spec, save_spec, training_memory, zoo
from designspace.export import NotExpressible, timm_source, to_pycls, torchvision_source
from designspace.export.program import example, trace
from designspace.network import build_network
from designspace.scaling import scale_to
from designspace.spaces import space_from_config
from designspace.study import Study

ROOT = Path(designspace.__file__).parents[1]
GROUP = "designspace.blocks"

SPACE: dict[str, Any] = {
    "name": "shuffled",
    "family": "anynet",
    "parameters": {
        "depth": {"distribution": "uniform", "low": 1, "high": 4, "per_stage": True},
        "width": {"distribution": "uniform", "low": 8, "high": 32, "step": 8, "per_stage": True},
        "kernel_size": {"distribution": "choice", "options": [3, 5], "per_stage": True},
        "shuffle": {"distribution": "choice", "options": [True, False]},
    },
    "template": {
        "resolution": 16,
        "in_channels": 1,
        "strides": [1, 2, 2],
        "stem": {"width": 16, "stride": 1},
        "head": {"classes": 10},
        "stage": {"block": "shuffle"},
    },
}

SCALED = """
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from designspace.blocks import Stage
from designspace.layers import CustomLayer


class Scaling(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(width, 1, 1))

    def forward(self, x):
        return x * self.scale


@dataclass(frozen=True)
class Scale(CustomLayer):
    width: Any
    keeps_input = True

    def module(self):
        return Scaling(self.width)

    def counts(self, resolution):
        return self.width * resolution**2, self.width, 0


class Halve(CustomLayer):
    keeps_input = True

    def module(self):
        return nn.AvgPool2d(2)

    def output_resolution(self, resolution):
        return resolution // 2


class ScaledStage(Stage):
    block: Literal["scaled"] = "scaled"

    def layers(self, w_in, stride, style):
        pool = (Halve(),) if stride == 2 else ()
        return (*style.conv(1, w_in, self.width, self.kernel_size, activate=False), Scale(self.width), *pool)
"""


@pytest.fixture
def broken(install: Callable[..., Path]) -> Iterator[None]:
    """A package whose entry points fail in different ways."""
    source = """
from typing import Literal
from designspace.blocks import Stage

class Conditional(Stage):
    block: Literal["conditional"] = "conditional"

    def layers(self, w_in, stride, style):
        return style.conv(1, w_in, self.width) if w_in != self.width else ()

class Incomplete(Stage):
    block: Literal["incomplete"] = "incomplete"
"""
    points = {
        "absent": "no_such_module:Stage",
        "bottleneck": "broken_blocks:Conditional",
        "conditional": "broken_blocks:Conditional",
        "function": "broken_blocks:print",
        "incomplete": "broken_blocks:Incomplete",
        "renamed": "broken_blocks:Conditional",
    }
    install("broken-blocks", "0.1", source, {GROUP: points})
    install("other-blocks", "2.0", "", {GROUP: {"conditional": "other_blocks:Conditional"}})
    yield
    sys.modules.pop("broken_blocks", None)


def network(widths: tuple[int, ...], head: int, depths: tuple[int, ...] = (4, 8, 4), **fields: Any) -> ModelSpec:
    stages = [{"block": "shuffle", "depth": depth, "width": width} for depth, width in zip(depths, widths, strict=True)]
    stem = {"width": 24, "max_pool": True}
    return ModelSpec.from_mapping({"stem": stem, "stages": stages, "head": {"width": head}} | fields)


def conv_and_linear(spec: ModelSpec) -> int:
    """Multiply-adds by fvcore."""
    image = torch.zeros(1, spec.in_channels, spec.resolution, spec.resolution)
    analysis = FlopCountAnalysis(build_network(spec).eval(), image)
    counts: Counter[str] = analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).by_operator()
    return int(counts["conv"] + counts["linear"])


def parameters(spec: ModelSpec) -> int:
    return sum(parameter.numel() for parameter in build_network(spec).parameters())


@pytest.fixture
def population(shuffle_blocks: Path) -> Population:
    return space_from_config(SPACE).sample(12)


@pytest.mark.parametrize(
    ("widths", "head", "params", "giga"),
    [
        ((48, 96, 192), 1024, 1_366_792, 0.040),
        ((116, 232, 464), 1024, 2_278_604, 0.145),
        ((176, 352, 704), 1024, 3_503_624, 0.296),
        ((244, 488, 976), 2048, 7_393_996, 0.583),
    ],
)
@pytest.mark.usefixtures("shuffle_blocks")
def test_published_counts_of_shufflenet_v2(widths: tuple[int, ...], head: int, params: int, giga: float) -> None:
    # torchvision's model table: ShuffleNet V2 0.5×, 1.0×, 1.5× and 2.0×
    counts = complexity(network(widths, head), "conv")
    assert counts.params == params
    assert counts.macs / 1e9 == pytest.approx(giga, abs=5e-4)


@pytest.mark.usefixtures("shuffle_blocks")
def test_cost_of_the_units() -> None:
    # arXiv 1807.11164, Fig. 3c: 1×1, depthwise 3×3 and 1×1 on half of the channels; Fig. 3d: both branches, stride 2
    one, two = (complexity(network((32,), 32, (depth,), resolution=64)).macs for depth in (1, 2))
    assert two - one == 8 * 8 * (16 * 16 + 9 * 16 + 16 * 16)
    other = complexity(network((64,), 32, (1,), resolution=64)).macs
    first, second = (
        16 * 16 * 24 * half + 8 * 8 * (9 * half + half * half + 9 * 24 + 24 * half) + 8 * 8 * 2 * half * 32
        for half in (16, 32)
    )
    assert other - one == second - first


def test_counts_agree_with_fvcore_torch_and_the_population(population: Population) -> None:
    memory = training_memory(population.networks, 8)
    assert set(population.parameters["shuffle"].tolist()) == {True, False}
    for index, spec in enumerate(population):
        assert [stage.kernel_size for stage in spec.stages] == population.parameters["kernel_size"][index].tolist()
        counts, total = complexity(spec), training_memory(spec, 8).total
        ours = (counts.macs, counts.params, counts.acts, total)
        arrays = (population.complexity.macs, population.complexity.params, population.complexity.acts, memory.total)
        assert ours == tuple(int(array[index]) for array in arrays)
        assert counts.params == parameters(spec)
        assert complexity(spec, "conv").macs == conv_and_linear(spec)


def test_the_field_removes_the_shuffle(population: Population) -> None:
    for drawn, spec in zip(population.parameters["shuffle"], population, strict=True):
        shuffles = [m for m in build_network(spec).modules() if isinstance(m, torch.nn.ChannelShuffle)]
        assert len(shuffles) == spec.depth * drawn


@pytest.mark.usefixtures("shuffle_blocks")
def test_half_of_the_channels_pass_unchanged() -> None:
    stage = {"block": "shuffle", "depth": 1, "width": 24, "stride": 1, "shuffle": False}
    unit = build_network(network((24,), 8, (1,)).changed(stages=[stage])).eval().get_submodule("stage1.0")
    x = torch.randn(2, 24, 8, 8)
    assert torch.equal(unit(x)[:, :12], x[:, :12])
    assert not torch.equal(unit(x)[:, 12:], x[:, 12:])


@pytest.mark.parametrize("suffix", [".yaml", ".json"])
def test_specs_round_trip_through_files(suffix: str, population: Population, tmp_path: Path) -> None:
    path = tmp_path / f"spec{suffix}"
    for spec in list(population)[:5]:
        save_spec(spec, path)
        assert load_spec(path) == spec
        assert load_spec(path).spec_id == spec.spec_id
        assert ModelSpec.from_mapping(json.loads(spec.to_json())) == spec
    assert len({spec.spec_id for spec in population}) == len({spec.to_json() for spec in population})
    space = space_from_config(SPACE)
    assert space_from_config(json.loads(json.dumps(space.to_mapping()))).sample(12) == population


@pytest.mark.usefixtures("shuffle_blocks")
def test_scaling() -> None:
    spec = network((16, 32), 32, (1, 2), resolution=64)
    scaled, _ = scale_to(spec, 4 * complexity(spec).macs)
    assert complexity(scaled).macs == pytest.approx(4 * complexity(spec).macs, rel=0.2)
    assert {stage.block for stage in scaled.stages} == {"shuffle"}


@pytest.mark.usefixtures("shuffle_blocks")
def test_exports() -> None:
    spec = network((16, 32), 32, (1, 2), resolution=32)
    built = build_network(spec).eval()
    images = example(spec, 3)
    assert torch.allclose(trace(built, spec).module()(images), built(images), atol=1e-5)
    for export in (to_pycls, timm_source, torchvision_source):
        with pytest.raises(NotExpressible, match=r"stages\.0\.block = 'shuffle': must be"):
            export(spec)


def test_layers_of_a_package_are_counted_and_built(install: Callable[..., Path]) -> None:
    install("scaled-blocks", "1.0", SCALED, {GROUP: {"scaled": "scaled_blocks:ScaledStage"}})
    template = SPACE["template"] | {"stage": {"block": "scaled"}}
    drawn = {name: SPACE["parameters"][name] for name in ("depth", "width", "kernel_size")}
    population = space_from_config({"name": "scaled", "family": "anynet", "parameters": drawn, "template": template})
    networks = population.sample(10)
    for index, spec in enumerate(networks):
        counts = complexity(spec)
        assert counts.params == networks.complexity.params[index] == parameters(spec)
        scaled = [(stage.depth, stage.width, 16 // 2**number) for number, stage in enumerate(spec.stages)]
        before = sum(width * (2 * r if number else r) ** 2 for number, (_, width, r) in enumerate(scaled))
        multiplications = before + sum((depth - 1) * width * r**2 for depth, width, r in scaled)
        assert complexity(spec, "conv").macs == conv_and_linear(spec) + multiplications


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"width": 15}, "stages.0.width = 15: must be even"),
        ({"shufle": True}, "stages.0.shufle = True: unknown; did you mean shuffle?"),
        ({"shuffle": "no way"}, "stages.0.shuffle = 'no way': must be true or false"),
        ({"depth": 0, "width": 0}, "stages.0.depth = 0: must be at least 1; stages.0.width = 0: must be at least 1"),
        ({"bottleneck_ratio": 2}, "stages.0.bottleneck_ratio = 2: unknown; must be one of block, depth, width"),
        ({"block": "shufle"}, f"convnext, shuffle (packages add blocks by the entry point group {GROUP})"),
    ],
)
@pytest.mark.usefixtures("shuffle_blocks")
def test_errors_of_fields(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ModelSpec.from_mapping({"stages": [{"block": "shuffle", "depth": 1, "width": 16} | fields]})
    assert message in str(caught.value)


@pytest.mark.usefixtures("shuffle_blocks")
def test_errors_of_spaces() -> None:
    template = SPACE["template"]
    for stage, message in (
        ({"block": "shufle"}, r"template\.stage\.block = 'shufle': must be one of bottleneck, .*, shuffle \(packages"),
        ({"block": "shuffle", "shuffle": 3}, r"template\.stage\.shuffle = 3: must be true or false"),
    ):
        with pytest.raises(ValueError, match=message):
            space_from_config(SPACE | {"template": template | {"stage": stage}})
    drawn = SPACE["parameters"] | {"group_width": {"distribution": "choice", "options": [8]}}
    with pytest.raises(ValueError, match=r"parameters\.group_width: unknown"):
        space_from_config(SPACE | {"parameters": drawn})


def test_a_block_whose_package_is_not_installed() -> None:
    with pytest.raises(ValueError, match=rf"block = 'shuffle': must be one of .*convnext \(packages .* group {GROUP}"):
        network((16,), 8, (1,))


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("absent", "cannot import no_such_module:Stage of broken-blocks 0.1: ModuleNotFoundError: No module named"),
        ("bottleneck", "must be defined by one package only, not by cnn-designspace and broken-blocks 0.1"),
        ("conditional", "must be defined by one package only, not by other-blocks 2.0 and broken-blocks 0.1"),
        ("function", "cannot import broken_blocks:print of broken-blocks 0.1: AttributeError"),
        (
            "incomplete",
            "broken_blocks:Incomplete of broken-blocks 0.1 must be a subclass of Stage with a method layers",
        ),
        (
            "renamed",
            "broken_blocks:Conditional of broken-blocks 0.1 must have the default block = 'renamed', not 'cond",
        ),
    ],
)
@pytest.mark.usefixtures("broken")
def test_broken_packages(block: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ModelSpec.from_mapping({"stages": [{"block": block, "depth": 1, "width": 16}]})
    assert f"stages.0.block = {block}: {message}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_conditions_that_do_not_work_for_arrays(install: Callable[..., Path]) -> None:
    source = SCALED.replace('"scaled"', '"branching"').replace("if stride == 2", "if w_in == self.width")
    install("branching-blocks", "1.0", source, {GROUP: {"branching": "branching_blocks:ScaledStage"}})
    template = SPACE["template"] | {"stage": {"block": "branching"}}
    parameters = {name: SPACE["parameters"][name] for name in ("depth", "width")}
    space = space_from_config({"name": "b", "family": "anynet", "parameters": parameters, "template": template})
    message = r"block = branching: ValueError in branching_blocks\.ScaledStage: The truth value of an array"
    with pytest.raises(ValueError, match=message):
        print(space.sample(10).complexity)


def test_other_blocks_do_not_import_the_package(install: Callable[..., Path]) -> None:
    install("failing-blocks", "1.0", "raise RuntimeError", {GROUP: {"failing": "failing_blocks:Stage"}})
    assert ModelSpec.from_mapping(zoo.spec("ResNet-50").to_mapping()) == zoo.spec("ResNet-50")
    assert len(space_from_config({"base": "regnetx"}).sample(3)) == 3
    with pytest.raises(ValueError, match=r"must be one of bottleneck, .*, convnext, failing \("):
        ModelSpec.from_mapping({"stages": [{"block": "other", "depth": 1, "width": 16}]})
    assert "failing_blocks" not in sys.modules


def test_a_study(shuffle_blocks: Path, tmp_path: Path) -> None:
    """Sampled, frozen, trained in worker processes, and analyzed."""
    (tmp_path / "shuffle.py").write_text(f"from designspace import DesignSpace\nspace = DesignSpace(**{SPACE!r})\n")
    settings = ("data=digits", "data.subset=200", "recipe.epochs=1", "n=2", "processes=2", "run=study")
    for arguments in (("sweep", "spaces=[shuffle:space]", *settings), ("edf", "study", "--out", "edf.png")):
        done = subprocess.run(
            [sys.executable, "-m", "designspace", *arguments],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, (shuffle_blocks, ROOT)))},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    study = Study.open(tmp_path / "study")
    records, damaged = study.read_records()
    assert not damaged
    assert [record.status for record in records.values()] == ["ok", "ok"]
    for record in records.values():
        assert np.isfinite(record.error_percent)
        assert {stage["block"] for stage in record.spec["stages"]} == {"shuffle"}
        assert record.params == parameters(ModelSpec.from_mapping(record.spec))
    assert study.manifest["environment"]["packages"]["shuffle-blocks"] == "1.0"
