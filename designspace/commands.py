"""Commands for networks and spaces: show, sample, spaces, scale, zoo."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from designspace import terminal
from designspace.atomic import MARK, check_output, write_output
from designspace.figures import FIGURES, figure_bytes
from designspace.terminal import add_force, print_table, progress_line, spec_table, summary_table, table

if TYPE_CHECKING:
    from designspace.population import Population
    from designspace.spec import ModelSpec


def show(argv: list[str]) -> int:
    """Print a network stage by stage: widths, depths, b, g, resolution, macs, params, acts."""
    parser = terminal.parser("show", show.__doc__, "RegNetX-200MF", "specs/1-3f2a9c.yaml")
    _add_model(parser)
    arguments = parser.parse_args(argv)
    spec = find_spec(arguments.model)
    print_table(spec_table(spec))
    print(f"spec_id {spec.spec_id}, depth {spec.depth} blocks, macs/params/acts in the pycls convention")
    return 0


def sample(argv: list[str]) -> int:
    """Draw a population and print its complexity before any training."""
    from designspace.population import duplicates_text
    from designspace.spaces.sampling import predicted_latency

    parser = terminal.parser(
        "sample",
        sample.__doc__,
        "space=regnetx n=500 seed=0 macs=[360e6,400e6] --out population.parquet --plot population.svg",
    )
    settings_argument = parser.add_argument(
        "settings",
        nargs="*",
        metavar="KEY=VALUE",
        help="space (a name, MODULE:ATTRIBUTE or a YAML file), n (default 100), seed (default 0), "
        "a range [low,high] of macs, params, acts, depth or latency_ms (with latency_predictor=FILE), "
        "duplicates (keep or drop), "
        "restrict (a restriction, like 'restrict=width <= 512 and shared(group_width)'), "
        "or any other setting of the space: template.resolution=32 parameters.group_width.low=8",
    )
    terminal.complete_names(settings_argument, _complete_settings)
    parser.add_argument("--out", metavar="FILE", help="write the population to a .parquet file")
    parser.add_argument("--plot", metavar="FILE", help="draw params and acts against macs: .png or .svg")
    add_force(parser)
    arguments = parser.parse_args(terminal.replace_deprecated(argv, "out"))
    settings, out, plot = parse_settings(arguments.settings), arguments.out, arguments.plot
    name, n, seed = (settings.pop(key, default) for key, default in _SAMPLE_DEFAULTS.items())
    for key, file, suffixes in (("out", out, (".parquet",)), ("plot", plot, FIGURES)):
        if file is not None:
            if Path(file).suffix not in suffixes:
                raise ValueError(f"{key} = {file}: must end in {' or '.join(suffixes)}")
            check_output(file, force=arguments.force)
    space = find_space(name, settings)
    with progress_line("drawn", n) as on_progress:
        population = space.sample(n, seed, on_progress)
    report, counts = population.report, population.complexity
    print(f"{len(population)} networks of {population.space}, seed {seed}")
    rejected = ", ".join(f"{reason} {count:,}" for reason, count in report.rejected.items()) or "none"
    print(f"{report.drawn:,} candidates drawn, acceptance {report.acceptance:.3%}; rejected: {rejected}")
    print(duplicates_text(len(population), report.distinct, report.duplicates, rates=bool(space.rates)))
    columns = {"macs": counts.macs, "params": counts.params, "acts": counts.acts}
    if (predictor := space.constraints.latency_predictor) is not None:
        columns["predicted latency_ms"] = predicted_latency(predictor, population.networks, counts)
        print(predictor.text)
    print_table(summary_table(columns | dict(population.parameters)))
    if out is not None:
        with progress_line("written", n) as on_progress:
            frame, content = population.to_frame(on_progress), BytesIO()
        frame.attrs["generator"] = MARK
        frame.to_parquet(content)
        write_output(out, content.getvalue(), force=arguments.force)
        print(f"wrote {out}")
    if plot is not None:
        write_output(plot, _complexity_figure(population, Path(plot)), force=arguments.force)
        print(f"wrote {plot}")
    return 0


def _complexity_figure(population: Population, file: Path) -> bytes:
    """Parameters and activations against multiply-adds, as the bytes of a figure file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4), layout="constrained")
    for y, ax in zip(("params", "acts"), figure.subplots(1, 2), strict=True):
        population.plot("macs", y, ax=ax)
    figure.suptitle(f"{len(population):,} networks of {population.space}, seed {population.seed}", parse_math=False)
    return figure_bytes(figure, file.suffix[1:], file.stem)


