"""The code, commands and links of README.md, docs/ and the tutorial.

The blocks of a page run in order in one folder with stored studies. A command that cannot run here, because it trains
or needs a cluster, is checked instead, and the id of its test states the reason.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.util
import io
import itertools
import os
import re
import shlex
import shutil
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from nbclient import NotebookClient

import designspace as ds
from designspace.cli import main
from designspace.export import to_pycls
from designspace.latency.predictor import LatencyPredictor
from designspace.latency.records import Condition, Latency, add_to_folder
from designspace.study import Study, StudyPaths
from sweeps.compose import compose_studies
from sweeps.study.freeze import study_space

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(
        page for page in (ROOT / "docs").rglob("*.md") if page.name != "gallery.md"
    ),  # the build of the site runs it
]
TUTORIAL = ROOT / "docs" / "tutorial.ipynb"
STUDIES = ROOT / "docs" / "mkdocs" / "studies.tar.xz"

ENVIRONMENT = os.environ | {
    "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    "PYTHONPATH": str(ROOT),
}
COPIES = {
    "smoke": ("runs/demo", "runs/mine", "runs/probed", "shared/study"),
    "searched": ("runs/study", "runs/search", "runs/scored", "runs/tpe-0", "runs/random-0"),
    "epochs-1": ("shared/epochs/1",),
    "epochs-6": ("runs/epochs-12", "shared/epochs/4"),
}
"""Further names under which the pages refer to the stored studies."""
LATENCY = Latency(5.0, 4.9, 5.1, 0.01, 6, 60, 0.0, "2026-11-26T07:00:00+00:00")
CONDITION = Condition("torch", "cpu", "AMD EPYC", 1, 1, "wall", {"torch": "2.13.0"})
PREDICTOR = LatencyPredictor(
    per_mac=0, per_act=2.4e-6, per_param=1.8e-6, per_block=0.23, constant=0, condition=CONDITION.text,
    networks=64, fastest_ms=4.4, slowest_ms=65, typical_error=0.045, error=0.16,
)  # fmt: skip
"""The predictor of docs/latency.md."""
PYCLS_SWEEP = {
    "NAME": "cifar/regnet",
    "SETUP": {
        "NUM_CONFIGS": 32,
        "SAMPLERS": {"REGNET": {"TYPE": "regnet_sampler", "DEPTH": [6, 16], "GROUP_W": [1, 32]}},
        "CONSTRAINTS": {"CX": {"FLOPS": [0.12e9, 0.13e9]}, "REGNET": {"NUM_STAGES": [2, 2]}},
        "BASE_CFG": {"MODEL": {"TYPE": "regnet", "NUM_CLASSES": 10}, "TRAIN": {"IM_SIZE": 32}},
    },
}


@dataclass(frozen=True)
class Block:
    """A fenced code block: page, number of its first line, language, code."""

    page: Path
    line: int
    language: str
    code: str

    @property
    def file(self) -> str | None:
        """File that the block shows, from a first line like `# space.yaml` or `# space.yaml: command`."""
        match = re.match(r"# (\w+\.\w+)(?=:|$)", self.code, re.MULTILINE)
        return match and match[1]

    @property
    def commands(self) -> list[str]:
        """Commands of a shell block, or in the first line of a file."""
        if self.language == "sh":
            lines = self.code.replace("\\\n", " ").splitlines()
            return [line for line in lines if line.strip() and not line.startswith("#")]
        match = re.match(r"# \w+\.\w+: (.*)", self.code)
        return [match[1]] if match else []


def blocks(page: Path) -> list[Block]:
    """Fenced code blocks of a page in order."""
    text = page.read_text()
    fences = re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [Block(page, text.count("\n", 0, fence.start(2)) + 1, fence[1], fence[2]) for fence in fences]


# Commands that do not run in the test: a pattern, the reason, and what is checked instead.


def check_config(command: str) -> None:
    """The options and overrides of a sweep, train or calibrate command are valid, and its spaces have networks."""
    words = shlex.split(re.sub(r"\$\w+", "0", command), comments=True)
    words = words[words.index("designspace") + 1 :]
    if "hydra/launcher=ray_gpu" in words:
        pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra `ray` is not installed")
    runs = []
    if words[0] != "sweep":
        with contextlib.redirect_stdout(io.StringIO()):
            assert call([*words, "--cfg", "job"]) == 0
        runs = ["run=x"]
    overrides = [
        word
        for before, word in itertools.pairwise(words)
        if re.match(r"[+~\w.@/]+=", word) and not before.startswith("--")
    ]
    folder = words[words.index("--config-dir") + 1] if "--config-dir" in words else None
    for composed in compose_studies([*overrides, *runs], multirun="-m" in words, folder=folder):
        data = composed.config.data
        image = {"resolution": data.resolution, "in_channels": data.in_channels, "classes": data.classes or 10}
        for label in composed.config.spaces:
            assert len(study_space(composed.values, label, image).sample(1)) == 1


def check_options(command: str) -> None:
    """The command's help lists its options."""
    name, *words = shlex.split(command, comments=True)[1:]
    with contextlib.redirect_stdout(io.StringIO()) as output:
        assert call([name, "--help"]) == 0
    options = {word.partition("=")[0] for word in words if re.match("--[a-z]", word)}
    assert options <= set(re.findall(r"--[a-z-]+", output.getvalue()))


