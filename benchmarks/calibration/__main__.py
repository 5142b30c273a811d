"""Simulate false positive rates of tests and coverage of intervals.

python -m benchmarks.calibration SECTION, where SECTION is one of

comparison   false positives and coverage of `compare_spaces` by n, range of macs, overlap, noise and trend
pairs        false positives of a report on 2, 5 and 12 identical spaces
macro        models needed on NAS-Bench-Macro compared to bins of equal width (reads ../shared/data)
selection    coverage of the expected and the retrained error of selected models
refine       restrictions found, coverage and false verdicts on NAS-Bench-Macro (reads ../shared/data)
agreement    rank agreement of two trainings within the top 10 %, compared to theory
recipes      coverage of the intervals of `compare_recipes`
latency      coverage of the error of a latency predictor, and of the intervals of medians and correlations
search       wrong verdicts on zero-cost scores, coverage of a surrogate's accuracy and of the best proposal's error
"""

from __future__ import annotations

import argparse
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

from benchmarks.calibration import agreement, comparison, latency, recipes, refine, search, selection

SECTIONS = {
    "pairs": comparison.many_spaces,
    "macro": comparison.power_on_macro,
    "selection": selection.run,
    "refine": refine.run,
    "agreement": agreement.run,
    "recipes": recipes.run,
    "latency": latency.run,
    "search": search.run,
}


def main() -> None:
    """Run one section and print its table. `comparison` prints each row as soon as it is done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("section", choices=("comparison", *SECTIONS))
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the table as CSV")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if arguments.section == "comparison":
        table = _comparison(arguments.repetitions, arguments.processes)
    else:
        table = SECTIONS[arguments.section](arguments.repetitions)
        print(table.round(2).to_string(index=False))
    if arguments.out:
        table.to_csv(arguments.out, index=False)


def _comparison(repetitions: int, processes: int) -> pd.DataFrame:
    rows = []
    settings = list(comparison.settings())
    with ProcessPoolExecutor(processes) as pool:
        for row in pool.map(comparison.run_setting, settings, [repetitions] * len(settings)):
            rows.append(row)
            text = pd.DataFrame(rows[-1:]).round(1).to_string(index=False, col_space=8).splitlines()
            print("\n".join(text if len(rows) == 1 else text[1:]), flush=True)
    return pd.DataFrame(rows)


if __name__ == "__main__":
    main()
