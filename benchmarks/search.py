"""Search strategies on a table of trained networks, against random search in closed form.

    python -m benchmarks.search run ../shared/data/nas-bench-macro.csv    # about an hour on one core
    python -m benchmarks.search pages

NAS-Bench-Macro (Su et al. 2021, arXiv 2103.11922) has 6,561 networks: one of three operations in each of 8 layers,
each network trained three times on CIFAR-10. A search sees the error of one of the three trainings, drawn at random once
per network and repetition. Its result is the network with the smallest error that it saw, judged by the mean error of
the three.
"""

from __future__ import annotations

import argparse
import json
import os
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.plots import plot_search
from analysis.plots.style import WIDTH, group_styles, legend_above, tidy
from analysis.select import pareto_front
from benchmarks.studies.markdown import markdown_table
from designspace.atomic import replace_file
from designspace.distributions import Choice, Distribution, Uniform
from designspace.figures import figure_bytes

FOLDER = Path(__file__).parents[1] / "docs" / "studies" / "search"
TABLE, REFERENCE, DISCUSSION, PAGE = "searches.parquet", "reference.parquet", "discussion.md", "README.md"

LAYERS, OPERATIONS = 8, 3
BUDGET, START, REPETITIONS = 200, 20, 30
MODELS = (25, 50, 100, 200)
"""Numbers of models in the table of the page."""
FRONT = ("tpe", "nsga2", "random")
"""Strategies for two objectives."""
WORKERS = 4
"""Networks in training at once, in the runs with parallel workers."""
ASKS = 20
"""Most asks for a network that was not trained yet, after which the next random draw is trained."""
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
        Columns `models`, `expected`, `lower`, `quarter`, `median`, `three_quarters`, `upper`: 2.5, 25, 50, 75 and 97.5 %
        of random searches have a smaller error.
    """
    seen = networks.errors.ravel()
    judged = np.repeat(networks.mean, networks.errors.shape[1])
    order = np.argsort(seen, kind="stable")
    above = 1 - np.arange(len(seen) + 1) / len(seen)
    by_error = np.argsort(judged[order], kind="stable")
    errors = judged[order][by_error]
    rows = []
    for models in range(1, BUDGET + 1):
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
    """Run all strategies and store what they trained, with the closed form of random search."""
    networks = Networks(path)
    with ProcessPoolExecutor(processes) as pool:
        frame = pd.concat(pool.map(_run, [(path, run) for run in runs()]), ignore_index=True)
    folder.mkdir(parents=True, exist_ok=True)
    small = {name: "int16" for name in ("objectives", "workers", "repetition", "model", "network", "fallbacks")}
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


def main() -> None:
    """Parse the command line and run a command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__.partition("\n")[0])
    parser.add_argument("command", choices=("run", "pages"))
    parser.add_argument("table", nargs="?", type=Path, metavar="FILE", help="run: nas-bench-macro.csv")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1, metavar="N", help="run: default all cores")
    parser.add_argument("--out", type=Path, default=FOLDER, metavar="DIR", help="folder of the page")
    arguments = parser.parse_args()
    if arguments.command == "run":
        if arguments.table is None:
            parser.error("run: FILE required")
        run_all(arguments.table, arguments.out, arguments.processes)
    write_page(arguments.out)


if __name__ == "__main__":
    main()