_LIMITS = ("macs", "params", "acts", "depth", "latency_ms", "latency_predictor")
_SAMPLE_DEFAULTS: dict[str, Any] = {"space": None, "n": 100, "seed": 0}


def spaces(argv: list[str]) -> int:
    """List the design spaces: degrees of freedom, number of networks, free parameters."""
    from designspace import spaces as named

    terminal.parser("spaces", spaces.__doc__, "").parse_args(argv)
    rows = table("space", "family", "degrees of freedom", "networks", "log10", "free parameters (* one per stage)")
    rows.columns[-1].justify = "left"
    for name in named.names():
        space = named.space(name)
        parameters = [f"{key}*" if one.per_stage else key for key, one in space.parameters.items()]
        increasing = f"; {' and '.join(space.increasing)} increasing" if space.increasing else ""
        size = space.log10_size
        figures = (str(space.degrees_of_freedom), f"{10**size:.1e}", f"{size:.1f}")
        rows.add_row(name, str(space.family), *figures, ", ".join(parameters) + increasing)
    print_table(rows)
    return 0


def scale(argv: list[str]) -> int:
    """Scale a network to one or more sizes, and print it before and after."""
    from designspace import complexity, save_spec
    from designspace.files import SUFFIXES
    from designspace.scaling import RULES, Scaling

    parser = terminal.parser(
        "scale",
        scale.__doc__,
        "RegNetX-200MF --macs 400e6 --rule dWr --out big.yaml",
        "EfficientNet-B0 --alpha 1.2 --beta 1.1 --gamma 1.15 --phi 0,1,2,3 --out family",
        "base.yaml --from runs/scaling --macs 4e6,8e6,16e6 --out family    # coefficients of the best model of a study",
    )
    _add_model(parser)
    parser.add_argument("--macs", metavar="N,…", help="target multiply-adds, one per network")
    parser.add_argument(
        "--phi",
        metavar="PHI,…",
        help="scaling exponents, instead of --macs; phi = 1 multiplies macs by alpha·beta²·gamma², or by 2",
    )
    parser.add_argument("--rule", help=f"scaling rule: {', '.join(RULES)} (default dWr)")
    for name, factor in (("alpha", "depth"), ("beta", "width"), ("gamma", "resolution")):
        parser.add_argument(f"--{name}", type=float, metavar="X", help=f"EfficientNet's {factor} factor")
    parser.add_argument(
        "--width-exponent", type=float, metavar="X", help="width exponent of fast compound scaling (0.8 in dWr)"
    )
    parser.add_argument("--from", dest="run", metavar="RUN", help="use the coefficients of the best model of a study")
    parser.add_argument(
        "--out", metavar="FILE|DIR", help="spec file (.yaml or .json), or folder with one spec per network"
    )
    add_force(parser)
    arguments = parser.parse_args(argv)
    given = {name: getattr(arguments, name) for name in ("alpha", "beta", "gamma", "width_exponent", "rule")}
    given = {name: value for name, value in given.items() if value is not None}
    if arguments.run is not None and given:
        raise ValueError(f"from = {arguments.run}: must be omitted with {next(iter(given)).replace('_', '-')}")
    if (arguments.macs is None) == (arguments.phi is None):
        raise ValueError("macs: required without phi" if arguments.macs is None else "phi: must be omitted with macs")
    key = "phi" if arguments.macs is None else "macs"
    sizes = _numbers(key, getattr(arguments, key))
    out = None if arguments.out is None else Path(arguments.out)
    if out is not None and out.suffix in SUFFIXES:
        if len(sizes) > 1:
            raise ValueError(f"out = {out}: must be a folder for {len(sizes)} networks")
        files = [out]
    else:
        files = [] if out is None else [out / f"{key}-{size:g}.yaml" for size in sizes]
    for file in files:
        check_output(file, force=arguments.force)
    before = find_spec(arguments.model)
    scaling = Scaling.from_study(arguments.run) if arguments.run is not None else Scaling(**given or {"rule": "dWr"})
    scaled = [(scaling.at(before, size), size) if key == "phi" else scaling.to(before, size) for size in sizes]
    print(f"{scaling.text}: phi = 1 multiplies macs by {scaling.base:.4g}")
    for spec in (before, *(spec for spec, _ in scaled)):
        print_table(spec_table(spec))
    counts = complexity(before)
    rows = table("network", "phi", "resolution", "depth", "macs", "params", "acts", "growth of macs")
    for number, (spec, phi) in enumerate([(before, 0.0), *scaled]):
        cost = complexity(spec)
        figures = (spec.resolution, spec.depth, cost.macs, cost.params, cost.acts)
        name = "before" if number == 0 else files[number - 1].stem if files else f"{key} {sizes[number - 1]:g}"
        rows.add_row(name, f"{phi:.3g}", *(f"{figure:,}" for figure in figures), f"{cost.macs / counts.macs:.3f}")
    print_table(rows)
    for file, (spec, _) in zip(files, scaled, strict=False):
        file.parent.mkdir(parents=True, exist_ok=True)
        save_spec(spec, file)
        print(f"wrote {file}")
    return 0


