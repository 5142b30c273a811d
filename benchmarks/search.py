"""Search strategies on a table of trained networks, against random search in closed form.

    python -m benchmarks.search run ../shared/data/nas-bench-macro.csv    # a quarter of an hour on one core
    python -m benchmarks.search store runs/tpe-0 runs/random-0            # studies of experiment=study_search
    python -m benchmarks.search retrained runs/again                      # their best networks with other seeds
    python -m benchmarks.search page

NAS-Bench-Macro (Su et al. 2021, arXiv 2103.11922) has 6,561 networks: one of three operations in each of 8 layers,
each network trained three times on CIFAR-10. A search observes the error of one of the three trainings, drawn at random
once per network and repetition. It selects the network with the smallest observed error. Its result is the mean error
of that network's three trainings.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy import stats

from analysis import load, search_efficiency
from analysis.display import columns, search_table
from analysis.formatting import si_format
from analysis.plots import plot_search
from analysis.plots.style import WIDTH, group_styles, legend_above, tidy
from analysis.search import LEVEL, search_sentences
from analysis.select import pareto_front
from analysis.two_sample import holm
from benchmarks.studies.markdown import markdown_table
from designspace.atomic import replace_file
from designspace.distributions import Choice, Distribution, Uniform
from designspace.figures import figure_bytes

FOLDER = Path(__file__).parents[1] / "docs" / "studies" / "search"
TABLE, REFERENCE = "searches.parquet", "reference.parquet"
TRAINED, RETRAINED = "trained.parquet", "retrained.parquet"
DISCUSSION, PAGE = "discussion.md", "README.md"

LAYERS, OPERATIONS = 8, 3
BUDGET, START, REPETITIONS = 200, 20, 30
MODELS = (25, 50, 100, 200)
"""Numbers of models in the table of the page."""
FRONT = ("tpe", "nsga2", "surrogate", "random")
"""Strategies for two objectives."""
WORKERS = 4
"""Networks in training at once, in the runs with parallel workers."""
ASKS = 20
"""Proposals of known networks in a row, after which the next random draw is trained."""
WORST = 20.0
"""Error of the reference point of the hypervolume, percent; its multiply-adds are those of the largest network."""

Array = NDArray[np.float64]


class Networks:
    """The table: errors of three trainings, their mean, and multiply-adds, by the number of the network in base 3."""

    def __init__(self, path: Path) -> None:
        frame = pd.read_csv(path, dtype={"arch": str}).sort_values("arch")
        if len(frame) != OPERATIONS**LAYERS:
            raise ValueError(f"{path}: must have {OPERATIONS**LAYERS:,} networks, not {len(frame):,}")
        self.errors = 100 - frame[["acc1", "acc2", "acc3"]].to_numpy()
        self.mean = 100 - frame["mean_acc"].to_numpy()
        self.macs = frame["flops"].to_numpy(dtype=float)

    def __len__(self) -> int:
        return len(self.mean)


def domains(strategy: str) -> dict[str, Distribution]:
    """Eight categorical choices; ordered by size for CMA-ES, which draws categorical parameters at random."""
    one = Uniform(low=0, high=2) if strategy == "cmaes" else Choice(options=(0, 1, 2))
    return {f"layer_{layer}": one for layer in range(1, LAYERS + 1)}


def search(networks: Networks, strategy: str, objectives: int, workers: int, repetition: int) -> pd.DataFrame:
    """One run: the networks in the order in which they were proposed.

    Args:
        networks: the table.
        strategy: of `sweeps.search.strategies`.
        objectives: 1 for the error, 2 for the error and multiply-adds.
        workers: networks in training at once; a result is reported when `workers` later ones were proposed.
        repetition: seed.
    """
    from sweeps.search.strategies import open_strategy

    rng = np.random.default_rng(repetition)
    seen = networks.errors[np.arange(len(networks)), rng.integers(0, 3, len(networks))]
    draws = iter(rng.permutation(len(networks)).tolist())
    searcher = open_strategy(strategy, domains(strategy), objectives, seed=repetition)

    def values(network: int) -> list[float]:
        return [seen[network], networks.macs[network]][:objectives]

    trained: dict[int, None] = {}
    for _ in range(START):
        network = next(draws)
        trained[network] = None
        searcher.tell(searcher.add(_parameters(network)), values(network))
    running: list[tuple[int, int]] = []
    fallbacks = 0
    while len(trained) < BUDGET:
        for _ in range(ASKS):
            proposal = searcher.ask()
            network = _network(proposal.parameters)
            if network not in trained:
                running.append((proposal.number, network))
                break
            searcher.tell(proposal.number, values(network))
        else:
            fallbacks += 1
            network = next(one for one in draws if one not in trained)
            running.append((searcher.add(_parameters(network)), network))
        trained[network] = None
        if len(running) == workers:
            number, finished = running.pop(0)
            searcher.tell(number, values(finished))
    chosen = np.array(list(trained))
    return pd.DataFrame(
        {
            "strategy": strategy,
            "objectives": objectives,
            "workers": workers,
            "repetition": repetition,
            "model": np.arange(1, BUDGET + 1),
            "network": chosen,
            "seen_error": seen[chosen],
            "error_percent": networks.mean[chosen],
            "macs": networks.macs[chosen],
            "fallbacks": fallbacks,
        }
    )


def _parameters(network: int) -> dict[str, int]:
    digits = [network // OPERATIONS ** (LAYERS - layer) % OPERATIONS for layer in range(1, LAYERS + 1)]
    return {f"layer_{layer}": digit for layer, digit in enumerate(digits, 1)}


def _network(parameters: dict[str, Any]) -> int:
    network = 0
    for layer in range(1, LAYERS + 1):
        network = OPERATIONS * network + int(parameters[f"layer_{layer}"])
    return network


def random_search(networks: Networks) -> pd.DataFrame:
    """Error of the network that random search returns, by number of models, in closed form.

    The result of random search with m models (with replacement) is the network of the smallest of m errors. The
    probability that it is training i is (1 - W_(i-1))^m - (1 - W_i)^m, where W_i is the fraction of trainings with an
    error of at most that of i. The distribution of its mean error follows.

    Returns:
        Columns `models`, up to the size of the table and with larger steps above BUDGET; `expected`; and `lower`,
        `quarter`, `median`, `three_quarters`, `upper`: 2.5, 25, 50, 75 and 97.5 % of random searches have a smaller
        error.
    """
    seen = networks.errors.ravel()
    judged = np.repeat(networks.mean, networks.errors.shape[1])
    order = np.argsort(seen, kind="stable")
    above = 1 - np.arange(len(seen) + 1) / len(seen)
    by_error = np.argsort(judged[order], kind="stable")
    errors = judged[order][by_error]
    rows = []
    beyond = np.geomspace(BUDGET, len(networks), 120).round().astype(int)[1:]
    for models in [*range(1, BUDGET + 1), *beyond.tolist()]:
        chance = above[:-1] ** models - above[1:] ** models
        below = np.cumsum(chance[by_error])
        quantiles = errors[np.minimum(np.searchsorted(below, [0.025, 0.25, 0.5, 0.75, 0.975]), len(errors) - 1)]
        rows.append((models, float(chance[by_error] @ errors), *quantiles))
    names = ["models", "expected", "lower", "quarter", "median", "three_quarters", "upper"]
    return pd.DataFrame(rows, columns=names)


def runs() -> list[tuple[str, int, int, int]]:
    """Strategy, objectives, workers and repetition of every run."""
    from sweeps.search.strategies import STRATEGIES

    kinds = [(name, 1, 1) for name in STRATEGIES] + [("tpe", 1, WORKERS)]
    kinds += [(name, 2, 1) for name in STRATEGIES if name in FRONT]
    return [(*kind, repetition) for kind, repetition in product(kinds, range(REPETITIONS))]


def _run(arguments: tuple[Path, tuple[str, int, int, int]]) -> pd.DataFrame:
    path, run = arguments
    return search(Networks(path), *run)


def run_all(path: Path, folder: Path, processes: int) -> None:
    """Run all strategies, and store the networks they trained and the closed form of random search."""
    networks = Networks(path)
    with ProcessPoolExecutor(processes) as pool:
        frame = pd.concat(pool.map(_run, [(path, run) for run in runs()]), ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    small = dict.fromkeys(("objectives", "workers", "repetition", "model", "network", "fallbacks"), "int16")
    small |= {"seen_error": "float32", "error_percent": "float32", "macs": "int64", "strategy": "category"}
    frame.astype(small).to_parquet(folder / TABLE, index=False, compression="zstd")
    reference = random_search(networks)
    reference.attrs = {"best": float(networks.mean.min()), "largest": float(networks.macs.max())}
    front = pareto_front(pd.DataFrame({"error_percent": networks.mean, "macs": networks.macs}))
    reference.attrs["hypervolume"] = hypervolume(networks.mean[front], networks.macs[front], reference.attrs["largest"])
    reference.to_parquet(folder / REFERENCE, index=False)


def hypervolume(errors: Array, macs: Array, largest: float) -> float:
    """Area dominated by points within errors below WORST and multiply-adds below `largest`, as a fraction."""
    order = np.argsort(macs)
    heights = np.minimum.accumulate(np.minimum(errors[order] / WORST, 1))
    ends = np.append(macs[order][1:], largest) / largest
    return float(np.sum((ends - macs[order] / largest) * (1 - heights)))


def selected(runs: pd.DataFrame) -> pd.DataFrame:
    """The networks that searches with one objective select, by number of models.

    Args:
        runs: runs of one strategy, sorted by repetition and model.

    Returns:
        Mean error of the selected network, percent, one row per number of models and one column per repetition.
    """
    columns = {}
    for repetition, run in runs.groupby("repetition"):
        seen = run["seen_error"].to_numpy()
        first = np.maximum.accumulate(np.where(seen <= np.minimum.accumulate(seen), np.arange(len(seen)), 0))
        columns[repetition] = run["error_percent"].to_numpy()[first]
    return pd.DataFrame(columns, index=pd.RangeIndex(1, BUDGET + 1))


def hypervolumes(runs: pd.DataFrame, largest: float, best: float) -> pd.DataFrame:
    """Hypervolume of the mean errors of the networks on the observed front, as a fraction of that of the whole table.

    Args:
        runs: runs of one strategy.
        largest, best: multiply-adds of the largest network, and hypervolume of the front of the whole table.

    Returns:
        One row per number of models in MODELS and one column per repetition.
    """
    columns = {}
    for repetition, run in runs.groupby("repetition"):
        parts = (run[run["model"] <= models] for models in MODELS)
        fronts = (part[pareto_front(part, ("seen_error", "macs"))] for part in parts)
        columns[repetition] = [
            hypervolume(*(front[name].to_numpy(dtype=float) for name in ("error_percent", "macs")), largest) / best
            for front in fronts
        ]
    return pd.DataFrame(columns, index=list(MODELS))


def median_interval(values: Array) -> tuple[float, float, float]:
    """The median and its distribution-free 95 % interval: two order statistics."""
    ordered = np.sort(values)
    rank = int(stats.binom.ppf(0.025, len(ordered), 0.5))
    return float(np.median(ordered)), float(ordered[rank - 1]), float(ordered[-rank])


class Stored(NamedTuple):
    """Tables behind the page."""

    runs: pd.DataFrame
    reference: pd.DataFrame
    trained: pd.DataFrame | None
    retrained: pd.DataFrame | None

    @classmethod
    def read(cls, folder: Path) -> Stored:
        """Read the tables of a folder."""
        runs = pd.read_parquet(folder / TABLE)
        trained, retrained = (
            pd.read_parquet(folder / name) if (folder / name).exists() else None for name in (TRAINED, RETRAINED)
        )
        return cls(runs.astype({"strategy": str}), pd.read_parquet(folder / REFERENCE), trained, retrained)

    def kinds(self, objectives: int) -> dict[str, pd.DataFrame]:
        """Runs of each strategy, with its number of workers if there are several."""
        chosen = self.runs[self.runs["objectives"] == objectives]
        groups = chosen.groupby(["strategy", "workers"], sort=False)
        return {name if workers == 1 else f"{name}, {workers} workers": part for (name, workers), part in groups}

    def random_models(self, error: float) -> str:
        """Number of models after which the median of random search is at most an error."""
        enough = self.reference[self.reference["median"] <= error + 1e-6]
        return f"{enough['models'].iloc[0]:,}" if len(enough) else f"more than {self.reference['models'].iloc[-1]:,}"


def results(stored: Stored) -> pd.DataFrame:
    """Regret of each strategy after each of MODELS, with the sign test against the median of random search."""
    best = stored.reference.attrs["best"]
    reference = stored.reference.set_index("models")
    rows = []
    for name, runs in stored.kinds(1).items():
        errors = selected(runs)
        for models in MODELS:
            median, low, high = median_interval(errors.loc[models].to_numpy())
            expected = reference.loc[models, "median"]
            differ = errors.loc[models][(errors.loc[models] - expected).abs() > 1e-6]
            below = int((differ < expected).sum())
            rows.append(
                {
                    "strategy": name,
                    "models": models,
                    "regret": median - best,
                    "lower": low - best,
                    "upper": high - best,
                    "below": below,
                    "p_value": stats.binomtest(below, len(differ)).pvalue if len(differ) else 1.0,
                    "random_models": stored.random_models(median),
                    "fewest": stored.random_models(high),
                    "most": stored.random_models(low),
                }
            )
    frame = pd.DataFrame(rows)
    searched = ~frame["strategy"].str.startswith("random")
    frame.loc[searched, "p_value"] = holm(frame.loc[searched, "p_value"].to_numpy())
    return frame


def write_page(folder: Path) -> None:
    """Write the page and its figures from the stored tables."""
    stored = Stored.read(folder)
    _save(folder, "efficiency", lambda ax: _draw_efficiency(stored, ax))
    _save(folder, "hypervolume", lambda ax: _draw_hypervolume(stored, ax))
    discussion = folder / DISCUSSION
    parts = [
        "# Search within a space",
        "With the same number of trainings, does a search find better networks than random search?",
        discussion.read_text().strip() if discussion.exists() else "",
        "## NAS-Bench-Macro",
        PROTOCOL,
        "![Efficiency](efficiency.svg)",
        "*Error of the selected network by number of trained models: median and quartiles over 30 repetitions. Gray: "
        "median of random search and the range of 95 % of random searches.*",
        "Regret is the error of the selected network minus the error of the best network in the table, in points. "
        f"Cells: median over {REPETITIONS} repetitions with its 95 % interval. Last column: number of repetitions with "
        "a smaller regret than the median of random search. **Bold**: different from random search (sign test, "
        f"{100 * LEVEL:g} % level, Holm's adjustment over all cells).",
        _regret_table(stored),
        "Number of models that random search needs to match the median regret of each strategy, and the ends of its "
        "interval:",
        _needed_table(stored),
        "### Two objectives",
        "Hypervolume of error and multiply-adds, relative to the front of the whole table. It is computed from the "
        "mean errors of the networks on the front that a search observed. Cells: median over "
        f"{REPETITIONS} repetitions with its 95 % interval. The reference point is an error of {WORST:.0f} % and the "
        "multiply-adds of the largest network.",
        _hypervolume_table(stored),
        "![Hypervolume](hypervolume.svg)",
        *_trained_section(stored, folder),
        "## Commands",
        COMMANDS,
    ]
    replace_file(folder / PAGE, "\n\n".join(part for part in parts if part) + "\n")


PROTOCOL = f"""The table has {OPERATIONS**LAYERS:,} networks with three trainings each on CIFAR-10
([Su et al. 2021](https://arxiv.org/abs/2103.11922)). Each of {LAYERS} layers is the identity or an inverted
bottleneck with expansion 3 or 6.

- A run trains {BUDGET} different networks, of which the first {START} are random draws. Repetitions differ in the seed.
- A search observes the error of one of the three trainings, drawn at random for each network.
- The network with the smallest observed error is selected. It is evaluated by the mean error of its three trainings,
  which removes most of the luck of a single one.
- A proposal of a known network costs nothing: the search receives its known error. After {ASKS} of these in a row, the
  next random draw is trained.
- The operations are categorical. CMA-ES draws categorical parameters at random, so it receives them as numbers, ordered
  by size.
- With {WORKERS} workers, each result arrives {WORKERS - 1} proposals late.
- Random search is exact: the distribution of its result is computed from the table in closed form."""

COMMANDS = """```sh
python -m benchmarks.search run nas-bench-macro.csv
designspace sweep experiment=study_search search=tpe seed=0 run=runs/tpe-0
designspace sweep experiment=study_search search=random seed=0 run=runs/random-0
designspace search runs/tpe-0 runs/random-0
python -m benchmarks.search store runs/tpe-0 runs/random-0
python -m benchmarks.search retrained runs/again
```

`python -m benchmarks.search page` computes every number and figure of this page from the tables in this folder."""


def _regret_table(stored: Stored) -> str:
    reference = stored.reference.set_index("models")["median"] - stored.reference.attrs["best"]
    lines = [["random search (exact)", *(f"{reference[models]:.2f}" for models in MODELS), ""]]
    for name, rows in results(stored).groupby("strategy", sort=False):
        cells = []
        for row in rows.itertuples():
            text = f"{row.regret:.2f} ({row.lower:.2f} to {row.upper:.2f})"
            marked = row.p_value <= LEVEL and not str(name).startswith("random")
            cells.append(f"**{text}**" if marked else text)
        lines.append([name, *cells, f"{rows['below'].iloc[-1]} of {REPETITIONS}"])
    return markdown_table(["strategy", *(f"{models} models" for models in MODELS), f"below, {MODELS[-1]}"], lines)


def _needed_table(stored: Stored) -> str:
    lines = []
    for name, rows in results(stored).groupby("strategy", sort=False):
        lines.append([name, *(f"{row.random_models} ({row.fewest} to {row.most})" for row in rows.itertuples())])
    return markdown_table(["strategy", *(f"{models} models" for models in MODELS)], lines)


def _hypervolume_table(stored: Stored) -> str:
    lines = []
    for name, volumes in _hypervolumes(stored).items():
        ends = (median_interval(volumes.loc[models].to_numpy()) for models in MODELS)
        lines.append([name, *(f"{median:.3f} ({low:.3f} to {high:.3f})" for median, low, high in ends)])
    return markdown_table(["strategy", *(f"{models} models" for models in MODELS)], lines)


def _hypervolumes(stored: Stored) -> dict[str, pd.DataFrame]:
    largest, best = stored.reference.attrs["largest"], stored.reference.attrs["hypervolume"]
    return {name: hypervolumes(runs, largest, best) for name, runs in stored.kinds(2).items()}


def _draw_efficiency(stored: Stored, ax: Axes) -> None:
    curves = []
    for name, runs in stored.kinds(1).items():
        if name != "random":
            quartiles = selected(runs).quantile([0.25, 0.5, 0.75], axis=1).T
            quartiles.columns = ["quarter", "median", "three_quarters"]
            curves.append(quartiles.assign(strategy=name, models=quartiles.index, runs=REPETITIONS))
    reference = stored.reference[stored.reference["models"] <= BUDGET].rename(columns={"models": "draws"})
    plot_search(pd.concat(curves, ignore_index=True), reference, ax=ax)
    ax.set_ylabel("error of the selected network (%)")
    ax.set_ylim(stored.reference.attrs["best"] - 0.05, 8.2)


def _draw_hypervolume(stored: Stored, ax: Axes) -> None:
    tidy(ax)
    volumes = _hypervolumes(stored)
    for position, (name, style) in enumerate(group_styles(volumes).items()):
        ends = np.array([median_interval(volumes[name].loc[models].to_numpy()) for models in MODELS])
        x = np.array(MODELS) * 1.03 ** (position - 1)
        ax.errorbar(
            x, ends[:, 0], yerr=[ends[:, 0] - ends[:, 1], ends[:, 2] - ends[:, 0]], capsize=3, label=name, **style
        )
    ax.set_xscale("log", base=2)
    ax.set_xticks(MODELS, [str(models) for models in MODELS])
    ax.minorticks_off()
    ax.set(xlabel="models trained", ylabel="hypervolume, relative")
    legend_above(ax)


STORED_COLUMNS = (
    "study",
    "space",
    "index",
    "seed",
    "spec_id",
    "draw_id",
    "proposed_by",
    "status",
    "error_percent",
    "macs",
)


def store(paths: list[Path], file: Path) -> None:
    """Store the columns of trained studies that the page needs."""
    load(*paths).frame[list(STORED_COLUMNS)].to_parquet(file, index=False)


def _trained_section(stored: Stored, folder: Path) -> list[str]:
    """The section on searches with real training."""
    if stored.trained is None:
        return []
    efficiency = search_efficiency(stored.trained)
    _save(folder, "trained", lambda ax: plot_search(efficiency.curves, efficiency.reference, ax=ax))
    shown = search_table(efficiency.summary)
    rows = [[column.texts[row] for column in columns(shown)] for row in range(len(shown))]
    return [
        "## Training on Fashion-MNIST",
        "RegNetX networks of 1 to 2 million multiply-adds, 4,000 training images and 2 epochs, as in the other studies "
        "([study_search.yaml](../../../conf/experiment/study_search.yaml)). Every run has 20 random draws and 40 "
        "proposals. Runs with the same seed share their random draws. The reference uses all random draws, including "
        "the proposals of the strategy random.",
        "![Efficiency](trained.svg)",
        "*Smallest measured error by number of trained models. Gray: median of random search, estimated from the "
        "random draws, with its simultaneous 95 % band.*",
        markdown_table([column.name for column in columns(shown)], rows),
        "\n".join(f"- {sentence}" for sentence in search_sentences(efficiency.summary)),
        *_retrained_section(stored),
    ]


def _retrained_section(stored: Stored) -> list[str]:
    """The best network of every run, retrained."""
    if stored.retrained is None or stored.trained is None:
        return []
    rows = []
    finished = stored.trained[stored.trained["status"] == "ok"]
    for study in sorted(finished["study"].unique()):
        # Random draws that two studies with the same seed share are listed once.
        run = finished[(finished["study"] == study) & (finished["proposed_by"] != "")]
        stream = run["draw_id"].iloc[0].rpartition("/")[0]
        start = finished[(finished["proposed_by"] == "") & finished["draw_id"].str.startswith(f"{stream}/")]
        best = pd.concat([start, run]).nsmallest(1, "error_percent").iloc[0]
        errors = stored.retrained.loc[stored.retrained["spec_id"] == best["spec_id"], "error_percent"]
        if len(errors) > 1:
            half = stats.t.ppf(0.975, len(errors) - 1) * errors.std() / np.sqrt(len(errors))
            mean = f"{errors.mean():.2f} ± {half:.2f}"
            rows.append((study, f"{best['error_percent']:.2f}", mean, len(errors), si_format(best["macs"])))
    return [
        "The best network of each run, retrained with seeds 11 to 14 (mean with its 95 % interval). Each network is a "
        "space of its own in that study, of family compound with growth 1.",
        markdown_table(("run", "measured error %", "retrained error %", "seeds", "macs"), rows),
    ]


def _save(folder: Path, name: str, draw: Callable[[Axes], object]) -> None:
    figure = Figure(figsize=(WIDTH, 4.2), layout="constrained")
    draw(figure.subplots())
    replace_file(folder / f"{name}.svg", figure_bytes(figure, "svg", f"search-{name}").decode())


def main() -> None:
    """Parse the command line and run a command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=("run", "store", "retrained", "page"))
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="run: the table; others: study folders")
    parser.add_argument(
        "--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="run: default all cores"
    )
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="folder of the page")
    arguments = parser.parse_args()
    if arguments.command != "page" and not arguments.paths:
        parser.error(f"{arguments.command}: PATH required")
    if arguments.command == "run":
        run_all(arguments.paths[0], arguments.out, arguments.processes)
    elif arguments.command != "page":
        store(arguments.paths, arguments.out / {"store": TRAINED, "retrained": RETRAINED}[arguments.command])
    write_page(arguments.out)


if __name__ == "__main__":
    main()
