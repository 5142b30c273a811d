"""A folder for each exported network, to be used or pushed to a model hub as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from designspace.atomic import replace_file
from designspace.counting import complexity
from designspace.export.card import model_card
from designspace.export.optional import require
from designspace.export.pycls import to_pycls
from designspace.export.refusal import NotExpressible
from designspace.export.schema import VERSION
from designspace.export.timm import timm_source
from designspace.export.torchvision import torchvision_source
from designspace.files import save_spec, to_yaml
from designspace.outputs import check_output, not_ours
from designspace.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor

TEXTS: dict[str, tuple[str, Callable[[ModelSpec], str]]] = {  # format: file name, its text
    "pycls": ("pycls.yaml", lambda spec: to_yaml(to_pycls(spec))),
    "timm": ("timm_network.py", timm_source),
    "torchvision": ("torchvision_network.py", torchvision_source),
}
PROGRAMS = {"torch": "model.pt2", "onnx": "model.onnx"}
FORMATS = ("yaml", "json", *TEXTS, *PROGRAMS)
_TEXT_FILES = tuple(file for file, _ in TEXTS.values())
FILES = ("README.md", "spec.json", *_TEXT_FILES, *PROGRAMS.values(), "model.safetensors")
"""What `write` may write besides spec.yaml."""


def check_folder(folder: Path, files: Sequence[str] = FILES, *, force: bool = False) -> None:
    """Check that files may be written into a folder: it is new to this tool, or has a spec.yaml that this tool wrote.

    Raises:
        ValueError: one of the files is there and the folder is not this tool's.
    """
    spec = folder / "spec.yaml"
    check_output(spec, force=force)
    if force or spec.exists():
        return
    for name in files:
        if (folder / name).exists():
            raise not_ours(folder / name)


@dataclass
class Written:
    """What an export wrote: the files, and the reason for each format that cannot express the network."""

    folder: Path
    files: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)


def write(
    spec: ModelSpec,
    formats: Sequence[str],
    out: str | Path,
    *,
    provenance: Mapping[str, Any] | None = None,
    weights: Mapping[str, Tensor] | str | Path | None = None,
) -> Written:
    """Write a network in several formats into a folder, with spec.yaml and a model card in any case.

    Args:
        spec: the network.
        formats: of FORMATS. "torch" (torch.export) and "onnx" have random weights where none are given.
        out: the folder, made if it is not there; files of the same names are replaced.
        provenance: where the network comes from, as plain values. The card calls given weights trained only if
            `trained` in it says how.
        weights: a state dict or a safetensors file; written as model.safetensors.

    Returns:
        The names of the files, and the reasons of formats that cannot express the network.

    Raises:
        ValueError: an unknown format, or weights of another network.
        MissingPackage: a format's package is not installed.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise ValueError(f"format = {unknown[0]!r}: must be one of {', '.join(FORMATS)}")
    require(formats, weights is not None)
    written = Written(Path(out))
    origin = dict(provenance or {})
    counts = complexity(spec)
    sizes = {"macs": counts.macs, "params": counts.params, "acts": counts.acts}
    for name in ("spec.yaml", *(["spec.json"] if "json" in formats else [])):
        save_spec(spec, written.folder / name, {"schema_version": VERSION, "complexity": sizes, **origin})
        written.files.append(name)
    for name in [name for name in TEXTS if name in formats]:
        file, text = TEXTS[name]
        try:
            replace_file(written.folder / file, text(spec))
            written.files.append(file)
        except NotExpressible as reason:
            written.refused[name] = str(reason)
    programs = [name for name in PROGRAMS if name in formats]
    if programs or weights is not None:
        written.files += _write_weights(spec, programs, written.folder, weights)
    card = model_card(spec, tuple(written.files), origin, weights is not None)
    replace_file(written.folder / "README.md", card)
    written.files.append("README.md")
    return written


def _write_weights(
    spec: ModelSpec, programs: Sequence[str], folder: Path, weights: Mapping[str, Tensor] | str | Path | None
) -> list[str]:
    """Write what needs torch, which is imported only here."""
    from designspace.export.program import onnx_difference, save_onnx, save_program, trace
    from designspace.export.weights import WEIGHTS, network_with, save_weights

    network = network_with(spec, weights)
    files = []
    if weights is not None:
        save_weights(spec, network.state_dict(), folder / WEIGHTS)
        files.append(WEIGHTS)
    if programs:
        program = trace(network, spec)
        if "torch" in programs:
            save_program(program, folder / PROGRAMS["torch"])
        if "onnx" in programs:
            save_onnx(program, folder / PROGRAMS["onnx"])
            onnx_difference(folder / PROGRAMS["onnx"], network, spec)
        files += [PROGRAMS[name] for name in programs]
    return files
