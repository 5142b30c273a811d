"""Whatever a file holds, it is a spec, a space, or a ValueError of a few lines, soon."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from designspace import ModelSpec, complexity, files, load_spec, spaces, zoo
from designspace.files import read_mapping, read_yaml, to_yaml
from designspace.memory import training_memory
from designspace.spaces import space_from_config

BLOCK = {"block": "bottleneck", "depth": 1, "width": 8}
SPECS = [zoo.spec(name).to_mapping() for name in ("RegNetY-200MF", "EfficientNet-B0", "VGG-16", "Xception-299")]
SPACES: list[dict[str, Any]] = [
    {"base": "regnetx", "constraints": {"macs": [1e8, 2e8], "batch_size": 64}, "parameters": {"w_0": {"low": 16}}},
    {"base": "compound", "spec": SPECS[1], "parameters": {"phi": {"high": 2}}},
    {
        "name": "mine",
        "family": "anynet",
        "parameters": {
            "depth": {"distribution": "uniform", "low": 1, "high": 4, "per_stage": True},
            "width": {"distribution": "log_uniform", "low": 16, "high": 128, "step": 16, "per_stage": True},
            "kernel_size": {"distribution": "choice", "options": [3, 5], "weights": [1, 2]},
            "group_width": {"distribution": "power_of_two", "low": 1, "high": 8},
            "resolution": {"distribution": "choice", "options": [32, 48]},
        },
        "increasing": ["width"],
        "constraints": {"training_memory": [0, 1e9], "envelope": "regnet"},
        "template": {"strides": [1, 2, 2], "stem": None, "head": {"hidden": [10]}, "stage": {"block": "bottleneck"}},
        "size": 1e6,
    },
]
NUMBERS = [0, -1, 1, 3, 10**9, 2**63, 10**400, 10**5000, -(10**20), 0.5, 1e-320, 1e308, -1e308]
TEXTS = ["", "x", "x" * 10_000, "a\nb", "a\0b", "\x1b[31m", "\u202e", "\ud800", "bottleneck", ".:x", "os:path"]
VALUES = [
    *NUMBERS,
    *TEXTS,
    *(float("inf"), float("-inf"), float("nan"), True, None, [], {}, [[]], {"x": {}}, {1: 2}, {None: 1}, {"a\nb": 1}),
    *([0] * 2000, ["x" * 100] * 100, {f"k{i}": i for i in range(500)}, [BLOCK] * 1100, [BLOCK] * 900),
]
hostile = st.sampled_from(VALUES).map(copy.deepcopy) | st.integers() | st.floats() | st.text(max_size=20)


def at_most_a_few_lines(read: Callable[[], object]) -> bool:
    """Whether what is read is valid; any exception but a short ValueError fails the test, and so does a hang."""
    start = time.monotonic()
    try:
        read()
        valid = True
    except ValueError as error:
        assert len(str(error)) <= 2000  # noqa: PT017
        assert str(error).count("\n") < 10  # noqa: PT017
        str(error).encode()
        valid = False
    assert time.monotonic() - start < 20  # ten times what the command line promises: tests share their machine
    return valid


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths to everything inside nested mappings and lists."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, item in items for place in [(*path, key), *places(item, (*path, key))]]


@st.composite
def mutated(draw: st.DrawFn, originals: list[dict[str, Any]]) -> dict[str, Any]:
    """A valid mapping of which one to three values are replaced, removed, added or repeated."""
    mapping = copy.deepcopy(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 3))):
        *path, last = draw(st.sampled_from(places(mapping)))
        parent = mapping
        for key in path:
            parent = parent[key]
        match draw(st.sampled_from(["replace", "remove", "add", "repeat"])):
            case "replace":
                parent[last] = draw(hostile)
            case "remove":
                del parent[last]
            case "add" if isinstance(parent, dict):
                parent[draw(st.sampled_from(TEXTS) | st.integers())] = draw(hostile)
            case "repeat" if isinstance(parent, list):
                parent.extend([parent[last]] * draw(st.sampled_from([1, 200])))
        if not places(mapping):
            break
    return mapping


@st.composite
def damaged(draw: st.DrawFn, texts: list[str]) -> str:
    """A valid text of which pieces are cut out, doubled, or replaced by characters that mean something."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(text)))
        end = min(len(text), start + draw(st.integers(0, 40)))
        inserted = draw(
            st.sampled_from(
                ["", text[start:end] * 2, "[" * 5000, "&a [*a]", "*a", "!!int ''", "<<: ", "? ", "\t", "0x"]
            )
            | st.text(st.sampled_from("{}[]:,-&*!|>%@`\"'#\n\t \\\0\ufeff019.eE_"), max_size=8)
            | st.text(max_size=8)
        )
        text = text[:start] + inserted + text[end:]
    return text


