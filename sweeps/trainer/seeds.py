"""Random streams named by what they are for, so that none depends on what ran before."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, epoch: int, purpose: str) -> int:
    """A 63-bit seed from (seed, epoch, purpose): SHA-256 of the three, the same on every machine."""
    digest = hashlib.sha256(f"{seed}:{epoch}:{purpose}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(seed: int, epoch: int, purpose: str) -> torch.Generator:
    """A CPU generator for one purpose of one epoch; drawing on the CPU makes the order the same on every device."""
    return torch.Generator().manual_seed(derive_seed(seed, epoch, purpose))
