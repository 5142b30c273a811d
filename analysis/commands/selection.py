"""The command that selects models: select."""

from __future__ import annotations

from typing import TYPE_CHECKING

from analysis.commands import inputs

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
    from analysis.grouping import group_by
    from analysis.number_text import short
    from analysis.select import candidates, select_best
    from analysis.table import validation_size

    table = group_by(inputs.read(arguments), arguments.by)
    objectives = tuple(arguments.pareto.split(",")) if arguments.pareto else ()
    models = candidates(table.frame)
    best = select_best(
        table.frame,
        arguments.top if arguments.top is not None or objectives else 5,
        noise_sd=arguments.noise,
        validation_size=validation_size(table.studies),
        objectives=objectives,
        regimes=arguments.regimes,
    )
    shown = best_table(best, [name for name in objectives if name not in COMPLEXITY])
    if arguments.regimes is not None:
        ends = zip(best["regime_low"], best["regime_high"], strict=True)
        shown.insert(0, "regime of macs", [f"{short(low)} to {short(high)}" for low, high in ends])
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
        from analysis.plots import plot_pareto
        from analysis.select import pareto_front

        cost = objectives[0] if objectives else "macs"
        return plot_pareto(models.assign(pareto=pareto_front(models, ("error_percent", cost))), cost, ax=ax)

    inputs.write_out(arguments, best.drop(columns=["spec"], errors="ignore"), draw)
    return 0