fuzz = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@fuzz
@given(mapping=mutated(SPECS))
def test_a_mutated_spec_is_a_spec_or_a_short_error(mapping: dict[str, Any]) -> None:
    def read() -> None:
        spec = ModelSpec.from_mapping(mapping)
        assert ModelSpec.from_mapping(json.loads(spec.to_json())) == spec
        counts = complexity(spec)
        assert 0 < counts.params < 2**63

    at_most_a_few_lines(read)


@fuzz
@given(mapping=mutated(SPACES))
def test_a_mutated_space_is_a_space_or_a_short_error(mapping: dict[str, Any]) -> None:
    at_most_a_few_lines(lambda: space_from_config(mapping))


@fuzz
@given(text=damaged([to_yaml(mapping) for mapping in SPECS + SPACES]))
def test_a_damaged_yaml_text_is_plain_values_or_a_short_error(text: str) -> None:
    def read() -> None:
        value = read_yaml(text)
        if isinstance(value, dict):
            at_most_a_few_lines(lambda: ModelSpec.from_mapping(value))
            at_most_a_few_lines(lambda: space_from_config(value))

    at_most_a_few_lines(read)


@fuzz
@given(content=damaged([json.dumps(mapping, indent=2) for mapping in SPECS]).map(str.encode) | st.binary())
def test_a_damaged_json_file_is_a_spec_or_a_short_error(
    content: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "spec.json"
    path.write_bytes(content)
    at_most_a_few_lines(lambda: load_spec(path))


def test_the_originals_are_valid() -> None:
    for mapping in SPECS:
        assert at_most_a_few_lines(lambda mapping=mapping: ModelSpec.from_mapping(mapping))  # type: ignore[misc]
    for mapping in SPACES:
        assert at_most_a_few_lines(lambda mapping=mapping: space_from_config(mapping))  # type: ignore[misc]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("bomb.yaml", BOMB + "stages: *a9\n", r"line 5: must have at most 50,000 values"),
        ("loop.yaml", "stages: &s [*s]\n", r"line 1: alias \*s: must not lie inside the value it stands for"),
        ("tag.yaml", "resolution: !!int '32'\n", r"line 1: tag tag:yaml\.org,2002:int: must be left out"),
        ("twice.yaml", "stages: []\nhead: {classes: 10, classes: 10}\n", r"line 2: duplicate key 'classes'"),
        ("top.yaml", "resolution: 32\n\nresolution: 64\n", r"line 3: duplicate key 'resolution'"),
        ("twice.json", '{"a": [{"b": 1}],\n "c": {"b": "{", "d": 1,\n\n "\\u0064": 2}}', r"line 4: duplicate key 'd'"),
        ("deep.yaml", "stages: " + "[" * 50 + "]" * 50, r"line 1: must be nested at most 32 levels deep"),
        ("deep.json", "[\n" * 50 + "]" * 50, r"line 33: must be nested at most 32 levels deep"),
        ("deeper.json", '{"stages": ' + "[" * 100_000, r"must be nested at most 32 levels deep"),
        ("large.yaml", "#" * (files.MAX_BYTES + 1), r"must have at most 262,144 bytes"),
        ("digits.json", '{"resolution": 1' + "0" * 5000 + "}", r"limit \(4300 digits\)"),
        ("latin.yaml", "name: caf\u00e9\n".encode("latin-1"), r"must be UTF-8 text, byte 10 is not"),
        (
            "nul.yaml",
            'name: "a\\0b"\nstages: [{block: basic, depth: 1, width: 8}]',
            r"name = 'a\\x00b': must have print",
        ),
    ],
)
def test_a_hostile_file_is_rejected_with_the_line(
    name: str, content: str | bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=sentence) as caught:
        load_spec(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).removeprefix(str(path))) < 200


def test_aliases_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    stage = "{block: basic, depth: 1, width: 8}"
    text = f"stages:\n- &narrow {stage}\n- *narrow\n- {{<<: *narrow, width: 16}}\n"
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8-sig")
    assert [stage.width for stage in load_spec(tmp_path / "spec.yaml").stages] == [8, 8, 16]
    (tmp_path / "spec.json").write_text(json.dumps({"stages": [BLOCK]}), encoding="utf-8-sig")
    assert load_spec(tmp_path / "spec.json").depth == 1


