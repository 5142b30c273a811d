"""The commands about networks and spaces: show, sample, spaces, zoo."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from designspace.spec import ModelSpec


def show(argv: list[str]) -> int:
    """Print a network stage by stage: widths, depths, b, g, resolution, macs, params, acts."""
    parser = _parser("show", show.__doc__, "designspace show RegNetX-200MF\n  designspace show specs/1-3f2a9c.yaml")
    parser.add_argument("model", metavar="NAME|FILE", help="a name of the zoo, or a YAML or JSON spec")
    arguments = parser.parse_args(argv)
    spec = find_spec(arguments.model)
    _print(spec_table(spec))
    print(f"spec_id {spec.spec_id}, depth {spec.depth} blocks, macs/params/acts in the pycls convention")
    return 0


def sample(argv: list[str]) -> int:
    """Draw a population and print its complexity, before any training."""
    parser = _parser(
        "sample",
        sample.__doc__,
        "designspace sample space=regnetx n=500 seed=0 macs=[360e6,400e6] out=population.parquet",
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="space (a name, or a YAML file), n (default 100), seed (default 0), "
        "out (a .parquet file), a limit [low,high] on macs, params, acts or depth, "
        "or any setting of the space: template.resolution=32 parameters.group_width.low=8",
    )
    settings = parse_settings(parser.parse_args(argv).settings)
    name, n, seed, out = (settings.pop(key, default) for key, default in _SAMPLE_DEFAULTS.items())
    for key, value in (("n", n), ("seed", seed)):
        if not isinstance(value, int):
            raise ValueError(f"{key} = {value!r}: must be a whole number")
    if out is not None and Path(out).suffix != ".parquet":
        raise ValueError(f"out = {out}: must end in .parquet")
    population = find_space(name, settings).sample(n, seed)
    report, counts = population.report, population.complexity
    print(f"{len(population)} networks of {population.space}, seed {seed}")
    rejected = ", ".join(f"{reason} {count:,}" for reason, count in report.rejected.items()) or "none"
    print(f"{report.drawn:,} drawn, acceptance {report.acceptance:.3%}; turned down: {rejected}")
    _print(_summary({"macs": counts.macs, "params": counts.params, "acts": counts.acts} | dict(population.parameters)))
    if out is not None:
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        population.to_frame().to_parquet(out)
        print(f"written to {out}")
    return 0


_SAMPLE_DEFAULTS: dict[str, Any] = {"space": None, "n": 100, "seed": 0, "out": None}


def spaces(argv: list[str]) -> int:
    """List the design spaces: degrees of freedom, number of networks, free parameters."""
    from designspace import spaces as known

    _parser("spaces", spaces.__doc__, "designspace spaces").parse_args(argv)
    table = _table("space", "family", "degrees of freedom", "networks", "log10", "free parameters (* one a stage)")
    table.columns[-1].justify = "left"
    for name in known.names():
        space = known.space(name)
        parameters = [f"{key}*" if law.per_stage else key for key, law in space.parameters.items()]
        increasing = f"; {' and '.join(space.increasing)} increasing" if space.increasing else ""
        size = space.log10_size
        figures = (str(space.degrees_of_freedom), f"{10**size:.1e}", f"{size:.1f}")
        table.add_row(name, str(space.family), *figures, ", ".join(parameters) + increasing)
    _print(table)
    return 0


def scale(argv: list[str]) -> int:
    """Scale a network to a number of multiply-adds by one rule; print it before and after."""
    from designspace import complexity, save_spec
    from designspace.scaling import RULES, scale_to

    parser = _parser("scale", scale.__doc__, "designspace scale RegNetX-200MF --macs 400e6 --rule dWr --out big.yaml")
    parser.add_argument("model", metavar="NAME|FILE", help="a name of the zoo, or a YAML or JSON spec")
    parser.add_argument("--macs", type=float, required=True, help="multiply-adds to reach")
    parser.add_argument("--rule", default="dWr", help=f"one of {', '.join(RULES)}; default dWr")
    parser.add_argument("--out", metavar="FILE", help="write the scaled spec (.yaml or .json)")
    arguments = parser.parse_args(argv)
    before = find_spec(arguments.model)
    after, growth = scale_to(before, arguments.macs, arguments.rule)
    for spec in (before, after):
        _print(spec_table(spec))
    ratios = (
        getattr(complexity(after), name) / getattr(complexity(before), name) for name in ("macs", "params", "acts")
    )
    print(
        f"rule {arguments.rule}, growth {growth:.4g}: macs, params, acts times " + ", ".join(f"{r:.3f}" for r in ratios)
    )
    if arguments.out:
        save_spec(after, arguments.out)
        print(f"written to {arguments.out}")
    return 0


def zoo(argv: list[str]) -> int:
    """List the published networks with their complexity."""
    from designspace import complexity
    from designspace import zoo as known

    _parser("zoo", zoo.__doc__, "designspace zoo").parse_args(argv)
    table = _table("network", "resolution", "depth", "macs", "params", "acts", "top-1 error %")
    for name in known.names():
        spec, error = known.spec(name), known.error_percent(name)
        counts = complexity(spec)
        figures = (spec.resolution, spec.depth, counts.macs, counts.params, counts.acts)
        table.add_row(name, *(f"{figure:,}" for figure in figures), "" if error is None else f"{error:.1f}")
    _print(table)
    return 0


def find_spec(name: str) -> ModelSpec:
    """A spec by zoo name or file."""
    from designspace import load_spec
    from designspace import zoo as known
    from designspace.files import SUFFIXES

    if Path(name).suffix in SUFFIXES:
        return load_spec(name)
    return known.spec(name)


def find_space(name: str | None, settings: dict[str, Any]) -> Any:
    """A space by name or YAML file, with settings replaced."""
    from designspace.files import read_yaml
    from designspace.spaces import merge, names, space_from_config

    if name is None:
        raise ValueError(f"space: required, one of {', '.join(names())} or a YAML file")
    limits = {key: settings.pop(key) for key in ("macs", "params", "acts", "depth") if key in settings}
    if limits:
        settings["constraints"] = settings.get("constraints", {}) | limits
    if Path(name).suffix in (".yaml", ".yml"):
        return space_from_config(merge(read_yaml(Path(name).read_text()), settings))
    return space_from_config({"base": name} | settings)


def parse_settings(words: list[str]) -> dict[str, Any]:
    """KEY=VALUE words as a nested mapping: dots in the key open mappings, the value is YAML."""
    from designspace.files import read_yaml

    settings: dict[str, Any] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise ValueError(f"{word}: must be of the form KEY=VALUE")
        *path, last = key.split(".")
        place = settings
        for step in path:
            place = place.setdefault(step, {})
        place[last] = read_yaml(value)
    return settings


def spec_table(spec: ModelSpec) -> Table:
    """One row for each part of the network with its complexity, and the total."""
    from designspace.complexity import by_part

    table = _table("part", "block", "depth", "width", "stride", "b", "g", "resolution", "macs", "params", "acts")
    total = [0, 0, 0]
    for name, (counts, resolution) in by_part(spec).items():
        stage = spec.stages[int(name.removeprefix("stage")) - 1] if name.startswith("stage") else None
        shape = [""] * 6
        if stage is not None:
            ratio, group = getattr(stage, "bottleneck_ratio", None), getattr(stage, "group_width", None)
            shape = [stage.block, str(stage.depth), str(stage.width), str(stage.stride), _text(ratio), _text(group)]
        figures = (counts.macs, counts.params, counts.acts)
        total = [old + new for old, new in zip(total, figures, strict=True)]
        table.add_row(name, *shape, str(resolution), *(f"{figure:,}" for figure in figures))
    table.add_section()
    table.add_row(spec.name or "total", "", str(spec.depth), *[""] * 5, *(f"{figure:,}" for figure in total))
    return table


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:g}"


def _summary(columns: dict[str, Any]) -> Table:
    import numpy as np

    table = _table("", "min", "median", "max")
    for name, values in columns.items():
        if np.issubdtype(values.dtype, np.number):
            table.add_row(name, *(f"{np.quantile(values, q):,.6g}" for q in (0, 0.5, 1)))
    return table


def _table(first: str, *others: str) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(first, box=SIMPLE_HEAD)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _print(table: Table) -> None:
    from rich.console import Console
    from rich.measure import Measurement

    console = Console()
    natural = Measurement.get(console, console.options.update_width(1000), table).maximum
    Console(width=max(console.width, natural)).print(table)


def _parser(name: str, doc: str | None, example: str) -> argparse.ArgumentParser:
    return argparse.ArgumentParser(
        prog=f"designspace {name}",
        description=doc,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
