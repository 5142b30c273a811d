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

    from analysis.error_distributions import describe_spaces, edf_by, quantiles
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
    from analysis.sentences import comparison_notes, comparison_sentences

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