def test_a_pipe_or_folder_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(ValueError, match=rf"{name}: must be a regular file"):
            read_mapping(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"width": 10**5000}, "stages.0.width = <integer of 16,610 bits>: must be less than or equal to 100000000"),
        ({"width": float("inf")}, "stages.0.width = inf: must be a valid integer"),
        ({"bottleneck_ratio": 1e-320}, "stages.0.bottleneck_ratio = 1e-320: must be greater than or equal to 0.001"),
        ({"bottleneck_ratio": float("nan")}, "stages.0.bottleneck_ratio = nan: must be a finite number"),
        (
            {"block": "inverted", "expansion_ratio": 1e308},
            "expansion_ratio = 1e+308: must be less than or equal to 1000",
        ),
        ({"block": "xception", "convs": 10**9}, "stages.0.convs = 1000000000: must be less than or equal to 32"),
        ({"depth": 10**6}, "stages.0.depth = 1000000: must be less than or equal to 100000"),
        ({"kernel_size": 1001}, "stages.0.kernel_size = 1001: must be less than or equal to 999"),
    ],
)
def test_numbers_are_bounded(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ModelSpec.from_mapping({"stages": [BLOCK | changes]})
    assert sentence in str(caught.value)


def test_stages_and_blocks_are_bounded() -> None:
    with pytest.raises(ValueError, match=r"^stages = \[.*…: must have at most 1000 items"):
        ModelSpec.from_mapping({"stages": [BLOCK] * 20_000})
    with pytest.raises(ValueError, match=r"^depth = 100001: must be at most 100000 blocks in all stages$"):
        ModelSpec.from_mapping({"stages": [BLOCK, BLOCK | {"depth": 100_000}]})


def test_many_errors_are_counted() -> None:
    with pytest.raises(ValueError, match=r"stages\.4\.width .*; and 995 more errors$"):
        ModelSpec.from_mapping({"stages": [BLOCK | {"width": 0}] * 1000})


def test_counts_beyond_64_bits_are_rejected() -> None:
    """In a population they would wrap around to any number, also to one inside the constraints."""
    huge = {"width": 10**8, "resolution": 10**4}
    spec = ModelSpec.from_mapping({"resolution": huge["resolution"], "stages": [BLOCK | {"width": huge["width"]}]})
    config = {
        "name": "huge",
        "family": "anynet",
        "parameters": {
            name: {"distribution": "choice", "options": options, "per_stage": name != "resolution"}
            for name, options in {"depth": [1], "width": [8, huge["width"]], "resolution": [32, 10**4]}.items()
        },
        "constraints": {"macs": [0, 1e30]},
    }
    for count in (lambda: complexity(spec), lambda: space_from_config(config).sample(4)):
        with pytest.raises(
            ValueError, match=r"^macs = .*e\+\d\d: must be at most 1\.2e\+18 for the counts to fit 64 bits"
        ):
            count()
    with pytest.raises(ValueError, match=r"^batch_size = 10000000000: must be smaller for the bytes to fit 64 bits"):
        training_memory(zoo.spec("RegNetY-32GF"), 10**10)


@pytest.mark.parametrize("name", spaces.names())
def test_the_bound_on_macs_lies_far_above_every_named_space(name: str) -> None:
    """It is a bound for the largest depth, width and resolution together, so that it could reject what would fit."""
    networks = space_from_config({"base": name, "constraints": {"macs": [0, 1e13]}}).sample(64).networks
    assert np.all(complexity(networks).macs > 0)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"w_0": {"low": 8, "high": 1e400}}, "parameters.w_0.high = inf: must be a finite number"),
        ({"w_0": {"low": 1, "high": 1e9, "step": 1e-9}}, "must be at most 1,000,000 values above low = 1"),
        ({"w_0": {"step": 1e-320}}, "parameters.w_0.step = 1e-320: must be greater than or equal to 0.000000001"),
        (
            {"w_m": {"distribution": "choice", "options": ["a"]}},
            "parameters.w_m = ['a']: must be numbers from 1.001",
        ),
        (
            {"depth": {"distribution": "choice", "options": [2.5]}},
            "parameters.depth = [2.5]: must be whole numbers from 1",
        ),
        ({"depth": {"distribution": "choice", "options": [10**400]}}, "<integer of 1,329 bits>: must be at most 1e+09"),
        (
            {"group_width": {"distribution": "uniform", "low": 1, "high": 10**5}},
            "100000 values, must have at most 10000",
        ),
        (
            {"w_0": {"distribution": "choice", "options": [8], "weights": [1.0] * 10_000}},
            "parameters.w_0.weights = (1.0, 1.0",
        ),
        ({"a\nb": {"distribution": "choice", "options": [1]}}, r"parameters.'a\nb' = 'a\nb': must have printable"),
    ],
)
def test_distributions_are_bounded(parameters: dict[str, object], sentence: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        space_from_config({"base": "regnetx", "parameters": parameters})
    assert sentence in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("base", [".:x", "a..b:c", ":x", "os:", "os:path.join"])
def test_an_import_path_is_names_and_dots(base: str) -> None:
    with pytest.raises(ValueError, match=r"must be MODULE:ATTRIBUTE, like my_spaces:pyramids"):
        space_from_config({"base": base})


def test_pyyaml_without_libyaml_reads_the_same(tmp_path: Path) -> None:
    import importlib.util
    import sys

    import yaml

    specification = importlib.util.spec_from_file_location("files_without_libyaml", files.__file__)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(yaml, "__with_libyaml__", False)
        patch.setitem(sys.modules, "files_without_libyaml", module)
        specification.loader.exec_module(module)
    for mapping in SPECS + SPACES:
        assert module.read_yaml(to_yaml(mapping)) == read_yaml(to_yaml(mapping)) == mapping
    with pytest.raises(ValueError, match="line 5: must have at most 50,000 values"):
        module.read_yaml(BOMB)
