"""The commands about what networks are made of: fit, trends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.commands import inputs

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

    from analysis.parameters import best_range, rank_trend
    from analysis.widths import FIT_COLUMNS, fit_population, linear_structure

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
    from analysis.families import in_families, space_families
    from analysis.parameters import correlations_per_space, permutation_importance, ranges_per_space, trends_per_space
    from analysis.regimes import best_by_regime, regime_trends

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
    designs = space_families(models, table.studies) if arguments.by == "space" else {}
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
