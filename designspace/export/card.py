"""The README.md of an exported network: what it is, how it was trained, its complexity, how to load it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from designspace.counting import CONVENTIONS, complexity
from designspace.files import to_yaml
from designspace.spec import ModelSpec

LOADING = {  # file: heading, code
    "model.safetensors": (
        "With designspace",
        'from designspace.export import load_network\n\nnetwork = load_network(".")    # of this folder',
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
        "MODEL, ANYNET or EN and the image sizes are in pycls.yaml; training settings are yours.",
    ),
}


def model_card(spec: ModelSpec, files: tuple[str, ...], provenance: Mapping[str, Any], weights: bool) -> str:
    """The card as Markdown with the front matter that model hubs read.

    Args:
        spec: the network.
        files: names of the files in the folder.
        provenance: where it comes from; shown as it is. Its `trained` says how the network was trained.
        weights: whether the files have weights that were given; without them programs have random ones.
    """
    title = spec.name or f"Network {spec.spec_id}"
    matter = to_yaml({"pipeline_tag": "image-classification", "tags": ["image-classification", "designspace"]})
    shape = f"(N, {spec.in_channels}, {spec.resolution}, {spec.resolution})"
    lines = ["---", matter.rstrip(), "---", "", f"# {title}", ""]
    lines += [f"Images {shape} to logits (N, {spec.head.classes}). {_blocks(spec)}", ""]
    lines += [_weights(files, weights, bool(provenance.get("trained"))), ""]
    lines += ["## Complexity", "", *_complexity(spec), ""]
    if provenance:
        lines += ["## Where it comes from", "", "| | |", "|---|---|"]
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
    return f"{', '.join(kinds).capitalize()} blocks; depths {depths}, widths {widths}. All of it is in spec.yaml."


def _weights(files: tuple[str, ...], given: bool, trained: bool) -> str:
    if given and trained:
        return "The weights are trained; how, and on what, is below."
    if given:
        return "The origin of the weights is not recorded: nothing here says whether or how they were trained."
    programs = [file for file in ("model.pt2", "model.onnx") if file in files]
    if not programs:
        return "There are no weights here, only the description of the network."
    return f"**Not trained**: {' and '.join(programs)} hold random initial weights, to measure speed and memory with."


def _complexity(spec: ModelSpec) -> list[str]:
    rows = ["| counted as | multiply-adds | parameters | activations |", "|---|---:|---:|---:|"]
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
