"""Networks from pycls configurations have as many parameters as in pycls."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from designspace import complexity, load_spec, zoo
from designspace.cli import main
from designspace.export import from_pycls
from designspace.files import to_yaml


def conv(w_in: int, w_out: int, k: int, groups: int = 1) -> int:
    """Parameters of a convolution with batch norm."""
    return k * k * w_in * w_out // groups + 2 * w_out


def squeeze_excite(width: int, squeezed: int) -> int:
    return 2 * width * squeezed + squeezed + width


def effnet_params(en: dict, classes: int) -> int:
    """pycls `models/effnet.py`, block by block."""
    w_in = en["STEM_W"]
    total = conv(3, w_in, 3)
    lists = (en[key] for key in ("DEPTHS", "WIDTHS", "EXP_RATIOS", "KERNELS"))
    for depth, width, expansion, kernel in zip(*lists, strict=True):
        for _ in range(depth):
            wide = int(w_in * expansion)
            total += conv(w_in, wide, 1) if wide != w_in else 0
            total += conv(wide, wide, kernel, wide) + squeeze_excite(wide, int(w_in * en["SE_R"]))
            total += conv(wide, width, 1)
            w_in = width
    return total + conv(w_in, en["HEAD_W"], 1) + en["HEAD_W"] * classes + classes


def anynet_params(section: dict, classes: int) -> int:
    """pycls `models/anynet.py` with the simple stem, block by block."""
    w_in = section["STEM_W"]
    total = conv(3, w_in, 3)
    lists = (section[key] for key in ("DEPTHS", "WIDTHS", "STRIDES", "BOT_MULS", "GROUP_WS"))
    for depth, width, stage_stride, multiplier, group_width in zip(*lists, strict=True):
        for stride in (stage_stride, *[1] * (depth - 1)):
            inner = round(width * multiplier)
            if section["BLOCK_TYPE"] == "res_bottleneck_block" and (w_in != width or stride != 1):
                total += conv(w_in, width, 1)
            total += conv(w_in, inner, 1) + conv(inner, inner, 3, inner // group_width) + conv(inner, width, 1)
            total += squeeze_excite(inner, round(w_in * section["SE_R"])) if section["SE_ON"] else 0
            w_in = width
    return total + w_in * classes + classes


def effnet(**section: object) -> dict:
    return {"MODEL": {"TYPE": "effnet", "NUM_CLASSES": 10}, "TRAIN": {"IM_SIZE": 32}, "EN": section}


SMALL_EN = {"STEM_W": 16, "DEPTHS": [2, 2], "STRIDES": [1, 2], "KERNELS": [3, 5], "EXP_RATIOS": [1, 6], "HEAD_W": 1280}


@pytest.mark.parametrize(("widths", "se_ratio", "params"), [([22, 38], 0.25, 107_849), ([24, 40], 0.1, 111_299)])
def test_effnets_truncate_like_pycls(widths: list[int], se_ratio: float, params: int) -> None:
    section = SMALL_EN | {"WIDTHS": widths, "SE_R": se_ratio}
    assert effnet_params(section, 10) == params
    assert complexity(from_pycls(effnet(**section))).params == params


stage_counts = st.integers(1, 3)
small_widths = st.integers(1, 120)


@st.composite
def effnets(draw: st.DrawFn) -> dict:
    stages = draw(stage_counts)

    def values(strategy: st.SearchStrategy) -> list:
        return draw(st.lists(strategy, min_size=stages, max_size=stages))

    return {
        "STEM_W": draw(small_widths),
        "DEPTHS": values(st.integers(1, 3)),
        "WIDTHS": values(small_widths),
        "EXP_RATIOS": values(st.sampled_from([1, 1.04, 3.5, 6]) | st.floats(0.5, 8)),
        "SE_R": draw(st.sampled_from([0.1, 0.25, 1.0]) | st.floats(0.01, 1)),
        "STRIDES": values(st.integers(1, 2)),
        "KERNELS": values(st.sampled_from([3, 5])),
        "HEAD_W": 64,
    }


@given(section=effnets())
def test_effnet_parameters_match_pycls(section: dict) -> None:
    try:
        spec = from_pycls(effnet(**section))
    except ValueError as error:
        assert "must keep a channel" in str(error)  # noqa: PT017
        widths = (section["STEM_W"], *section["WIDTHS"])
        ratios = (section["SE_R"], *section["EXP_RATIOS"])
        assert any(int(width * ratio) < 1 for width, ratio in itertools.product(widths, ratios))
        return
    assert complexity(spec).params == effnet_params(section, 10)
    assert spec.depth == sum(section["DEPTHS"])
    assert [stage.width for stage in spec.stages if stage.stride != 1] == [
        width for width, stride in zip(section["WIDTHS"], section["STRIDES"], strict=True) if stride != 1
    ]


@st.composite
def anynets(draw: st.DrawFn) -> dict:
    stages = draw(stage_counts)
    multipliers = draw(st.lists(st.sampled_from([0.25, 0.3, 0.5, 1.0, 1.5, 4.0]), min_size=stages, max_size=stages))
    widths = draw(st.lists(small_widths.map(lambda w: w + 2), min_size=stages, max_size=stages))
    inner = [round(width * multiplier) for width, multiplier in zip(widths, multipliers, strict=True)]
    return {
        "BLOCK_TYPE": draw(st.sampled_from(["res_bottleneck_block", "res_bottleneck_linear_block"])),
        "STEM_W": draw(st.integers(8, 40)),
        "DEPTHS": draw(st.lists(st.integers(1, 3), min_size=stages, max_size=stages)),
        "WIDTHS": widths,
        "STRIDES": draw(st.lists(st.integers(1, 2), min_size=stages, max_size=stages)),
        "BOT_MULS": multipliers,
        "GROUP_WS": [draw(st.sampled_from([g for g in range(1, w + 1) if w % g == 0] or [1])) for w in inner],
        "SE_ON": draw(st.booleans()),
        "SE_R": 0.25,
    }


@given(section=anynets())
def test_anynet_parameters_match_pycls(section: dict) -> None:
    config = {"MODEL": {"TYPE": "anynet", "NUM_CLASSES": 10}, "ANYNET": section}
    try:
        spec = from_pycls(config)
    except ValueError as error:
        causes = ("must keep a channel", "must squeeze the input width")
        assert any(cause in str(error) for cause in causes)  # noqa: PT017
        assert str(error).startswith("ANYNET")  # noqa: PT017
        return
    assert complexity(spec).params == anynet_params(section, 10)
    assert spec.depth == sum(section["DEPTHS"])


def resnet(depth: int, dataset: str, **section: object) -> dict:
    size = 32 if dataset == "cifar10" else 224
    return {
        "MODEL": {"TYPE": "resnet", "DEPTH": depth, "NUM_CLASSES": 10 if dataset == "cifar10" else 1000},
        "RESNET": section,
        "TRAIN": {"DATASET": dataset, "IM_SIZE": size},
    }


@pytest.mark.parametrize("depth", [50, 101, 152])
def test_archived_resnets_equal_the_zoo(depth: int) -> None:
    kind = {"TRANS_FUN": "bottleneck_transform", "STRIDE_1X1": False}
    plain = from_pycls(resnet(depth, "imagenet", **kind))
    grouped = from_pycls(resnet(depth, "imagenet", NUM_GROUPS=32, WIDTH_PER_GROUP=4, **kind))
    assert plain.spec_id == zoo.spec(f"ResNet-{depth}").spec_id
    assert grouped.spec_id == zoo.spec(f"ResNeXt-{depth}-32x4d").spec_id


@pytest.mark.parametrize("blocks", [9, 18])
def test_resnets_for_cifar_are_anynets_of_basic_blocks(blocks: int) -> None:
    stages = {"DEPTHS": [blocks] * 3, "WIDTHS": [16, 32, 64], "STRIDES": [1, 2, 2]}
    anynet = {"STEM_TYPE": "res_stem_cifar", "STEM_W": 16, "BLOCK_TYPE": "res_basic_block", **stages}
    config = {"MODEL": {"TYPE": "anynet", "NUM_CLASSES": 10}, "ANYNET": anynet, "TRAIN": {"IM_SIZE": 32}}
    assert from_pycls(resnet(6 * blocks + 2, "cifar10")).spec_id == from_pycls(config).spec_id


BOTTLENECK = {"TRANS_FUN": "bottleneck_transform", "STRIDE_1X1": False}


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (resnet(50, "imagenet", TRANS_FUN="bottleneck_transform"), r"^RESNET\.STRIDE_1X1 = True .* must be False"),
        (resnet(50, "imagenet"), r"^RESNET\.TRANS_FUN = 'basic_transform': must be basic_transform with .* cifar10"),
        (resnet(56, "cifar10", **BOTTLENECK), r"^RESNET\.TRANS_FUN = 'bottleneck_transform'"),
        (resnet(57, "cifar10"), r"^MODEL\.DEPTH = 57: must be 6n \+ 2"),
        (resnet(18, "imagenet", **BOTTLENECK), r"^MODEL\.DEPTH = 18: must be one of 50, 101, 152"),
        (resnet(50, "mnist", **BOTTLENECK), r"^TRAIN\.DATASET = 'mnist': must be one of cifar10, imagenet"),
        (resnet(50, "imagenet", WIDTHS=[1], **BOTTLENECK), r"^RESNET\.WIDTHS = \[1\]: unknown; .*WIDTH_PER_GROUP"),
        ({"MODEL": {"TYPE": "resnet"}}, r"^MODEL\.DEPTH: required"),
        (effnet(**SMALL_EN, WIDTHS=[22, 38], SE_R=0.0), r"^EN\.SE_R = 0: must keep a channel of width 16"),
        (
            effnet(**SMALL_EN | {"EXP_RATIOS": [0.01, 1]}, WIDTHS=[22, 38]),
            r"^EN\.EXP_RATIOS = 0\.01: must keep a channel",
        ),
    ],
)
def test_networks_that_a_spec_cannot_express_are_rejected(config: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_pycls(config)


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"WA": 1e6, "DEPTH": 9000, "WM": 100.0}, r"^REGNET: stages\.\d+\.width = .*: must be at most"),
        ({"GROUP_W": 0}, r"^REGNET\.GROUP_W = 0: must be at least 1"),
        ({"SE_ON": True, "SE_R": 0.01}, r"^REGNET: stages\.0\.se_ratio = 0\.01: must squeeze"),
    ],
)
def test_errors_of_a_regnet_name_its_section(section: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_pycls({"MODEL": {"TYPE": "regnet"}, "REGNET": section})


def test_commands_accept_pycls_files_as_specs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    section = {"DEPTH": 13, "W0": 24, "WA": 36.44, "WM": 2.49, "GROUP_W": 8}
    config = {"MODEL": {"TYPE": "regnet", "NUM_CLASSES": 1000}, "REGNET": section, "OPTIM": {"BASE_LR": 0.8}}
    path = tmp_path / "RegNetX-200MF_dds.yaml"
    path.write_text(to_yaml(config))
    published = zoo.spec("RegNetX-200MF")
    assert load_spec(path) == published.model_copy(update={"name": path.stem})
    assert main(["show", str(path)]) == 0
    assert published.spec_id in capsys.readouterr().out
    out = tmp_path / "scaled.yaml"
    assert main(["scale", str(path), "--macs", "400e6", "--out", str(out)]) == 0
    assert complexity(load_spec(out)).macs == pytest.approx(400e6, rel=0.1)
    path.write_text(to_yaml(config | {"MODEL": {"TYPE": "regnet", "NUM_CLASSES": "many"}}))
    assert main(["show", str(path)]) == 2
    assert f"{path}: MODEL.NUM_CLASSES = 'many'" in capsys.readouterr().err
