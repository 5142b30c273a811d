"""The published networks, as specs."""

from __future__ import annotations

from functools import cache

from designspace.spec import BottleneckStage, ModelSpec, Stem


def _resnet(name: str, depths: tuple[int, ...]) -> ModelSpec:
    return ModelSpec(
        name=name,
        stem=Stem(width=64, kernel_size=7, stride=2, max_pool=True),
        stages=tuple(
            BottleneckStage(depth=depth, width=256 * 2**i, stride=1 if i == 0 else 2, bottleneck_ratio=4)
            for i, depth in enumerate(depths)
        ),
    )


def names() -> tuple[str, ...]:
    """The names `spec` knows."""
    return tuple(_all())


def spec(name: str) -> ModelSpec:
    """The published network of that name; ValueError names those there are."""
    if name not in _all():
        raise ValueError(f"{name}: no such network; the zoo has {', '.join(names())}")
    return _all()[name]


@cache
def _all() -> dict[str, ModelSpec]:
    specs = [
        _resnet("ResNet-50", (3, 4, 6, 3)),
        ModelSpec(
            name="RegNetX-200MF",
            stages=tuple(
                BottleneckStage(depth=depth, width=width, group_width=8)
                for width, depth in zip((24, 56, 152, 368), (1, 1, 4, 7), strict=True)
            ),
        ),
    ]
    return {str(model.name): model for model in specs}
