"""A folder for each exported network, with a model card; ready for a model hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from designspace.atomic import check_output, not_ours, replace_file
from designspace.counting import CONVENTIONS, complexity
from designspace.export.pycls import to_pycls
from designspace.export.target import NotExpressible
from designspace.export.timm import timm_source
from designspace.export.torchvision import torchvision_source
from designspace.files import save_spec, to_yaml
from designspace.packages import require
from designspace.spec import SCHEMA_VERSION, ModelSpec
from designspace.validated import unknown

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
"""Files that `write` can write besides spec.yaml."""


def check_folder(folder: Path, files: Sequence[str] = FILES, *, force: bool = False) -> None:
    """Check that files may be written into a folder.

    Raises:
        ValueError: one of the files exists, and the folder has no spec.yaml that this tool wrote.
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
    """Files that an export wrote, and the reason for each format that cannot express the network."""

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
    """Write a network in several formats into a folder, always with spec.yaml and a model card.

    Args:
        spec: the network.
        formats: of FORMATS. "torch" (torch.export) and "onnx" use random weights if none are given.
        out: the folder, created if missing; files of the same names are replaced.
        provenance: origin of the network, as plain values. The card describes the weights as trained only if it has the
            key `trained`.
        weights: a state dict or a safetensors file; written as model.safetensors.

    Returns:
        The names of the files, and the reason for each format that cannot express the network.

    Raises:
        ValueError: an unknown format, or weights of another network.
        MissingPackage: a package that a format requires is not installed.
    """
    for name in formats:
        if name not in FORMATS:
            raise ValueError(unknown("format", name, FORMATS))
    require(formats, weights is not None)
    written = Written(Path(out))
    origin = dict(provenance or {})
    counts = complexity(spec)
    sizes = {"macs": counts.macs, "params": counts.params, "acts": counts.acts}
    for name in ("spec.yaml", *(["spec.json"] if "json" in formats else [])):
        save_spec(spec, written.folder / name, {"schema_version": SCHEMA_VERSION, "complexity": sizes, **origin})
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
    """Write the files that need torch, which is imported only here."""
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


LOADING = {  # file: heading, code
    "model.safetensors": (
        "With designspace",
        'from designspace.export import load_network\n\nnetwork = load_network(".")    # this folder',
    ),
    "timm_network.py": (
        "With timm",
        "from timm_network import build, load\n\nnetwork = {call}",
    ),
    "torchvision_network.py": (
        "With torchvision",
        "from torchvision_network import build, load\n\nnetwork = {call}",
    ),
    "model.onnx": (
        "With onnxruntime",
        'import onnxruntime\n\nsession = onnxruntime.InferenceSession("model.onnx")\n'
        '(logits,) = session.run(["logits"], {{"images": images}})    # float32, {shape}',
    ),
    "model.pt2": ("With torch alone", 'import torch\n\nnetwork = torch.export.load("model.pt2").module()'),
    "pycls.yaml": (
        "With pycls",
        "pycls.yaml has MODEL, ANYNET or EN and the image sizes; add training settings.",
    ),
}


def model_card(spec: ModelSpec, files: tuple[str, ...], provenance: Mapping[str, Any], weights: bool) -> str:
    """A Markdown model card: description, training, complexity, loading; with the front matter of model hubs.

    Args:
        spec: the network.
        files: names of the files in the folder.
        provenance: origin of the network, shown as given. The key `trained` describes the training.
        weights: whether weights were given; otherwise programs have random weights.
    """
    title = spec.name or f"Network {spec.spec_id}"
    matter = to_yaml({"pipeline_tag": "image-classification", "tags": ["image-classification", "designspace"]})
    shape = f"(N, {spec.in_channels}, {spec.resolution}, {spec.resolution})"
    lines = ["---", matter.rstrip(), "---", "", f"# {title}", ""]
    lines += [f"Images {shape} to logits (N, {spec.head.classes}). {_blocks(spec)}", ""]
    lines += [_weights(files, weights, bool(provenance.get("trained"))), ""]
    lines += ["## Complexity", "", *_complexity(spec), ""]
    if provenance:
        lines += ["## Origin", "", "| | |", "|---|---|"]
        lines += [f"| {key.replace('_', ' ')} | {_cell(value)} |" for key, value in provenance.items()]
        lines.append("")
    lines += ["## Loading", ""]
    for file, (heading, code) in LOADING.items():
        if file in files:
            call = 'load("model.safetensors")' if "model.safetensors" in files else "build()"
            fence = "" if file == "pycls.yaml" else "python"
            text = code.format(call=call, shape=shape)
            lines += [f"{heading}:", "", *([f"```{fence}", text, "```"] if fence else [text]), ""]
    return "\n".join(lines)


def _blocks(spec: ModelSpec) -> str:
    kinds = list(dict.fromkeys(stage.block for stage in spec.stages))
    depths = "-".join(str(stage.depth) for stage in spec.stages)
    widths = "-".join(str(stage.width) for stage in spec.stages)
    return f"{', '.join(kinds).capitalize()} blocks; depths {depths}, widths {widths}. See spec.yaml."


def _weights(files: tuple[str, ...], given: bool, trained: bool) -> str:
    if given and trained:
        return "The weights are trained; see below for data and recipe."
    if given:
        return "The origin of the weights is not recorded: they may be untrained."
    programs = [file for file in ("model.pt2", "model.onnx") if file in files]
    if not programs:
        return "This folder has no weights, only the description of the network."
    return f"**Not trained**: {' and '.join(programs)} have random initial weights, for measuring speed and memory."


def _complexity(spec: ModelSpec) -> list[str]:
    rows = ["| convention | multiply-adds | parameters | activations |", "|---|---:|---:|---:|"]
    for convention in CONVENTIONS:
        counts = complexity(spec, convention)
        rows.append(f"| {convention} | {counts.macs:,} | {counts.params:,} | {counts.acts:,} |")
    return rows


def _cell(value: Any) -> str:
    if isinstance(value, Mapping) and {"value", "low", "high"} <= set(value):
        images = f" on {value['images']:,} images" if "images" in value else ""
        value = f"{value['value']} (95 %: {value['low']} to {value['high']}{images})"
    elif isinstance(value, Mapping):
        value = ", ".join(f"{key} {item}" for key, item in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")
