"""Malicious or malformed files raise a ValueError of a few lines; see also tests/test_fuzz.py."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.fuzz.kinds import KINDS, PYCLS, SPACES, SPECS, SWEEPS, check
from benchmarks.fuzz.strategies import BLOCK
from designspace import ModelSpec, complexity, files, load_spec, spaces, zoo
from designspace.files import read_mapping, read_yaml, to_yaml
from designspace.memory import training_memory
from designspace.spaces import space_from_config


def test_seeds_of_the_fuzz_test_are_valid() -> None:
    for mapping in SPECS:
        assert check(KINDS["spec"], mapping)[0]
    for mapping in SPACES + SWEEPS:
        assert check(KINDS["space"], mapping)[0]
    for mapping in PYCLS:
        assert check(KINDS["pycls config"], mapping)[0]


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("bomb.yaml", BOMB + "stages: *a9\n", r"line 5: must have at most 50,000 values"),
        ("loop.yaml", "stages: &s [*s]\n", r"line 1: alias \*s: must not occur inside its own anchor"),
        ("tag.yaml", "resolution: !!int '32'\n", r"line 1: tag tag:yaml\.org,2002:int: must be removed"),
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
def test_errors_of_hostile_files_give_the_line(name: str, content: str | bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message) as caught:
        load_spec(path)
    assert str(caught.value).startswith(str(path))
    assert len(str(caught.value).removeprefix(str(path))) < 200


def test_aliases_and_byte_order_marks_are_supported(tmp_path: Path) -> None:
    stage = "{block: basic, depth: 1, width: 8}"
    text = f"stages:\n- &narrow {stage}\n- *narrow\n- {{<<: *narrow, width: 16}}\n"
    (tmp_path / "spec.yaml").write_text(text, encoding="utf-8-sig")
    assert [stage.width for stage in load_spec(tmp_path / "spec.yaml").stages] == [8, 8, 16]
    (tmp_path / "spec.json").write_text(json.dumps({"stages": [BLOCK]}), encoding="utf-8-sig")
    assert load_spec(tmp_path / "spec.json").depth == 1


def test_pipes_and_folders_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(ValueError, match=rf"{name}: must be a regular file"):
            read_mapping(tmp_path / name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 10**5000}, "stages.0.width = <integer of 16,610 bits>: must be at most 100,000,000"),
        ({"width": float("inf")}, "stages.0.width = inf: must be an integer"),
        ({"bottleneck_ratio": 1e-320}, "stages.0.bottleneck_ratio = 1e-320: must be at least 0.001"),
        ({"bottleneck_ratio": float("nan")}, "stages.0.bottleneck_ratio = nan: must be a finite number"),
        (
            {"block": "inverted", "expansion_ratio": 1e308},
            "expansion_ratio = 1e+308: must be at most 1000",
        ),
        ({"block": "xception", "convs": 10**9}, "stages.0.convs = 1000000000: must be at most 32"),
        ({"depth": 10**6}, "stages.0.depth = 1000000: must be at most 100,000"),
        ({"kernel_size": 1001}, "stages.0.kernel_size = 1001: must be at most 999"),
    ],
)
def test_numbers_are_bounded(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        ModelSpec.from_mapping({"stages": [BLOCK | changes]})
    assert message in str(caught.value)


def test_stages_and_blocks_are_bounded() -> None:
    with pytest.raises(ValueError, match=r"^stages = \[.*…: must have at most 1,000 items"):
        ModelSpec.from_mapping({"stages": [BLOCK] * 20_000})
    with pytest.raises(ValueError, match=r"^depth = 100001: must be at most 100000 blocks in all stages$"):
        ModelSpec.from_mapping({"stages": [BLOCK, BLOCK | {"depth": 100_000}]})


def test_many_errors_are_summarized() -> None:
    with pytest.raises(ValueError, match=r"stages\.4\.width .*; and 995 more errors$"):
        ModelSpec.from_mapping({"stages": [BLOCK | {"width": 0}] * 1000})


def test_counts_above_64_bits_are_rejected() -> None:
    """In a population they would wrap around, possibly into the constraints."""
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
        with pytest.raises(ValueError, match=r"^macs = .*e\+\d\d: must be at most 1\.2e\+18, counts exceed 64 bits"):
            count()
    with pytest.raises(ValueError, match=r"^batch_size = 10000000000: must be smaller, the byte count exceeds 64 bits"):
        training_memory(zoo.spec("RegNetY-32GF"), 10**10)


@pytest.mark.parametrize("name", spaces.names())
def test_no_named_space_exceeds_the_limit_on_macs(name: str) -> None:
    """The limit applies to the largest depth, width and resolution combined."""
    networks = space_from_config({"base": name, "constraints": {"macs": [0, 1e13]}}).sample(64).networks
    assert np.all(complexity(networks).macs > 0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"w_0": {"low": 8, "high": 1e400}}, "parameters.w_0.high = inf: must be a finite number"),
        ({"w_0": {"low": 1, "high": 1e9, "step": 1e-9}}, "must give at most 1,000,000 values from low = 1"),
        ({"w_0": {"step": 1e-320}}, "parameters.w_0.step = 1e-320: must be at least 1e-09"),
        (
            {"w_m": {"distribution": "choice", "options": ["a"]}},
            "parameters.w_m = ['a']: must be numbers of at least 1.001",
        ),
        (
            {"depth": {"distribution": "choice", "options": [2.5]}},
            "parameters.depth = [2.5]: must be integers of at least 1",
        ),
        ({"depth": {"distribution": "choice", "options": [10**400]}}, "<integer of 1,329 bits>: must be at most 1e+09"),
        (
            {"group_width": {"distribution": "uniform", "low": 1, "high": 10**5}},
            "must have at most 10,000 values, not 100,000",
        ),
        (
            {"w_0": {"distribution": "choice", "options": [8], "weights": [1.0] * 10_000}},
            "parameters.w_0.weights = (1.0, 1.0",
        ),
        ({"a\nb": {"distribution": "choice", "options": [1]}}, r"parameters.'a\nb' = 'a\nb': must have printable"),
    ],
)
def test_distributions_are_bounded(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        space_from_config({"base": "regnetx", "parameters": parameters})
    assert message in str(caught.value)
    assert len(str(caught.value)) <= 300


@pytest.mark.parametrize("base", [".:x", "a..b:c", ":x", "os:", "os:path.join"])
def test_malformed_import_paths_are_rejected(base: str) -> None:
    with pytest.raises(ValueError, match=r"must be MODULE:ATTRIBUTE, like my_spaces:pyramids"):
        space_from_config({"base": base})


def test_pyyaml_without_libyaml_gives_the_same_values(tmp_path: Path) -> None:
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
