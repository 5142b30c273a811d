import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace import ModelSpec, load_spec, save_spec, zoo
from designspace.spec import STAGES, BasicStage, Head, Stem, VanillaStage

counts = st.integers(1, 8)
switch = (True, False)
CHOICES = {
    "stride": (1, 2),
    "kernel_size": (1, 3, 5),
    "bottleneck_ratio": (0.25, 0.5, 1, 2, 4),
    "expansion_ratio": (2, 6),
    "group_width": (None, 1, 2),
    "se_ratio": (0, 1.0),
    "se_position": ("inner", "output"),
    "downsample": ("conv", "avg", "none"),
    "residual": switch,
    "max_pool": switch,
    "padding": ("same", "valid"),
    "linear": switch,
    "shortcut": ("bottlenecks", "expansions", "none"),
    "fused": switch,
    "se_base": ("input", "expansion"),
    "se_gate": ("sigmoid", "hard_sigmoid"),
    "se_activation": (None, "relu"),
    "activation": (None, "hard_swish"),
    "norm": (None, "layer"),
    "layer_scale": (0, 1e-6),
    "activate_depthwise": switch,
    "convs": (1, 3),
    "grow": ("first", "last"),
}


@st.composite
def stages(draw: st.DrawFn) -> dict[str, object]:
    block = draw(st.sampled_from(sorted(STAGES)))
    names = set(STAGES[block].model_fields) - {"block", "depth", "width"}
    fields = {name: draw(st.sampled_from(CHOICES[name])) for name in sorted(names)}
    alone = fields.get("padding") == "valid"
    fields |= {"residual": False} if alone else {}
    return {"block": block, "depth": 1 if alone else draw(counts), "width": 32 * draw(counts)} | fields


specs = st.builds(
    ModelSpec,
    name=st.none() | st.text(st.characters(codec="utf-8"), max_size=20).filter(str.isprintable),
    resolution=st.integers(8, 64),
    in_channels=st.sampled_from([1, 3]),
    activation=st.sampled_from(["relu", "silu"]),
    batch_norm=st.booleans(),
    conv_bias=st.booleans(),
    stem=st.none()
    | st.builds(
        Stem,
        width=counts,
        hidden=st.lists(counts, max_size=2).map(tuple),
        stride=st.sampled_from([1, 2]),
        max_pool=st.booleans(),
    ),
    stages=st.lists(stages(), min_size=1, max_size=4).map(tuple),
    head=st.builds(Head, classes=counts, width=st.none() | counts, hidden=st.lists(counts, max_size=2).map(tuple)),
)


@given(spec=specs, suffix=st.sampled_from([".yaml", ".yml", ".json"]))
def test_specs_round_trip_through_files(spec: ModelSpec, suffix: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("spec") / f"spec{suffix}"
    save_spec(spec, path, provenance={"study": "x"})
    loaded = load_spec(path)
    assert loaded == spec
    assert loaded.spec_id == spec.spec_id
    assert ModelSpec.from_mapping(json.loads(spec.to_json())) == spec


@pytest.mark.parametrize(
    "name", ["4e8", "1", "1.5", "0x1f", "1_000", ".5", "5e-1", "yes", "null", "1:30", ".nan", "2024-05-01"]
)
def test_names_that_look_like_values_stay_text(name: str, tmp_path: Path) -> None:
    spec = zoo.spec("ResNet-50").model_copy(update={"name": name})
    save_spec(spec, tmp_path / "spec.yaml")
    assert load_spec(tmp_path / "spec.yaml") == spec


def test_spec_id_depends_on_everything_but_the_name() -> None:
    spec = zoo.spec("RegNetX-200MF")
    assert spec.model_copy(update={"name": "other"}).spec_id == spec.spec_id
    assert ModelSpec(**(dict(spec) | {"resolution": 192})).spec_id != spec.spec_id
    assert ModelSpec(**(dict(spec) | {"stages": spec.stages[:3]})).spec_id != spec.spec_id


@pytest.mark.parametrize(
    ("name", "spec_id"),
    [
        ("VGG-16", "c6882a6ab18b67fa"),
        ("Xception-299", "e40527497e4a7426"),
        ("MobileNetV2-1.0-224", "2f56e5c6e441ad11"),
        ("EfficientNet-B0", "b7191db956997027"),
        ("RegNetY-400MF", "e8683fc7428106cc"),
    ],
)
def test_ids_of_published_networks_do_not_change(name: str, spec_id: str) -> None:
    """Records of earlier versions are keyed by these ids."""
    spec = zoo.spec(name)
    assert spec.spec_id == spec_id
    assert ModelSpec.from_mapping(json.loads(spec.to_json())).spec_id == spec_id


def test_block_types_with_equal_fields_have_different_ids() -> None:
    basic, vanilla = BasicStage(depth=1, width=8, residual=True), VanillaStage(depth=1, width=8, residual=True)
    assert ModelSpec(stages=(basic,)).spec_id != ModelSpec(stages=(vanilla,)).spec_id


def bottleneck(**fields: object) -> dict[str, object]:
    return {"stages": [{"block": "bottleneck", "depth": 1, "width": 24} | fields]}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "stages: required"),
        ({"stages": []}, "stages = []: must have at least one stage"),
        (bottleneck(group_width=7), "stages.0.group_width = 7: must divide the inner width"),
        (bottleneck(bottleneck_ratio=5), "stages.0.bottleneck_ratio = 5: must divide width 24"),
        (bottleneck(width=0), "stages.0.width = 0: must be at least 1"),
        (bottleneck(width="24"), "stages.0.width = '24': must be an integer"),
        (bottleneck(kernel_size=2), "stages.0.kernel_size = 2: must be odd"),
        (bottleneck(groupwidth=8), "stages.0.groupwidth = 8: unknown; did you mean group_width"),
        (bottleneck(block="botleneck"), "stages.0.block = 'botleneck': must be one of bottleneck, basic, vanilla"),
        (bottleneck(se_ratio=0.001), "stages.0.se_ratio = 0.001: must squeeze the input width 32 to at least one"),
        (
            bottleneck(depth=2, width=8, se_ratio=0.05),
            "stages.0.se_ratio = 0.05: must squeeze the input width 8 to at least",
        ),
        (bottleneck() | {"stem": {"kernel_size": 4}}, 'stem.kernel_size = 4: must be odd unless padding is "valid"'),
        (bottleneck() | {"batch_norm": False, "norm": "layer"}, "norm = layer: must be batch if batch_norm is false"),
        (bottleneck() | {"activation": "tanh"}, "activation = 'tanh': must be one of relu"),
        (bottleneck() | {"depth": 3}, "depth = 3: unknown; must be one of name, resolution"),
    ],
)
def test_errors_name_field_value_and_allowed_values(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ModelSpec.from_mapping(mapping)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("!!python/object/apply:os.system ['true']")
    with pytest.raises(ValueError, match="not valid YAML"):
        load_spec(path)


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_spec(tmp_path / "none.yaml")
    with pytest.raises(ValueError, match=r"spec\.txt: must end in \.yaml, \.yml, \.json"):
        load_spec(tmp_path / "spec.txt")
    (tmp_path / "list.yaml").write_text("[1]")
    with pytest.raises(ValueError, match=r"list\.yaml: must contain a mapping, not list"):
        load_spec(tmp_path / "list.yaml")
