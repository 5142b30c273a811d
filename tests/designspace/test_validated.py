"""Validation errors are one line that names field, value and allowed values."""

from typing import Annotated, Literal, Self

import numpy as np
import pytest
from pydantic import Field, model_validator

from designspace import DesignSpace, ModelSpec
from designspace.distributions import Choice, LogUniform, PowerOfTwo
from designspace.spaces import Constraints
from designspace.spec import BottleneckStage, Stem
from designspace.validated import Validated, check_integer, shorten, unknown


class Optimizer(Validated):
    learning_rate: Annotated[float, Field(gt=0)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    momentum: float = 0.9
    schedule: Literal["cosine", "linear"] = "cosine"
    processes: Annotated[int | Literal["auto"], Field(description="auto, or an integer of at least 1")] = "auto"

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.momentum == 0 and self.schedule == "cosine":
            raise ValueError("momentum = 0: must be greater than 0 with the cosine schedule")
        return self


class Training(Validated):
    optimizer: Optimizer = Optimizer()
    seeds: tuple[int, ...] = (0,)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"optimizer": {"lr": 0.1}}, "train.optimizer.lr = 0.1: unknown; did you mean learning_rate?"),
        ({"optimizer": {"wd": 0.1}}, "train.optimizer.wd = 0.1: unknown; did you mean weight_decay?"),
        ({"optimizer": {"momentun": 1}}, "train.optimizer.momentun = 1: unknown; did you mean momentum?"),
        ({"data": 3}, "train.data = 3: unknown; must be one of optimizer, seeds"),
        ({"optimizer": {"learning_rate": 0}}, "train.optimizer.learning_rate = 0: must be greater than 0"),
        ({"optimizer": {"weight_decay": -1}}, "train.optimizer.weight_decay = -1: must be at least 0"),
        ({"optimizer": {"schedule": "step"}}, "train.optimizer.schedule = 'step': must be one of cosine, linear"),
        (
            {"optimizer": {"processes": "a"}},
            "train.optimizer.processes = 'a': must be auto, or an integer of at least 1",
        ),
        (
            {"optimizer": {"momentum": 0}},
            "train.optimizer.momentum = 0: must be greater than 0 with the cosine schedule",
        ),
        ({"optimizer": 3}, "train.optimizer = 3: must be a mapping"),
        ({"seeds": [0, "x"]}, "train.seeds.1 = 'x': must be an integer"),
        ({"seeds": 3}, "train.seeds = 3: must be a list"),
    ],
)
def test_errors_of_a_mapping_have_the_section_as_prefix(mapping: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        Training.from_mapping(mapping, "train")
    assert str(caught.value) == message


def design_space(**fields: object) -> DesignSpace:
    settings = {
        "name": "x",
        "family": "anynet",
        "parameters": {"depth": Choice(options=(1,)), "width": Choice(options=(8,))},
    }
    return DesignSpace(**{**settings, **fields})


@pytest.mark.parametrize(
    ("construct", "message"),
    [
        (lambda: BottleneckStage(depth=0, width=8), "depth = 0: must be at least 1"),
        (lambda: BottleneckStage(depth=0), "depth = 0: must be at least 1; width: required"),  # type: ignore[call-arg]
        (lambda: Stem(widht=8), "widht = 8: unknown; did you mean width?"),  # type: ignore[call-arg]
        (lambda: Stem(width=True), "width = True: must be an integer"),
        (lambda: Choice(options=()), "options = (): must have at least 1 item"),
        (lambda: Choice(options=([1],)), "options.0 = [1]: must be a number, true, false or text"),
        (lambda: Constraints(macs=3e6), "macs = 3000000.0: must be [low, high]"),
        (lambda: Constraints(macs=("1", "2")), "macs = ('1', '2'): must be [low, high], two numbers"),
        (lambda: Constraints(envelope="x"), "envelope = 'x': must be regnet"),
        (lambda: design_space(family="no_module:f"), "family = 'no_module:f': No module named 'no_module'"),
        (lambda: LogUniform(low=3, high=1), "low = 3: must be at most high = 1"),
        (lambda: PowerOfTwo(low=0, high=4), "low = 0: must be greater than 0"),
        (lambda: ModelSpec(stages=({"block": "basic", "depth": 1},)), "stages.0.width: required"),
        (
            lambda: ModelSpec(stages=({"block": "basic", "depth": 1, "with": 8},)),
            "stages.0.width: required; stages.0.with = 8: unknown; did you mean width?",
        ),
        (lambda: ModelSpec(stages=()), "stages = []: must have at least one stage"),
        (
            lambda: ModelSpec(stages=(BottleneckStage(depth=1, width=8, group_width=3),)),
            "stages.0.group_width = 3: must divide the inner width width / bottleneck_ratio = 8",
        ),
        (lambda: design_space(increasing=("width",)), "increasing = width: must be a parameter drawn per stage"),
        (lambda: design_space(parameters={"depth": 3}), "parameters.depth = 3: must be a mapping"),
        (lambda: design_space(parameters={"depth": {"low": 1}}), "parameters.depth.distribution: required"),
        (lambda: design_space(family="x"), "family = 'x': must be one of anynet, regnet, compound or a function"),
        (
            lambda: design_space(parameters={"depth": {"distribution": "uniform", "low": 1, "hihg": 4}}),
            "parameters.depth.high: required; parameters.depth.hihg = 4: unknown; did you mean high?",
        ),
    ],
)
def test_errors_of_constructors_are_plain_and_one_line(construct: object, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        construct()  # type: ignore[operator]
    assert type(caught.value) is ValueError
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("value", "names", "listing", "message"),
    [
        ("regnetz", ("regnetx", "regnety", "resnet"), "", "regnetz: unknown; did you mean regnety, regnetx, resnet?"),
        ("RegNet", ("ResNet-50", "RegNetX-200MF"), "", "RegNet: unknown; did you mean RegNetX-200MF?"),
        ("xyz", ("a", "b"), "", "xyz: unknown; must be one of a, b"),
        ("xyz", ("a", "b"), "designspace zoo", "xyz: unknown; must be one of a, b"),
        ("xyz", "abcdef", "designspace zoo", "xyz: unknown; run 'designspace zoo' for all 6"),
        ("gpu", ("auto", "cpu", "cuda"), "", "gpu: unknown; must be one of auto, cpu, cuda"),
        ("", ("a", "b"), "", "'': unknown; must be one of a, b"),
        (5, ("a", "b"), "", "5: unknown; must be one of a, b"),
    ],
)
def test_unknown_names_come_with_similar_names(
    value: object, names: tuple[str, ...], listing: str, message: str
) -> None:
    assert unknown("name", value, names, listing) == f"name = {message}"


def test_a_long_list_of_names_is_cut() -> None:
    message = unknown("name", "?", [f"n{number}" for number in range(81)])
    assert message.endswith("n18, n19, … (81 in all)")


def test_numpy_integers_are_stored_as_python_integers() -> None:
    stem = Stem(width=np.int64(16), stride=np.uint8(1))
    assert stem == Stem(width=16, stride=1)
    assert repr(stem) == "Stem(width=16, stride=1)"


def test_models_cannot_be_changed() -> None:
    with pytest.raises(AttributeError, match=r"^width: cannot be set on an immutable Stem; use changed\(width=…\)$"):
        Stem().width = 16  # type: ignore[misc]


def test_values_in_messages_are_one_line() -> None:
    assert "\n" not in shorten(np.eye(3))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("3", "n = '3': must be an integer"),
        (3.0, "n = 3.0: must be an integer"),
        (True, "n = True: must be an integer"),
        (None, "n = None: must be an integer"),
        (0, "n = 0: must be at least 1"),
    ],
)
def test_integers_are_checked(value: object, message: str) -> None:
    assert check_integer("n", np.int64(3), 1) == 3
    with pytest.raises(ValueError, match=f"^{message}$"):
        check_integer("n", value, 1)
