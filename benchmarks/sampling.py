"""Speed of sampling and counting on one thread.

    python -m benchmarks.sampling

The reference does the same work for one network at a time. Times are CPU time of the process, which depends little on
other load.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable

import numpy as np

from designspace import complexity
from designspace.distributions import Choice, LogUniform, Uniform
from designspace.spaces import space as named

REGIME = (380e6, 420e6)
SECONDS = 3.0

# pycls's default ranges (sweep/config.py): d 12-28, w_0 and w_a 8-256, w_m 2-3, g 8-128, b 1; 224 pixels, 4 stages
regnet = (
    named("regnetx")
    .with_distributions(
        depth=Uniform(low=12, high=28),
        w_0=LogUniform(low=8, high=256, step=8),
        w_a=LogUniform(low=8, high=256, step=0.1),
        w_m=Uniform(low=2.0, high=3.0, step=0.001),
        group_width=Uniform(low=8, high=128, step=8),
        bottleneck_ratio=Choice(options=(1,)),
    )
    .with_constraints(macs=REGIME)
    .named("benchmark_regnetx")
)
anynet = named("anynetx_a").with_constraints(macs=REGIME)


def scalar_draw(rng: random.Random) -> float | None:
    """Multiply-adds of one draw of `regnet`; None unless it has four stages."""
    depth, w_m = rng.randint(12, 28), rng.randint(2000, 3000) / 1000
    w_0 = 8 * round(math.exp(rng.uniform(math.log(1), math.log(32))))
    w_a = round(math.exp(rng.uniform(math.log(80), math.log(2560)))) / 10
    group = 8 * rng.randint(1, 16)
    levels = [round(math.log((w_0 + w_a * j) / w_0) / math.log(w_m)) for j in range(depth)]
    widths = [round(w_0 * w_m**level / 8) * 8 for level in levels]
    stages = sorted(set(widths))
    if len(stages) != 4 or max(levels) != 3:
        return None
    macs, w_in, resolution = 27.0 * 32 * 112 * 112, 32, 112
    for raw in stages:
        g = min(group, raw)
        width = max(g, round(raw / g) * g)
        for block in range(widths.count(raw)):
            before, resolution = resolution, resolution // 2 if block == 0 else resolution
            macs += w_in * width * before**2 + (9 * g * width + width * width) * resolution**2
            macs += w_in * width * resolution**2 if block == 0 else 0
            w_in = width
    return macs + w_in * 1000


def scalar_rate() -> tuple[float, float]:
    """Draws per second and accepted networks per second of the reference."""
    rng, start, draws, kept = random.Random(0), time.process_time(), 0, 0
    while time.process_time() - start < SECONDS:
        draws += 1
        macs = scalar_draw(rng)
        kept += macs is not None and REGIME[0] <= macs <= REGIME[1]
    seconds = time.process_time() - start
    return draws / seconds, kept / seconds


def best_seconds(call: Callable[[], object], repeats: int = 5) -> float:
    """The shortest of several timings, in seconds."""
    timings = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        timings.append(time.process_time() - start)
    return min(timings)


def main() -> None:
    """Print the table."""
    draws, kept = scalar_rate()
    print(f"{'':<44}{'draws/s':>14}{'kept/s':>12}{'times the reference':>22}")
    print(f"{'reference, RegNetX 380-420 MF':<44}{draws:>14,.0f}{kept:>12,.1f}{1:>22,.0f}")
    for name, space, n in (("RegNetX 380-420 MF", regnet, 2_000), ("AnyNetX_A 380-420 MF", anynet, 10_000)):
        report = space.sample(n).report
        seconds = best_seconds(lambda space=space, n=n: space.sample(n), 3)  # type: ignore[misc]
        ours = report.kept / seconds
        ratio = f"{ours / kept:,.0f}" if space is regnet else ""
        print(f"{name + ', arrays':<44}{report.drawn / seconds:>14,.0f}{ours:>12,.0f}{ratio:>22}")
    networks = named("regnetx").sample(10_000).networks
    micros = best_seconds(lambda: complexity(networks), 20) / 10_000 * 1e6
    print(f"\ncomplexity of 10,000 RegNets in one call: {micros:.2f} µs a network")
    report = regnet.sample(2_000).report
    print(f"kept in the RegNetX regime: {report.acceptance:.3%} of the draws; numpy {np.__version__}, one thread")


if __name__ == "__main__":
    main()
