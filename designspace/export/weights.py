"""Weights as safetensors files, which contain no code, checked against the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from designspace.atomic import replace_file
from designspace.files import load_spec
from designspace.network import Network, build_network
from designspace.packages import optional
from designspace.spec import ModelSpec

WEIGHTS = "model.safetensors"
SPEC = "spec.yaml"


def save_weights(spec: ModelSpec, weights: Mapping[str, Tensor], path: str | Path) -> None:
    """Write a state dict with the spec as JSON in the metadata.

    Raises:
        ValueError: the weights do not match the network.
    """
    safetensors = optional("safetensors.torch", "weights")
    state = network_with(spec, weights).state_dict()
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    replace_file(path, safetensors.save(tensors, {"format": "pt", "spec": spec.to_json()}))


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU."""
    tensors: dict[str, Tensor] = optional("safetensors.torch", "weights").load_file(Path(path))
    return tensors


def network_with(spec: ModelSpec, weights: Mapping[str, Tensor] | str | Path | None, seed: int = 0) -> Network:
    """The network in evaluation mode, with weights from a state dict or a safetensors file, or initialized from a seed.

    The global random state does not change.

    Raises:
        ValueError: the weights do not match the network.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(spec)
    if weights is not None:
        state = read_weights(weights) if isinstance(weights, str | Path) else weights
        try:
            network.load_state_dict(dict(state))
        except RuntimeError as error:
            raise ValueError(
                f"weights: must be those of network {spec.spec_id}: {' '.join(str(error).split())}"
            ) from None
    return network.eval()


def load_network(folder: str | Path) -> Network:
    """The network of an exported folder in evaluation mode, with its weights.

    Raises:
        FileNotFoundError: the folder has no spec or no weights.
        ValueError: the weights do not match the spec.
    """
    folder = Path(folder)
    if not (folder / WEIGHTS).exists():
        raise FileNotFoundError(f"{folder / WEIGHTS}: missing, the folder was exported without weights")
    return network_with(load_spec(folder / SPEC), folder / WEIGHTS)