def call(arguments: list[str]) -> int:
    """Exit code of `designspace ARGUMENTS…`, also if the command exits, as for --help and --cfg."""
    try:
        return main(arguments)
    except SystemExit as stopped:
        return int(stopped.code or 0)


def check_target(command: str) -> None:
    """The Makefile has the target."""
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(shlex.split(command, comments=True)[1:]) <= set(targets)


def check_extras(command: str) -> None:
    """The extras of this package exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for names in re.findall(r"(?:cnn-designspace|\.)\[([\w,]+)\]", command):
        assert set(names.split(",")) <= set(extras)


def check_module(command: str) -> None:
    """The module exists."""
    match = re.search(r"python -m (\S+)", command)
    assert match
    assert importlib.util.find_spec(match[1])


def check_nothing(command: str) -> None:
    """The command belongs to another program."""
    assert shlex.split(command, comments=True)


CHECKED: tuple[tuple[str, str, Callable[[str], None]], ...] = (
    (r"designspace (train|calibrate) |(torchrun|srun) .*designspace train ", "trains", check_config),
    (r"\s*(nohup )?designspace sweep (?!.*--cfg)", "trains or measures", check_config),
    (r"designspace \w+ .*--watch", "runs until interrupted", check_options),
    (r"designspace latency ", "takes a minute", check_options),
    (r"designspace predict .*--count 100000", "takes a minute", check_options),
    (r"designspace scale .*--from ", "needs a study of coefficients", check_options),
    (r"designspace track .*--to (mlflow|wandb)", "needs a server or writes to an account", check_options),
    (r"make ", "runs everything", check_target),
    (r"pip install ", "changes the environment", check_extras),
    (r"(\.venv/bin/)?python -m (?!venv)", "takes long", check_module),
    (r"python -m venv |fresh/bin/", "makes an environment", check_nothing),
    (r"ssh |git ", "needs another machine or a repository", check_nothing),
    (r"(docker|apptainer|sbatch|qsub|bsub) ", "needs a cluster or a container runtime", check_nothing),
    (r"tensorboard |optuna-dashboard |for |done|cd ", "belongs to another program or the shell", check_nothing),
)


def rule(command: str) -> tuple[str, Callable[[str], None]] | None:
    """Reason and check of a command that does not run here."""
    return next(((reason, check) for pattern, reason, check in CHECKED if re.match(pattern, command)), None)


def checked() -> Iterator[object]:
    """Every command that does not run, once, with page, line and reason as its id."""
    seen = set()
    for page in PAGES:
        for block in blocks(page):
            for command in block.commands:
                if command not in seen and (found := rule(command)):
                    seen.add(command)
                    name = f"{page.relative_to(ROOT)}:{block.line} {found[0]}: {command.partition(' #')[0][:60]}"
                    yield pytest.param(block.page, command, id=name)


@pytest.fixture(scope="session")
def studies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stored studies, unpacked."""
    folder = tmp_path_factory.mktemp("studies")
    with tarfile.open(STUDIES) as archive:
        archive.extractall(folder, filter="data")
    return folder / "runs"


