import subprocess
import sys
import tomllib
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

import analysis.report
from analysis import commands, load
from analysis.commands import compare, edf, export, fit, report, select, trends
from analysis.compare import compare_spaces
from analysis.figures import report_figures
from analysis.rows import apply_failure_policy
from designspace import ModelSpec, load_spec, save_spec, zoo
from designspace.export import to_pycls
from designspace.files import to_yaml

ALL = (report, edf, compare, fit, trends, select, export)


@pytest.fixture
def one_figure(monkeypatch):
    """Reports with their first figure only: drawing takes most of the time and is tested elsewhere."""
    monkeypatch.setattr(analysis.report, "report_figures", lambda findings: islice(report_figures(findings), 1))


@pytest.mark.usefixtures("one_figure")
def test_report_writes_a_page_and_figures_and_prints_a_summary(study, capsys):
    assert report([str(study)]) == 0
    printed = capsys.readouterr().out
    assert (study / "report.html").stat().st_size > 50_000
    assert (study / "figures" / "edf.png").exists()
    for part in ("bottleneck", "inverted", "mean %", "policy worst", str(study / "report.html")):
        assert part in printed.replace("\n", " ") or part in printed


@pytest.mark.usefixtures("one_figure")
def test_report_of_two_studies_with_another_policy(study, tmp_path, make_study, capsys):
    other = make_study(tmp_path / "other", n=8, recipe_id="f" * 16)
    out = tmp_path / "out"
    arguments = [str(study), str(other), "--failures", "error=90", "--match", "params", "--out", str(out)]
    with pytest.raises(ValueError, match="different recipes"):
        report(arguments)
    assert report([*arguments, "--across", "recipe"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "policy error=90" in printed
    assert "Warning: the models were trained with different recipes" in printed
    page = (out / "report.html").read_text()
    assert "other/inverted" in page
    assert "--failures error=90" in page
    assert not (study / "report.html").exists()


def test_export_writes_specs_that_load_back_to_the_same_networks(study, tmp_path, capsys):
    out = tmp_path / "specs"
    assert export([str(study), "--top", "3", "--to", "yaml", "--out", str(out)]) == 0
    frame = load(study).frame
    best = frame[frame["status"] == "ok"].sort_values("error_percent", kind="stable").head(3)
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"{i}-{s[:8]}.yaml" for i, s in enumerate(best["spec_id"], start=1)]
    for file, (_, row) in zip(files, best.iterrows(), strict=True):
        assert load_spec(file).spec_id == row["spec_id"]
        provenance = yaml.safe_load(file.read_text())["provenance"]
        assert provenance["spec_id"] == row["spec_id"]
        assert provenance["validation_error_percent"] == row["error_percent"]
        assert (provenance["space"], provenance["index"], provenance["study"]) == (row["space"], row["index"], "study")
        assert "2 epochs" in provenance["trained"]
        expected, retrained = provenance["expected_error_percent"], provenance["retrained_error_percent"]
        assert retrained["low"] < expected["low"] < expected["value"] < expected["high"] < retrained["high"]
        assert "optimistic" in provenance["chosen"]
    assert capsys.readouterr().out.count("% validation error") == 3


def test_export_in_both_formats(study, tmp_path):
    assert export([str(study), "--top", "1", "--to", "yaml,json", "--out", str(tmp_path / "s")]) == 0
    one, other = sorted((tmp_path / "s").iterdir())
    assert {one.suffix, other.suffix} == {".json", ".yaml"}
    assert load_spec(one) == load_spec(other)


def test_export_to_other_tools_makes_a_folder_for_each_model(study, tmp_path):
    assert export([str(study), "--top", "2", "--to", "yaml,pycls,timm,torchvision", "--out", str(tmp_path / "s")]) == 0
    for folder in (tmp_path / "s").iterdir():
        assert {"README.md", "spec.yaml"} <= {path.name for path in folder.iterdir()}
        assert load_spec(folder / "spec.yaml").spec_id.startswith(folder.name.split("-")[1])
        assert "validation error percent" in (folder / "README.md").read_text()


def test_export_without_onnx_writes_the_other_formats_and_fails(study, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    out = tmp_path / "models"
    assert export([str(study), "--top", "1", "--to", "timm,onnx", "--out", str(out)]) == 1
    assert [path.name for path in out.glob("*/*.py")] == ["timm_network.py"]
    message = "onnx not written: onnx is not installed: run pip install 'cnn-designspace[onnx]'"
    assert message in capsys.readouterr().err
    with pytest.raises(ValueError, match="onnx is not installed"):
        export([str(study), "--to", "onnx", "--out", str(tmp_path / "none")])
    assert not (tmp_path / "none").exists()


def test_export_reads_specs_and_pycls_files_and_sets_the_file_names(tmp_path, capsys):
    spec = ModelSpec.from_mapping(zoo.spec("RegNetX-200MF").to_mapping() | {"name": "../../../outside"})
    save_spec(spec, tmp_path / "ours.yaml")
    (tmp_path / "pycls.yml").write_text(to_yaml(to_pycls(spec)))
    out = tmp_path / "a" / "b" / "c" / "out"
    given = [str(tmp_path / "ours.yaml"), str(tmp_path / "pycls.yml")]
    before = set(tmp_path.rglob("*"))
    assert export([*given, "--to", "json,yaml", "--out", str(out)]) == 0
    assert export([*given, "--to", "timm", "--out", str(out)]) == 0
    written = {path for path in set(tmp_path.rglob("*")) - before if path.is_file()}
    names = [f"{number}-{spec.spec_id[:8]}" for number in (1, 2)]
    folders = {out / name / file for name in names for file in ("spec.yaml", "README.md", "timm_network.py")}
    assert written == folders | {out / f"{name}.{suffix}" for name in names for suffix in ("yaml", "json")}
    assert load_spec(out / f"{names[1]}.yaml").spec_id == spec.spec_id
    capsys.readouterr()
    for option, value in (("top", "2"), ("pareto", "macs"), ("where", "depth>1")):
        with pytest.raises(ValueError, match=f"^{option} = {value}: must be omitted with spec files"):
            export([given[0], f"--{option}", value, "--out", str(out)])
    with pytest.raises(ValueError, match=r"RUN = runs/demo: must be a YAML file too"):
        export([given[0], "runs/demo", "--out", str(out)])


def test_export_selects_within_ranges_and_on_the_front(study, tmp_path):
    frame = load(study).frame
    limit = float(frame["macs"].median())
    assert export([str(study), "--within", f"macs=0:{limit}", "--pareto", "macs", "--out", str(tmp_path / "s")]) == 0
    macs = [yaml.safe_load(file.read_text())["provenance"]["macs"] for file in sorted((tmp_path / "s").iterdir())]
    assert max(macs) <= limit
    assert macs == sorted(macs, reverse=True)  # best first: on the front, a better model costs more


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (export, ["--within", "macs=3", "--out", "x"], "within = 'macs=3': must be COLUMN=LOW:HIGH"),
        (export, ["--within", "macs=1:2", "--out", "x"], "within = macs=1:2: must contain some model"),
        (report, ["--failures", "best"], "failures = 'best': must be worst, drop or error=NUMBER"),
        (report, ["--match", "flops"], "match = flops: unknown; must be one of macs, params, acts, none"),
        (compare, ["--map", "error=acc"], "map: must be omitted for study folders"),
        (export, ["--to", "tflite", "--out", "x"], "to = tflite: unknown; must be one of yaml, json, pycls"),
        (export, ["--top", "0", "--out", "x"], "top = 0: must be at least 1"),
    ],
)
def test_invalid_options_are_one_line_errors(study, command, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        command([str(study), *arguments])


def test_a_folder_that_is_not_a_study_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a study folder"):
        report([str(tmp_path)])


@pytest.mark.parametrize(("command", "default"), [(edf, "none"), (compare, "macs"), (report, "macs")])
def test_help_states_the_default_of_match(command, default, capsys):
    with pytest.raises(SystemExit):
        command(["--help"])
    assert f"as drawn (default {default})" in " ".join(capsys.readouterr().out.split())


def test_export_rejects_options_without_effect(study, capsys):
    with pytest.raises(ValueError, match=r"--by.*: unknown; see --help"):
        export([str(study), "--by", "depth", "--out", "x"])


@pytest.mark.parametrize("command", ALL)
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(["--help"])
    assert stopped.value.code == 0
    assert f"designspace {command.__name__} runs/demo" in capsys.readouterr().out


def test_every_command_is_an_entry_point():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = project["entry-points"]["designspace.commands"]
    for name in commands.__all__:
        assert declared[name] == f"analysis.commands:{name}"
        assert getattr(commands, name).__doc__.strip().splitlines()[0].endswith(".")


def test_importing_the_commands_imports_nothing_heavy():
    heavy = {"numpy", "pandas", "pydantic", "matplotlib", "torch", "hydra", "rich", "sklearn", "scipy"}
    code = f"import sys; import analysis.commands; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_neither_torch_nor_sweeps_nor_pyplot_is_imported(study):
    code = (
        "import sys; from analysis import commands; import analysis.report;"
        f"commands.compare([{str(study)!r}]); commands.edf([{str(study)!r}, '--out', {str(study / 'edf.svg')!r}]);"
        "print('ALL', sorted({'torch', 'sweeps', 'hydra', 'matplotlib.pyplot', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "ALL []" in done.stdout


def test_edf_prints_quantiles_and_writes_the_curve(study, tmp_path, capsys):
    assert edf([str(study), "--out", str(tmp_path / "new" / "edf.csv")]) == 0
    printed = capsys.readouterr().out
    assert "policy worst" in " ".join(printed.split())
    assert "Band: exact 95%" in printed
    curve = pd.read_csv(tmp_path / "new" / "edf.csv")
    assert list(curve.columns[:5]) == ["space", "error", "fraction", "lower", "upper"]
    assert edf([str(study), "--match", "macs", "--out", str(tmp_path / "edf.svg")]) == 0
    assert (tmp_path / "edf.svg").read_text().startswith("<?xml")
    assert "effective n" in capsys.readouterr().out


def test_compare_writes_the_result_of_compare_spaces(study, tmp_path, capsys):
    assert compare([str(study), "--out", str(tmp_path / "pairs.csv"), "--match", "params"]) == 0
    assert "At equal parameters" in capsys.readouterr().out
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    known = apply_failure_policy(load(study).frame).frame
    expected = compare_spaces(known, match="params")
    assert pairs["difference"].tolist() == pytest.approx(expected["difference"].tolist())
    assert compare([str(study), "--out", str(tmp_path / "pairs.png")]) == 0
    assert (tmp_path / "pairs.png").read_bytes().startswith(b"\x89PNG")


def test_fit_writes_one_row_per_model(study, tmp_path, capsys):
    assert fit([str(study), "--failures", "drop", "--out", str(tmp_path / "fit.csv")]) == 0
    fits = pd.read_csv(tmp_path / "fit.csv")
    assert len(fits) == 43
    assert (fits["fit_error"] < 0.15).all()
    assert (fits["fit_error_continuous"] < 0.15).all()
    assert (fits["fit_error_continuous"] != fits["fit_error"]).any()
    assert "policy drop" in " ".join(capsys.readouterr().out.split())


def test_fit_reads_widths_from_a_table_and_its_own_output(tmp_path, capsys):
    rows = "20,8 16 16 32\n30,8 8 16 16\n40,16 8 64 8\n50,24 24\n60,8 16 32 64\n"
    (tmp_path / "nets.csv").write_text("error,w\n" + rows)
    assert fit([str(tmp_path / "nets.csv"), "--map", "error,widths=w", "--out", str(tmp_path / "fit.csv")]) == 0
    assert fit([str(tmp_path / "fit.csv"), "--out", str(tmp_path / "again.csv")]) == 0
    one, two = pd.read_csv(tmp_path / "fit.csv"), pd.read_csv(tmp_path / "again.csv")
    pd.testing.assert_frame_equal(one.drop(columns=["study", "space"]), two.drop(columns=["study", "space"]))
    with pytest.raises(ValueError, match="widths: required and missing; map them, such as widths=COLUMN"):
        fit([str(tmp_path / "nets.csv"), "--map", "error"])


def test_published_regnets_follow_the_quantized_linear_rule(shared_data, tmp_path):
    path = str(shared_data("regnet_params.csv"))
    out = ["--out", str(tmp_path / "fit.csv")]
    assert fit([path, "--map", "name,error_percent=d,widths=widths_raw,depths", *out]) == 0
    assert pd.read_csv(tmp_path / "fit.csv")["fit_error"].max() < 1e-9


def test_the_output_of_select_can_be_read_again(study, tmp_path):
    assert select([str(study), "--top", "6", "--out", str(tmp_path / "best.csv")]) == 0
    table, best = load(tmp_path / "best.csv"), pd.read_csv(tmp_path / "best.csv")
    assert table["error_percent"].tolist() == best["error_percent"].tolist()
    original = (
        load(study).frame.set_index(["spec_id", "space"]).loc[list(zip(best["spec_id"], best["space"], strict=True))]
    )
    for column in ("block_widths", "epoch_validation_error_percent", "macs", "recipe_id", "status", "index"):
        assert table[column].tolist() == original[column].tolist()
    for command in (edf, select, fit, compare):
        assert command([str(tmp_path / "best.csv"), *(["--match", "none"] if command is compare else [])]) == 0


def test_select_shows_every_objective(tmp_path, capsys):
    rows = "".join(f"{20 + i},{100 - i},{i + 0.5}\n" for i in range(8))
    (tmp_path / "nets.csv").write_text("error,macs,latency\n" + rows)
    assert select([str(tmp_path / "nets.csv"), "--map", "error,macs", "--pareto", "macs,latency"]) == 0
    printed = capsys.readouterr().out
    assert "latency" in printed
    assert "7.50" in printed


def test_trends_of_all_and_of_one_parameter(study, tmp_path, capsys):
    assert trends([str(study), "--out", str(tmp_path / "t.csv")]) == 0
    printed = capsys.readouterr().out
    for part in ("depth", "importance", "supporting"):
        assert part in printed
    assert set(pd.read_csv(tmp_path / "t.csv")["parameter"]) >= {"depth", "w_a", "macs"}
    assert trends([str(study), "--parameter", "depth", "--out", str(tmp_path / "d.png")]) == 0
    assert (tmp_path / "d.png").exists()


def test_select_on_the_front_and_by_regime(study, tmp_path, capsys):
    assert select([str(study), "--pareto", "macs", "--out", str(tmp_path / "front.csv")]) == 0
    front = pd.read_csv(tmp_path / "front.csv")
    assert (np.diff(front["macs"]) < 0).all()
    assert front["estimate"].notna().all()  # noise from the size of the validation split
    assert "one more training" in " ".join(capsys.readouterr().out.split())
    assert select([str(study), "--top", "1", "--regimes", "2", "--noise", "0.3"]) == 0
    assert capsys.readouterr().out.count(" to ") >= 2


def test_every_command_reads_a_table_file(tmp_path, capsys):
    rng = np.random.default_rng(0)
    raw = pd.DataFrame(
        {"net": [f"n{i:02}" for i in range(40)], "gmacs": rng.uniform(1, 4, 40), "layers": rng.integers(3, 9, 40)}
    )
    raw["acc"], raw["kind"] = 80 + raw["layers"] - rng.random(40), rng.choice(["x", "y"], 40)
    raw.to_csv(tmp_path / "nets.csv", index=False)
    common = [
        str(tmp_path / "nets.csv"),
        "--map",
        "name=net,error=100-acc",
        "--map",
        "macs=gmacs*1e9,layers",
        "--by",
        "kind",
    ]
    for command in (edf, compare, trends, select):
        assert command(common) == 0
    assert "n" in capsys.readouterr().out
    assert compare([*common, "--where", "layers=3,4,5,6", "--match", "none"]) == 0
    with pytest.raises(ValueError, match="widths: required and missing"):
        fit(common)


@pytest.fixture
def bare(tmp_path):
    """A table without complexity, with a parameter that is a number, one that is text and one that is yes or no."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame({"error_percent": rng.normal(10, 1, 40), "layers": rng.integers(3, 9, 40)})
    frame["shortcut"], frame["wide"] = rng.choice(["all", "none"], 40), rng.choice([True, False], 40)
    frame.to_csv(tmp_path / "nets.csv", index=False)
    return [str(tmp_path / "nets.csv"), "--map", "layers,shortcut,wide"]


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (compare, ["--by", "shortcut"], "0 models of known macs"),
        (edf, ["--by", "shortcut", "--match", "acts"], "0 models of known acts"),
        (select, ["--regimes", "3"], "macs: required and missing for 40 of 40 models"),
        (select, ["--pareto", "macs"], "macs: required and missing for 40 of 40 models"),
        (select, ["--out", "p.png"], "macs: required and missing for 40 of 40 models"),
        (select, ["--map", "macs=layers", "--regimes", "0"], "regimes = 0: must be at least 1"),
        (trends, ["--parameter", "shortcut"], "parameter = shortcut: must be numeric and vary within some space"),
    ],
)
def test_unknown_complexity_is_an_error(bare, tmp_path, monkeypatch, command, arguments, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=sentence):
        command([*bare, *arguments])


def test_text_and_booleans_are_parameters(bare, tmp_path, capsys):
    assert trends([*bare, "--out", str(tmp_path / "t.csv")]) == 0
    assert set(pd.read_csv(tmp_path / "t.csv")["parameter"]) == {"layers", "wide"}
    assert trends([*bare, "--parameter", "wide", "--out", str(tmp_path / "wide.png")]) == 0
    assert compare([*bare, "--by", "wide", "--match", "none"]) == 0
    assert "wide = False" in capsys.readouterr().out
    assert report([*bare, "--by", "wide", "--out", str(tmp_path / "page")]) == 0


@pytest.mark.parametrize("name", ["table.csv", "figure.png", "figure.svg"])
def test_out_does_not_replace_files_of_the_user(study, tmp_path, name):
    path = tmp_path / name
    arguments = [str(study), "--out", str(path)]
    path.write_text("precious\n")
    with pytest.raises(ValueError, match=rf"out = .*{name}: must be a new file or one that this tool wrote"):
        edf(arguments)
    assert path.read_text() == "precious\n"
    assert edf([*arguments, "--force"]) == 0
    assert edf(arguments) == 0  # the same command again
    with pytest.raises(ValueError, match=r"out = /dev/null: must end in"):
        edf([str(study), "--out", "/dev/null"])


@pytest.mark.usefixtures("one_figure")
def test_report_and_export_do_not_replace_files_of_the_user(study, tmp_path):
    out = tmp_path / "out"
    assert report([str(study), "--out", str(out)]) == 0
    assert report([str(study), "--out", str(out)]) == 0
    figure = next((out / "figures").iterdir())
    for path in (out / "report.html", figure):
        path.write_text("precious")
        with pytest.raises(ValueError, match="must be a new file or one that this tool wrote"):
            report([str(study), "--out", str(out)])
        assert path.read_text() == "precious"
        assert report([str(study), "--out", str(out), "--force"]) == 0
    specs = ["--top", "1", "--out", str(tmp_path / "specs")]
    assert export([str(study), *specs]) == 0
    assert export([str(study), *specs]) == 0
    (spec,) = (tmp_path / "specs").iterdir()
    spec.write_text("precious")
    with pytest.raises(ValueError, match="must be a new file or one that this tool wrote"):
        export([str(study), *specs])
    assert export([str(study), *specs, "--force"]) == 0
