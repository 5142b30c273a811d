import contextlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import designspace
from designspace import ModelSpec, load_spec, terminal, zoo
from designspace.cli import main
from designspace.commands import sample
from designspace.spec import BasicStage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "RegNet"], "designspace show: network = RegNet: unknown; did you mean RegNetX-200MF"),
        (["show", "no.yaml"], "designspace show: no.yaml: No such file or directory"),
        (["sample"], "designspace sample: space: required; run 'designspace spaces'"),
        (["sample", "space=regnetx", "n=0"], "designspace sample: n = 0: must be at least 1"),
        (["sample", "space=regnetx", "n=many"], "designspace sample: n = 'many': must be an integer"),
        (["sample", "regnetx"], "designspace sample: regnetx: must be KEY=VALUE"),
        (["sample", "space=regnetx", "a.=3"], "designspace sample: a.=3: must be KEY=VALUE"),
        (["sample", "space=regnetx", "macs=[1,2"], "designspace sample: macs=[1,2: not valid YAML: line"),
        (["sample", "space=[regnetx]"], "designspace sample: space = ['regnetx']: must be a name"),
        (["sample", "space=regnetx", "--out", "a.csv"], "designspace sample: out = a.csv: must end in .parquet"),
        (
            ["sample", "space=regnetx", "duplicates=5"],
            "designspace sample: duplicates = 5: must be one of keep, drop",
        ),
        (["sample", "space=regnetx", "--out", "5"], "designspace sample: out = 5: must end in .parquet"),
        (["sample", "space=5"], "designspace sample: space = 5: must be a name"),
        (["sample", "space=regnetx", "base=5"], "designspace sample: space = 5: must be a name"),
        (
            ["sample", "space=regnetx", "macs=[1,2]", "macs.low=3"],
            "designspace sample: macs = [1, 2]: must be a mapping to set macs.low",
        ),
        (
            ["sample", "space=regnetx", "constraints=5", "macs=[1,2]"],
            "designspace sample: constraints = 5: must be a mapping to set macs",
        ),
        (["sample", "space=regnetx", "macs=[1,2]", "constraints=5"], "designspace sample: constraints = 5: must"),
        (["sample", "space=regnetx", "parameters=5"], "designspace sample: parameters = 5: must"),
        (["sample", "space=regnetx", "template=5"], "designspace sample: template = 5: must"),
        (["sample", "space=regnetx", "parameters.w_m=5"], "designspace sample: parameters.w_m = 5: must"),
        (
            ["scale", "ResNet-50", "--macs", "1e9", "--rule", "x"],
            "designspace scale: rule = x: unknown; must be one",
        ),
        (["scale", "ResNet-50", "--macs", "x"], "designspace scale: --macs = x: must be a number"),
        (
            ["scale", "RegNetX-200MF", "--macs", "400"],
            "designspace scale: macs = 400: must be at least 298,224, the smallest network of rule dWr",
        ),
        (["scale", "ResNet-50", "--macs", "nan"], "designspace scale: macs = nan: must be greater than 0 and at most"),
        ([""], "designspace: command = '': unknown; run"),
        (["fly"], "designspace: command = fly: unknown; run 'designspace --help'"),
        (["shwo"], "designspace: command = shwo: unknown; did you mean show?"),
        (["show"], "designspace show: NAME|FILE: required"),
        (["show", "ResNet-50", "--all"], "designspace show: --all: unknown; see --help"),
    ],
)
def test_user_errors_are_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must contain a mapping, not an empty file"),
        ("[regnetx]", "must contain a mapping, not list"),
        ("base: 5", "space = 5: must be a name"),
        ("base: regnetx\nparameters: {depth: {hihg: 3}}", "parameters.depth.hihg = 3: unknown; did you mean high?"),
        ("name: [", "not valid YAML"),
    ],
)
def test_errors_of_space_files_name_the_problem(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    assert main(["sample", f"space={file}", "n=2"]) == 2
    assert message in capsys.readouterr().err


def test_debug_raises_the_error() -> None:
    with pytest.raises(ValueError, match=r"network = RegNet: unknown; did you mean"):
        main(["show", "RegNet", "--debug"])


@pytest.mark.parametrize("name", ["show", "sample", "spaces", "scale", "zoo", "sweep", "status", "report", "export"])
def test_every_command_has_help_with_an_example(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with contextlib.suppress(SystemExit):  # raised by argparse
        assert main([name, "--help"]) == 0
    assert f"designspace {name} " in capfd.readouterr().out


def test_help_lists_the_commands_without_heavy_imports() -> None:
    program = (
        "import sys; from designspace.cli import main; assert main(['--help']) == 0; "
        "heavy = {'numpy', 'pandas', 'pydantic', 'torch', 'matplotlib', 'hydra', 'scipy', 'sklearn', 'rich', 'yaml'}; "
        "found = heavy & set(sys.modules); assert not found, found"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Train the populations of a study" in done.stdout


def test_names_of_the_api_do_not_collide_with_submodules() -> None:
    # Importing a submodule sets an attribute of the package, which must not replace a function or class.
    submodules = {module.name for module in pkgutil.iter_modules(designspace.__path__)}
    assert submodules & set(designspace.__all__) == {"spaces", "zoo"}
    modules = {name for name in designspace.__all__ if inspect.ismodule(getattr(designspace, name))}
    assert modules == {"spaces", "zoo", "analysis", "sweeps"}
    assert set(designspace.__all__) <= set(dir(designspace))
    with pytest.raises(AttributeError, match="has no attribute 'complexities'"):
        _ = designspace.complexities


def test_show_prints_each_stage_and_the_total(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "RegNetX-200MF"]) == 0
    out = capsys.readouterr().out
    assert "stage4          bottleneck       7     368        2   1   8            7   109,057,536   2,074,048" in out
    assert "199,040,872   2,684,792   2,164,056" in out
    assert zoo.spec("RegNetX-200MF").spec_id in out


def test_sample_writes_the_population(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "population.parquet"
    arguments = ["space=anynetx_a", "n=12", "seed=3", "macs=[1e6,9e6]", "template.resolution=32", "--out", str(out)]
    assert main(["sample", *arguments]) == 0
    assert "12 networks of anynetx_a, seed 3" in capsys.readouterr().out
    frame = pd.read_parquet(out)
    assert frame.macs.between(1e6, 9e6).all()
    assert frame.spec_id.is_unique
    assert {"width_1", "width_4", "bottleneck_ratio_2", "depth", "acts"} <= set(frame)


def test_options_and_settings_may_be_in_any_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "space=regnetx", "--out", str(tmp_path / "a b.parquet"), "n=3"]) == 0
    assert main(["scale", "--macs", "3e8", "RegNetX-200MF", "--rule", "w"]) == 0
    assert "3 networks of regnetx" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["a b.parquet"]


@pytest.mark.parametrize("quoted", ["{}", '"{}"', "'{}'"])
def test_settings_that_became_options_are_deprecated(quoted: str, tmp_path: Path) -> None:
    out = tmp_path / "a b.parquet"
    with pytest.warns(FutureWarning, match=r"^out= is deprecated: use --out$"):
        assert sample(["space=regnetx", "n=3", f"out={quoted.format(out)}"]) == 0
    assert out.exists()
    with pytest.warns(FutureWarning, match=r"^lr=, try= are deprecated: use --lr, --try$"):
        replaced = terminal.replace_deprecated(
            ["lr=[0.1,0.2]", "n=3", "try=[epochs=1,epochs=2 resolution=4]"], "lr", "try"
        )
    assert replaced == ["--lr=0.1", "--lr=0.2", "n=3", "--try=epochs=1", "--try=epochs=2 resolution=4"]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("duplicates=keep", "40 distinct networks, 20 duplicate draws (33.3%) kept"),
        ("duplicates=drop", "60 distinct networks, 51 duplicate draws (45.9%) dropped"),
    ],
)
def test_sample_reports_duplicates(setting: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sample", "space=compound_d", "n=60", setting]) == 0
    assert message in capsys.readouterr().out


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_sample_plots_the_complexity_and_replaces_only_its_own_files(
    suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"population.{suffix}"
    command = ["sample", "space=regnetx", "n=20", "--plot", str(file)]
    assert main(command) == main(command) == 0
    assert f"wrote {file}" in capsys.readouterr().out
    file.write_bytes(b"an image of another tool")
    assert main(command) == 2
    assert "use --force to replace it" in capsys.readouterr().err
    assert main(["sample", "space=regnetx", "n=20", "--plot=population.pdf"]) == 2
    assert "plot = population.pdf: must end in .png or .svg" in capsys.readouterr().err


def test_scale_writes_a_spec(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "big.yaml"
    assert main(["scale", "RegNetX-200MF", "--macs", "400e6", "--out", str(out)]) == 0
    assert "rule dWr: phi = 1 multiplies macs by 2" in capsys.readouterr().out
    assert main(["show", str(out)]) == 0


def test_scale_writes_a_family(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    coefficients = ["--alpha", "1.2", "--beta", "1.1", "--gamma", "1.15"]
    assert main(["scale", "EfficientNet-B0", *coefficients, "--phi", "0,1,2", "--out", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["phi-0.yaml", "phi-1.yaml", "phi-2.yaml"]
    assert load_spec(tmp_path / "phi-0.yaml").spec_id == zoo.spec("EfficientNet-B0").spec_id
    assert main(["scale", "EfficientNet-B0", *coefficients, "--macs", "4e8,8e8", "--out", "x.yaml"]) == 2
    assert "out = x.yaml: must be a folder for 2 networks" in capsys.readouterr().err


def test_show_accepts_blocks_without_ratio_or_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = ModelSpec(stages=(BasicStage(depth=1, width=8),))
    (tmp_path / "basic.json").write_text(spec.to_json())
    assert main(["show", str(tmp_path / "basic.json")]) == 0
    assert "basic" in capsys.readouterr().out


def test_zoo_and_spaces_list_all_names(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zoo"]) == main(["spaces"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in zoo.names())
    assert "1.8e+18" in out


def test_slow_sampling_shows_progress(capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 8))
    monkeypatch.setattr("designspace.terminal.time", SimpleNamespace(monotonic=lambda: next(seconds)))
    assert sample(["space=regnetx", "n=900", "macs=[360e6,400e6]"]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"drawn: \d+ of 900, about [\d,]+ s left", lines[0])
    assert len(lines) > 1


def test_fast_sampling_shows_no_progress(capsys):
    assert sample(["space=regnetx", "n=60"]) == 0
    assert capsys.readouterr().err == ""


def test_invalid_choices_suggest_similar_values() -> None:
    parser = terminal.parser("compare", "Compare spaces.")
    parser.add_argument("--across", choices=("recipe", "data"))
    with pytest.raises(ValueError, match=r"^--across = recip: unknown; did you mean recipe\?$"):
        parser.parse_args(["--across", "recip"])


def test_sample_shows_the_rates_and_counts_models(capsys: pytest.CaptureFixture[str]) -> None:
    decay = "parameters.weight_decay={distribution: log_uniform, low: 1.0e-5, high: 1.0e-4, step: null}"
    assert main(["sample", "space=regnetx", "n=5", decay]) == 0
    out = capsys.readouterr().out
    assert "5 distinct models" in out
    assert re.search(r"weight_decay +\d\S*e-05 +\d\S*e-05 +\S+", out)