@pytest.fixture
def files(tmp_path: Path, shuffle_blocks: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with the files that pages mention; the package of docs/blocks.md is installed."""
    rng = np.random.default_rng(0)
    layers = np.repeat([12, 16, 20, 24], 10)
    columns = {"arch": np.where(layers < 18, "shallow", "deep"), "gmacs": rng.uniform(0.3, 0.6, 40).round(3)}
    columns |= {"val/acc": (90 + layers / 10 + rng.normal(0, 1, 40)).round(2), "layers": layers, "tag": "a"}
    pd.DataFrame(columns).to_csv(tmp_path / "nets.csv", index=False)
    ds.save_spec(ds.zoo.spec("RegNetX-200MF"), tmp_path / "spec.yaml")
    (tmp_path / "epyc.yaml").write_text(PREDICTOR.to_file(".yaml"))
    config = tmp_path / "my_configs" / "experiment" / "mine.yaml"
    config.parent.mkdir(parents=True)
    config.write_text("# @package _global_\nspaces: {mine: regnetx}\n")
    pycls = {
        "RegNetX-400MF_dds_8gpu.yaml": to_pycls(ds.zoo.spec("RegNetX-400MF")),
        "configs/sweeps/cifar/cifar_regnet.yaml": PYCLS_SWEEP,
    }
    for name, config in pycls.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    modules = set(sys.modules)
    yield tmp_path
    plt.close("all")
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def folder(studies: Path, files: Path) -> Path:
    """The current folder, with the studies that pages mention as well."""
    shutil.copytree(studies, files / "runs")
    for name, copies in COPIES.items():
        for copy in copies:
            shutil.copytree(studies / name, files / copy)
    demo = files / "runs" / "demo"
    latencies = {
        model.spec_id: replace(LATENCY, median_ms=model.macs / 1e6 + model.acts / 1e5)
        for model in Study.open(demo).models
    }
    add_to_folder(StudyPaths(demo).latency, CONDITION, latencies)
    return files


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)], ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_runs(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Python blocks share one namespace. A block that shows a file is saved. Commands run in order."""
    plt.switch_backend("agg")
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.file:
            (folder / block.file).write_text(block.code)
        elif block.language == "python":
            exec(compile("\n" * (block.line - 1) + block.code, str(page), "exec"), namespace)
        for command in block.commands:
            if rule(command) is None:
                name, *words = shlex.split(command.replace("/shared/", "shared/"), comments=True)
                arguments = [path for word in words for path in (sorted(glob.glob(word)) or [word])]
                assert name == "designspace", f"{page.name}:{block.line}: {command}: needs a rule in CHECKED"
                assert call(arguments) == 0, f"{page.name}:{block.line}: {command}\n{capsys.readouterr().err}"


@pytest.mark.parametrize(("page", "command"), list(checked()))
def test_a_command_that_does_not_run_is_valid(page: Path, command: str, files: Path) -> None:
    """In a folder with the files of its page, and next.yaml, which refine writes."""
    ds.spaces.save_space(ds.space("anynetx_a"), "next.yaml", "depth <= 20")
    for block in blocks(page):
        if block.file:
            (files / block.file).write_text(block.code)
    found = rule(command)
    assert found
    found[1](command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_files_in_the_text_of_a_page_exist(page: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    commands = set(re.findall(r"^  (\w+) ", capsys.readouterr().out, re.MULTILINE))
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert set(re.findall(r"`designspace ([a-z]+)", text)) <= commands
    for module in re.findall(r"`python -m ([\w.]+)", text):
        assert importlib.util.find_spec(module), module
    for test in re.findall(r"`(?:pytest )?(tests/[\w/]+\.py)", text):
        assert (ROOT / test).exists(), test


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_tutorial_is_stored_without_output() -> None:
    notebook = nbformat.read(TUTORIAL, as_version=4)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PATH", "PYTHONPATH"):
        monkeypatch.setenv(name, ENVIRONMENT[name])
    notebook = nbformat.read(TUTORIAL, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert "\\u001b" not in nbformat.writes(notebook)  # escape codes of a terminal
