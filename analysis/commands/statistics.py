"""The commands edf, compare, fit, trends, scores, search, select and recipes."""

from __future__ import annotations

from analysis.commands import common


def edf(argv: list[str]) -> int:
    """Show the error distribution of each space with its confidence band."""
    parser = common.make_parser("edf", edf.__doc__, "runs/demo --out edf.svg", "runs/demo --match macs")
    common.add_by(parser)
    common.add_failures(parser)
    common.add_match(parser, "none")
    common.add_across(parser)
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    table = common.read(arguments)
    return common.show(table.edf(**common.given(arguments, "failures", "match", "across")), arguments)


def compare(argv: list[str]) -> int:
    """Compare all pairs of spaces at equal complexity: difference of the mean error, KS test, order, power."""
    parser = common.make_parser("compare", compare.__doc__, "runs/demo", "runs/demo --match none --out pairs.csv")
    common.add_by(parser)
    common.add_failures(parser)
    common.add_match(parser)
    common.add_across(parser)
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    table = common.read(arguments)
    return common.show(table.compare(**common.given(arguments, "failures", "match", "across")), arguments)


def fit(argv: list[str]) -> int:
    """Fit the quantized linear rule to the block widths of every model, and relate e_fit to the error."""
    parser = common.make_parser("fit", fit.__doc__, "runs/demo --out fits.csv", "nets.csv --map error,widths")
    common.add_by(parser)
    common.add_failures(parser)
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    table = common.read(arguments)
    fits = table.fit_widths(continuous=bool(arguments.out), **common.given(arguments, "failures"))
    return common.show(fits, arguments)


def trends(argv: list[str]) -> int:
    """Relate the error to every parameter: best ranges, correlations, importance, and the best models by regime."""
    parser = common.make_parser("trends", trends.__doc__, "runs/demo", "runs/demo --parameter depth --out depth.png")
    common.add_by(parser)
    common.add_failures(parser)
    parser.add_argument(
        "--parameter",
        metavar="NAME",
        help="only this parameter, or an expression like learning_rate*weight_decay; required for a figure",
    )
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    if arguments.out and not arguments.out.endswith(".csv") and not arguments.parameter:
        raise ValueError("parameter: required for a figure of trends")
    table = common.read(arguments)
    return common.show(table.trends(arguments.parameter, **common.given(arguments, "failures")), arguments)


def scores(argv: list[str]) -> int:
    """Show how well zero-cost scores rank the models of each space, compared with macs, params and acts."""
    parser = common.make_parser("scores", scores.__doc__, "runs/scored    # trained with scores=true")
    common.add_by(parser)
    common.add_failures(parser)
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    return common.show(common.read(arguments).scores(**common.given(arguments, "failures")), arguments)


def search(argv: list[str]) -> int:
    """Compare searches with random search: smallest error by number of trained models."""
    parser = common.make_parser(
        "search", search.__doc__, "runs/tpe --out search.svg", "runs/tpe-0 runs/tpe-1 runs/tpe-2    # three repetitions"
    )
    common.add_failures(parser)
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    return common.show(common.read(arguments).search(**common.given(arguments, "failures")), arguments)


def select(argv: list[str]) -> int:
    """Select the best models, with the expected error of each on retraining."""
    parser = common.make_parser(
        "select",
        select.__doc__,
        "runs/demo --top 5",
        "runs/demo --pareto macs",
        "runs/demo --top 1 --regimes 4 --out best.csv",
    )
    common.add_by(parser)
    parser.add_argument(
        "--top", type=int, metavar="K", help="number of models (default 5, with --pareto the full front)"
    )
    parser.add_argument(
        "--pareto", default="", metavar="COLUMN,…", help="only the Pareto front of the error and these, such as macs"
    )
    parser.add_argument("--regimes", type=int, metavar="R", help="select in each of R regimes of macs")
    parser.add_argument("--noise", type=float, metavar="POINTS", help="standard deviation of one training, if known")
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    selection = common.read(arguments).select(
        arguments.top, pareto=common.split(arguments.pareto), regimes=arguments.regimes, noise=arguments.noise
    )
    return common.show(selection, arguments)


def recipes(argv: list[str]) -> int:
    """Compare training recipes on the same networks: agreement with a long training, separation of spaces, cost."""
    parser = common.make_parser(
        "recipes", recipes.__doc__, "runs/epochs-1 runs/epochs-4 runs/epochs-12 --reference epochs-12 --base epochs-4"
    )
    common.add_failures(parser)
    parser.add_argument("--reference", required=True, metavar="NAME", help="study with the long training")
    parser.add_argument("--base", metavar="NAME", help="study to compare with (default: the reference)")
    common.add_out(parser)
    arguments = parser.parse_args(argv)
    common.check_out(arguments)
    table = common.read(arguments)
    return common.show(
        table.recipes(arguments.reference, arguments.base, **common.given(arguments, "failures")), arguments
    )
