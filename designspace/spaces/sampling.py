"""Sampling populations: candidates are drawn in chunks of arrays; those that satisfy every constraint are kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable

import numpy as np

from designspace.arrays import leaves, map_arrays
from designspace.population import Population, SamplingReport
from designspace.spaces.constraints import checks
from designspace.spaces.families import FAMILIES
from designspace.spaces.settings import Draws, Settings
from designspace.spec import ModelSpec

CHUNK = 1 << 14
"""Candidates drawn at once. It is part of what a seed means: another value gives other populations."""

PATIENCE = 1 << 23
"""Sampling gives up after so many candidates of which none was added to the population."""


def sample(space: Settings, n: int, seed: int, on_progress: Callable[[int], None] | None = None) -> Population:
    """See `DesignSpace.sample`."""
    if n < 1:
        raise ValueError(f"n = {n}: must be at least 1")
    if seed < 0:
        raise ValueError(f"seed = {seed}: must be at least 0")
    stream = int.from_bytes(hashlib.sha256(space.name.encode()).digest()[:8], "big")
    networks: list[ModelSpec] = []
    parameters: list[Draws] = []
    rejected: Counter[str] = Counter()
    seen: set[bytes] = set()
    chunks = last_success = kept = members = duplicates = 0
    while members < n:
        draws, candidates = _candidates(space, np.random.default_rng([seed, stream, chunks]), rejected)
        new = _new(candidates, seen)
        chosen = np.flatnonzero(new) if space.duplicates == "drop" else np.arange(len(new))
        chosen = chosen[: n - members]
        chunks += 1
        kept += len(new)
        members += len(chosen)
        considered = new[: chosen[-1] + 1] if members == n else new
        duplicates += int(np.sum(~considered))
        if len(chosen):
            networks.append(map_arrays(lambda array, chosen=chosen: array[chosen], candidates))
            parameters.append({name: values[chosen] for name, values in draws.items()})
            last_success = chunks
        elif (chunks - last_success) * CHUNK >= PATIENCE:
            raise ValueError(_hopeless(space, n, chunks * CHUNK, members, kept, rejected))
        if on_progress is not None:
            on_progress(members)
    return Population(
        space.name,
        seed,
        map_arrays(lambda *arrays: np.concatenate(arrays), *networks),
        {name: np.concatenate([draws[name] for draws in parameters]) for name in space.parameters},
        SamplingReport(
            drawn=chunks * CHUNK,
            kept=kept,
            rejected={name: count for name, count in rejected.items() if count},
            distinct=n if space.duplicates == "drop" else n - duplicates,
            duplicates=duplicates,
        ),
    )


def _candidates(space: Settings, rng: np.random.Generator, rejected: Counter[str]) -> tuple[Draws, ModelSpec]:
    """Draws and networks of one chunk that satisfy every constraint; the others are counted in `rejected`."""
    stages = len(space.template.strides)
    draws = {
        name: distribution.sample(rng, (CHUNK, stages) if distribution.per_stage else (CHUNK,))
        for name, distribution in space.parameters.items()
    }
    for name in space.increasing:
        kept = np.all(np.diff(draws[name], axis=1) >= 0, axis=1)
        rejected[f"{name} decreases"] += len(kept) - int(kept.sum())
        draws = {key: values[kept] for key, values in draws.items()}

    family = FAMILIES[space.family] if isinstance(space.family, str) else space.family
    kept, networks = family(space, draws)
    rejected[f"not {stages} stages"] += len(kept) - int(kept.sum())
    draws = {name: values[kept] for name, values in draws.items()}

    kept = np.ones(int(kept.sum()), bool)
    for name, inside in checks(space.constraints, networks, draws):
        rejected[name] += int(np.sum(kept & ~inside))
        kept &= inside
    return {name: values[kept] for name, values in draws.items()}, map_arrays(lambda array: array[kept], networks)


def _new(networks: ModelSpec, seen: set[bytes]) -> np.ndarray:
    """Which networks are not in `seen`, the first of equal ones only (bool, shape (N,)); adds them to it."""
    columns = [
        np.ascontiguousarray(array).view(np.uint8).reshape(len(array), array.itemsize) for array in leaves(networks)
    ]
    rows = np.concatenate(columns, axis=1)
    new = np.zeros(len(rows), bool)
    for position, key in enumerate(rows.view(f"V{rows.shape[1]}").ravel().tolist()):
        if key not in seen:
            seen.add(key)
            new[position] = True
    return new


def _hopeless(space: Settings, n: int, drawn: int, members: int, kept: int, rejected: Counter[str]) -> str:
    reasons = [f"{name} {count / drawn:.3%}" for name, count in rejected.most_common() if count]
    advice = "widen that range or ask for fewer"
    if kept > members:
        reasons.append(f"duplicate {(kept - members) / drawn:.3%}")
        advice += ", or set duplicates = keep"
    return (
        f"space {space.name}: only {members} of n = {n} networks found in {drawn:,} draws and none in the last "
        f"{PATIENCE:,}; rejected by {', '.join(reasons)}; {advice}"
    )