def _numbers(option: str, text: str) -> list[float]:
    try:
        return [float(item) for item in text.split(",")]
    except ValueError:
        raise ValueError(f"--{option} = {text}: must be a number, or numbers separated by commas") from None


def zoo(argv: list[str]) -> int:
    """List the published networks with their complexity."""
    from designspace import complexity
    from designspace import zoo as published

    terminal.parser("zoo", zoo.__doc__, "").parse_args(argv)
    rows = table("network", "resolution", "depth", "macs", "params", "acts", "top-1 error %")
    for name in published.names():
        spec, error = published.spec(name), published.error_percent(name)
        counts = complexity(spec)
        figures = (spec.resolution, spec.depth, counts.macs, counts.params, counts.acts)
        rows.add_row(name, *(f"{figure:,}" for figure in figures), "" if error is None else f"{error:.1f}")
    print_table(rows)
    return 0


def _add_model(parser: terminal.Parser) -> None:
    from designspace import zoo

    model = parser.add_argument(
        "model", metavar="NAME|FILE", help="name of a published network, or a YAML or JSON spec"
    )
    terminal.complete_names(model, zoo.names, files=True)


def _complete_settings() -> list[str]:
    from designspace import spaces as named

    keys = ("n", "seed", *_LIMITS, "duplicates", "restrict", "template.resolution")
    return [*(f"space={name}" for name in named.names()), *(f"{key}=" for key in keys)]


def find_spec(name: str) -> ModelSpec:
    """Find a published network by name, or load a spec from a file."""
    from designspace import load_spec, zoo
    from designspace.files import SUFFIXES

    if Path(name).suffix in SUFFIXES:
        return load_spec(name)
    return zoo.spec(name)


def find_space(name: Any, settings: dict[str, Any]) -> Any:
    """Find a space by name, import path or YAML file, and change its settings."""
    from designspace.spaces import load_space, space_from_config
    from designspace.spaces.config import SUFFIXES

    if name is None:
        raise ValueError("space: required; run 'designspace spaces' for all names")
    restriction = settings.pop("restrict", None)
    if Path(str(name)).suffix in SUFFIXES:
        space = load_space(str(name), settings)
    else:
        space = space_from_config({"base": name} | settings)
    return space if restriction is None else space.restrict(restriction, settings.get("name"))


def parse_settings(arguments: list[str]) -> dict[str, Any]:
    """Convert KEY=VALUE arguments to a nested mapping: dots separate the levels of a key, values are YAML.

    Keys in _LIMITS are put into `constraints`.
    """
    from designspace.files import read_yaml
    from designspace.validated import shorten

    settings: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals or not all(key.split(".")):
            raise ValueError(f"{argument}: must be KEY=VALUE")
        *path, last = key.split(".")
        if key.partition(".")[0] in _LIMITS:
            path.insert(0, "constraints")
        mapping = settings
        for step in path:
            mapping = mapping.setdefault(step, {})
            if not isinstance(mapping, dict):
                raise ValueError(f"{step} = {shorten(mapping)}: must be a mapping to set {key}")
        try:
            mapping[last] = read_yaml(value)
        except ValueError as error:
            raise ValueError(f"{argument}: {error}") from None
    return settings
