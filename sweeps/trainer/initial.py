"""Initial weights of a training, from a file of another training."""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from designspace.export.weights import WEIGHTS
from designspace.network import build_network
from designspace.packages import optional
from designspace.spec import ModelSpec
from designspace.validated import read_regular, shorten

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class InitialWeights:
    """Weights that replace those of a new network before its first update.

    Attributes:
        path: the file.
        sha256: of the file.
        tensors: state dict on the CPU, without the classifier if the file has another number of classes.
        head: "loaded" or "initialized".
    """

    path: Path
    sha256: str
    tensors: Mapping[str, Tensor]
    head: str

    def load_into(self, network: nn.Module) -> None:
        """Replace the weights of a network of the spec."""
        network.load_state_dict(dict(self.tensors), strict=self.head == "loaded")


def read_initial_weights(path: str | Path, spec: ModelSpec) -> InitialWeights:
    """Read weights for the network of a spec; log a warning if the number of classes differs.

    Args:
        path: a .safetensors file, a state dict saved by `torch.save`, or the folder of a trained network.
        spec: the network.
    Raises:
        ValueError: the file cannot be read, or a tensor other than the classifier does not fit.
    """
    path = Path(path)
    file = path / WEIGHTS if path.is_dir() else path
    try:
        content = read_regular(file)
    except FileNotFoundError:
        raise ValueError(f"weights = {file}: must be an existing file") from None
    except (ValueError, OSError) as error:
        raise ValueError(f"weights = {file}: {getattr(error, 'strerror', None) or error}") from None
    tensors = dict(_parse(file, content))
    with torch.device("meta"):
        network = build_network(spec)
    own = network.state_dict()
    for name in own:
        if name not in tensors:
            raise ValueError(
                f"weights = {file}: must have the tensors of network {spec.spec_id}, but {name} is missing"
            )
    for name in tensors:
        if name not in own:
            raise ValueError(f"weights = {file}: must have the tensors of network {spec.spec_id}, not {shorten(name)}")
    classifier = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)][-1]
    of_classes = (f"{classifier}.weight", f"{classifier}.bias")
    other_classes = tensors[of_classes[0]].shape[:1] != own[of_classes[0]].shape[:1]
    for name, tensor in own.items():
        given, needed = list(tensors[name].shape), list(tensor.shape)
        compared = slice(1 if other_classes and name in of_classes else 0, None)
        if given[compared] != needed[compared]:
            raise ValueError(f"weights = {file}: {name} has shape {given}: must be {needed}")
    if other_classes:
        classes = len(tensors[of_classes[0]])
        log.warning(
            "weights = %s: has %d classes, the data %d: the head is newly initialized", file, classes, spec.head.classes
        )
        tensors = {name: tensor for name, tensor in tensors.items() if name not in of_classes}
    head = "initialized" if other_classes else "loaded"
    return InitialWeights(file, hashlib.sha256(content).hexdigest(), tensors, head)


def _parse(file: Path, content: bytes) -> Mapping[str, Tensor]:
    """The tensors of a file by name."""
    try:
        if file.suffix == ".safetensors":
            tensors = optional("safetensors.torch", "weights").load(content)
        else:
            tensors = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except ImportError:
        raise
    except Exception as error:  # both libraries raise many types for a damaged file
        reason = (str(error).splitlines() or [""])[0]
        raise ValueError(f"weights = {file}: must be a .safetensors file or a state dict: {shorten(reason)}") from None
    if not isinstance(tensors, Mapping) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise ValueError(f"weights = {file}: must be a state dict, which maps names to tensors")
    return tensors
