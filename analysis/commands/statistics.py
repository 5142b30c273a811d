"""The commands about error distributions: edf, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.commands import inputs

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def edf(argv: list[str]) -> int:
    """Print the error distribution of each space with its band, or write it as CSV or as a figure."""
    parser = inputs.make_parser("edf", edf.__doc__, "runs/demo --out edf.svg", "runs/demo --match macs")
    inputs.add_by(parser)
    inputs.add_failures(parser)
    inputs.add_match(parser, "none")
    inputs.add_across(parser)
    inputs.add_out(parser)
    arguments = parser.parse_args(argv)
    inputs.check_out(arguments)
    match = inputs.matched_by(arguments)

    from analysis.compare import describe_spaces
    from analysis.error_distributions import edf_by, quantiles
    from analysis.matching import complexity_weights

    models, resolved, table = inputs.comparable_models_of(arguments)
    matching = complexity_weights(models, match) if match else None
    curves = edf_by(models, weights=matching.weights if matching else None)
    inputs.print_table(inputs.described(describe_spaces(models)), "as drawn")
    inputs.print_table(quantiles(curves), f"at equal {match}" if match else "with the band")
    matched = [matching.sentence, *(f"{warning}." for warning in matching.warnings)] if matching else []
    bands = f"Band: {'; '.join(dict.fromkeys(curves['band']))}."
    inputs.print_lines(resolved.sentence, bands, *matched, *table.notes)

    def draw(ax: Axes) -> object:
        from analysis.plots import plot_edf

        return plot_edf(curves, ax=ax)

    inputs.write_out(arguments, curves, draw)
    return 0


def compare(argv: list[str]) -> int:
    """Compare every pair of spaces at equal complexity: differences with intervals, KS, order, power."""
    parser = inputs.make_parser("compare", compare.__doc__, "runs/demo", "runs/demo --match none --out pairs.csv")
    inputs.add_by(parser)
    inputs.add_failures(parser)
    inputs.add_match(parser)
    inputs.add_across(parser)
    inputs.add_out(parser)
    arguments = parser.parse_args(argv)
    inputs.check_out(arguments)
    match = inputs.matched_by(arguments)

    from analysis.compare import compare_spaces
    from analysis.display import comparison_table
    from analysis.words import comparison_notes, comparison_sentences

    models, resolved, table = inputs.comparable_models_of(arguments)
    pairs = compare_spaces(models, match=match or None, across=arguments.across)
    shown = comparison_table(pairs).drop(columns=["matched by", "effective", "area difference, % of box"])
    inputs.print_table(shown)
    inputs.print_lines(*comparison_sentences(pairs), *comparison_notes(pairs), resolved.sentence, *table.notes)

    def draw(ax: Axes) -> object:
        from analysis.plots import plot_differences

        return plot_differences(pairs, ax=ax)

    inputs.write_out(arguments, pairs, draw)
    return 0


if TYPE_CHECKING:
    from matplotlib.axes import Axes


def fit(argv: list[str]) -> int:
    """Fit the quantized linear rule to the widths of every model: w_0, w_a, w_m and e_fit against the error."""
    parser = inputs.make_parser("fit", fit.__doc__, "runs/demo --out fits.csv", "nets.csv --map error,widths")
    inputs.add_by(parser)
    inputs.add_failures(parser)
    inputs.add_out(parser)
    arguments = parser.parse_args(argv)
    inputs.check_out(arguments)

    import pandas as pd

    from analysis.profiles import linear_structure
    from analysis.quantized_linear_fit import FIT_COLUMNS, fit_population
    from analysis.ranges import best_range
    from analysis.trends import rank_trend

    models, resolved, table = inputs.models_of(arguments)
    models = models[models["block_widths"].notna()].reset_index(drop=True)
    if models.empty:
        raise ValueError("the table has no block widths to fit; say where they are, e.g. --map widths=COLUMN")
    models = pd.concat([models, fit_population(models["block_widths"])], axis=1)
    rows = []
    for space, part in models.groupby("space", sort=False):
        fits, errors = part["fit_error"], part["error_percent"]
        line, found = linear_structure(part), best_range(fits, errors)
        rows.append(
            {
                "space": space,
                "n": len(part),
                "e_fit mean": float(fits.mean()),
                "median": float(fits.median()),
                "largest": float(fits.max()),
                "of the best": f"{found.lower:.3f} to {found.upper:.3f}",
                "rank correlation with error": rank_trend(fits, errors).rho,
                "line through the best": "–" if line is None else f"{line.slope:.1f}·j + {line.intercept:.0f}",
            }
        )
    inputs.print_table(pd.DataFrame(rows))
    inputs.print_lines(resolved.sentence, *table.notes)

    def draw(ax: Axes) -> object:
        from analysis.plots import plot_parameter

        return plot_parameter(models, "fit_error", ax=ax)

    written = models[["study", "space", "index", "spec_id", "error_percent", "block_widths", *FIT_COLUMNS]]
    if arguments.out:  # the rule before it is rounded to 8 channels, as the paper has it
        written = written.assign(fit_error_continuous=fit_population(models["block_widths"], quantum=1)["fit_error"])
    inputs.write_out(arguments, written, draw)
    return 0


def trends(argv: list[str]) -> int:
    """Show how the error goes with every parameter, which matter most, and how the best move from regime to regime."""
    parser = inputs.make_parser("trends", trends.__doc__, "runs/demo", "runs/demo --parameter depth --out depth.png")
    inputs.add_by(parser)
    inputs.add_failures(parser)
    parser.add_argument("--parameter", metavar="NAME", help="only this one; needed for a picture")
    inputs.add_out(parser)
    arguments = parser.parse_args(argv)
    inputs.check_out(arguments)
    if arguments.out and not arguments.out.endswith(".csv") and not arguments.parameter:
        raise ValueError("a picture of trends needs --parameter NAME")

    from analysis.display import powers_table, ranges_table, regimes_table
    from analysis.grouping import in_families, space_families
    from analysis.importance import permutation_importance
    from analysis.ranges import ranges_per_space
    from analysis.regimes import best_by_regime, regime_trends
    from analysis.trends import correlations_per_space, trends_per_space

    models, resolved, table = inputs.models_of(arguments)
    complexity = [name for name in ("macs", "params", "acts") if models[name].notna().any()]
    names = [*table.parameters, *complexity]
    if arguments.parameter not in (None, *names):
        raise ValueError(f"parameter is {arguments.parameter!r}; the table has {', '.join(names)}")
    names = [arguments.parameter] if arguments.parameter else names
    lines, ranges = trends_per_space(models, names), ranges_per_space(models, names)
    if lines.empty:
        raise ValueError(f"{', '.join(names)}: no number that differs between models of a space, so there is no trend")
    inputs.print_table(ranges_table(ranges, correlations_per_space(models, names)))
    forest = None if arguments.parameter else permutation_importance(models, table.parameters)
    if forest is not None:
        title = f"points of error added by shuffling; {max(0, forest.explained):.0%} of the variance explained"
        inputs.print_table(forest.table, title)
    designs = space_families(models, table.sources) if arguments.by == "space" else {}
    finished = in_families(models[~models["failed"]], designs)
    regimes = best_by_regime(finished, [name for name in names if name != "macs"])
    if regimes["regime"].max() > 0:
        inputs.print_table(regimes_table(regimes), "the best, by regime of macs")
        inputs.print_table(powers_table(regime_trends(regimes), "regimes"), "y ∝ macs^exponent through the likely best")
    inputs.print_lines(resolved.sentence, *table.notes)

    def draw(ax: Axes) -> object:
        from analysis.plots import plot_parameter

        return plot_parameter(models, arguments.parameter, trend=lines, ranges=ranges, ax=ax)

    inputs.write_out(arguments, lines, draw)
    return 0


if TYPE_CHECKING:
    from matplotlib.axes import Axes


def select(argv: list[str]) -> int:
    """Select the best models, with the expected error of each on retraining."""
    parser = inputs.make_parser(
        "select",
        select.__doc__,
        "runs/demo --top 5",
        "runs/demo --pareto macs",
        "runs/demo --top 1 --regimes 4 --out best.csv",
    )
    inputs.add_by(parser)
    parser.add_argument("--top", type=int, metavar="K", help="how many (default 5; with --pareto all of the front)")
    parser.add_argument(
        "--pareto", metavar="COLUMN,…", help="only models that no other beats in error and these, e.g. macs"
    )
    parser.add_argument("--regimes", type=int, metavar="R", help="select in each of R regimes of macs")
    parser.add_argument("--noise", type=float, metavar="POINTS", help="standard deviation of one training, if known")
    inputs.add_out(parser)
    arguments = parser.parse_args(argv)
    inputs.check_out(arguments)

    from analysis.display import COMPLEXITY, best_table
    from analysis.formatting import si_format
    from analysis.grouping import group_by
    from analysis.select import candidates, select_best
    from analysis.table import validation_size

    table = group_by(inputs.read(arguments), arguments.by)
    objectives = tuple(arguments.pareto.split(",")) if arguments.pareto else ()
    models = candidates(table.frame)
    best = select_best(
        table.frame,
        arguments.top if arguments.top is not None or objectives else 5,
        noise_sd=arguments.noise,
        validation_size=validation_size(table.sources),
        objectives=objectives,
        regimes=arguments.regimes,
    )
    shown = best_table(best, [name for name in objectives if name not in COMPLEXITY])
    if arguments.regimes is not None:
        ends = zip(best["regime_low"], best["regime_high"], strict=True)
        shown.insert(0, "regime of macs", [f"{si_format(low)} to {si_format(high)}" for low, high in ends])
    inputs.print_table(shown)
    first = best.iloc[0]
    if first["noise_from"] == "unknown":
        noise = "The noise of a training is unknown: give --noise, or train some models with several seeds."
    else:
        source = "given" if first["noise_from"] == "given" else f"from {first['noise_from']}"
        noise = (
            "Expected error: the mean over retrainings. Retrained error: one more training, which varies by "
            f"{first['noise_sd']:.3g} points ({source}). Tied: no further from the first than chance "
            "puts equal models."
        )
    failed = f" ({first['left_out']} more had a training that failed)" if first["left_out"] else ""
    number = models["spec_id"].nunique()
    optimistic = ", which is optimistic" if number > 1 else ""
    inputs.print_lines(
        f"Selected from {number:,} model{'s' if number > 1 else ''}{failed} by error{optimistic}. {noise}", *table.notes
    )

    def draw(ax: Axes) -> object:
        from analysis.pareto import pareto_front
        from analysis.plots import plot_pareto

        cost = objectives[0] if objectives else "macs"
        return plot_pareto(models.assign(pareto=pareto_front(models, ("error_percent", cost))), cost, ax=ax)

    inputs.write_out(arguments, best.drop(columns=["spec"], errors="ignore"), draw)
    return 0
