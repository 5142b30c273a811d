"""Drawing populations: candidates come in chunks of arrays, and those that fulfil every condition are kept."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np

from designspace.arrays import leaves, map_arrays
from designspace.population import Population, SamplingReport
from designspace.spaces.constraints import checks
from designspace.spaces.families import FAMILIES
from designspace.spaces.settings import Draws, Settings
from designspace.spec import ModelSpec

CHUNK = 1 << 14  # candidates drawn at once; part of what a seed means, so never to be changed
PATIENCE = 1 << 23  # candidates without a new network after which a regime counts as hopeless


def sample(space: Settings, n: int, seed: int) -> Population:
    """See `DesignSpace.sample`."""
    if n < 1:
        raise ValueError(f"n = {n}: must be at least 1")
    if seed < 0:
        raise ValueError(f"seed = {seed}: must be at least 0")
    stream = int.from_bytes(hashlib.sha256(space.name.encode()).digest()[:8], "big")
    networks: list[ModelSpec] = []
    parameters: list[Draws] = []
    seen: set[bytes] = set()
    rejected: Counter[str] = Counter()
    chunk = last_success = 0
    while len(seen) < n:
        rng = np.random.default_rng([seed, stream, chunk])
        draws, candidates = _candidates(space, rng, rejected)
        fresh = _fresh(candidates, seen)
        rejected["duplicate"] += len(fresh) - int(fresh.sum())
        chunk += 1
        if fresh.any():
            networks.append(map_arrays(lambda array, fresh=fresh: array[fresh], candidates))
            parameters.append({name: values[fresh] for name, values in draws.items()})
            last_success = chunk
        elif (chunk - last_success) * CHUNK >= PATIENCE:
            raise ValueError(_hopeless(space, n, chunk * CHUNK, len(seen), rejected))
    return Population(
        space.name,
        seed,
        map_arrays(lambda *arrays: np.concatenate(arrays)[:n], *networks),
        {name: np.concatenate([draws[name] for draws in parameters])[:n] for name in space.parameters},
        SamplingReport(chunk * CHUNK, len(seen), {name: count for name, count in rejected.items() if count}),
    )


def _candidates(space: Settings, rng: np.random.Generator, rejected: Counter[str]) -> tuple[Draws, ModelSpec]:
    """One chunk: its draws and networks that fulfil every condition; counts the others by the first reason."""
    stages = len(space.template.strides)
    draws = {
        name: law.sample(rng, (CHUNK, stages) if law.per_stage else (CHUNK,)) for name, law in space.parameters.items()
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


def _fresh(networks: ModelSpec, seen: set[bytes]) -> np.ndarray:
    """Which networks have not been seen before; adds them to `seen`."""
    columns = [
        np.ascontiguousarray(array).view(np.uint8).reshape(len(array), array.itemsize) for array in leaves(networks)
    ]
    rows = np.concatenate(columns, axis=1)
    content, size = rows.tobytes(), rows.shape[1]
    fresh = np.zeros(len(rows), bool)
    for position in range(len(rows)):
        key = content[position * size : (position + 1) * size]
        if key not in seen:
            seen.add(key)
            fresh[position] = True
    return fresh


def _hopeless(space: Settings, n: int, drawn: int, kept: int, rejected: Counter[str]) -> str:
    reasons = ", ".join(f"{name} {count / drawn:.3%}" for name, count in rejected.most_common() if count)
    return (
        f"space {space.name}: only {kept} of n = {n} networks found in {drawn:,} draws and none in the last "
        f"{PATIENCE:,}; rejected by {reasons}; widen that range or ask for fewer"
    )
