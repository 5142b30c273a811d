import subprocess
import sys

import pytest
import yaml

from analysis.commands import export, report
from analysis.table import load
from designspace import load_spec


def test_report_writes_a_page_and_pictures_and_prints_a_summary(study, capsys):
    assert report([str(study)]) == 0
    printed = capsys.readouterr().out
    assert (study / "report.html").stat().st_size > 100_000
    assert (study / "figures" / "edf.png").exists()
    for part in ("bottleneck", "inverted", "mean %", "policy worst", str(study / "report.html")):
        assert part in printed.replace("\n", " ") or part in printed


def test_report_of_two_studies_with_another_policy(study, tmp_path, make_study, capsys):
    other = make_study(tmp_path / "other", n=8, recipe_id="f" * 16)
    out = tmp_path / "out"
    assert report([str(study), str(other), "--failures", "error=90", "--match", "params", "--out", str(out)]) == 0
    assert "policy error=90" in " ".join(capsys.readouterr().out.split())
    page = (out / "report.html").read_text()
    assert "other/inverted" in page
    assert "--failures error=90" in page
    assert not (study / "report.html").exists()


def test_export_writes_specs_that_load_back_to_the_same_networks(study, tmp_path, capsys):
    out = tmp_path / "specs"
    assert export([str(study), "--top", "3", "--to", "yaml", "--out", str(out)]) == 0
    frame = load(study)
    best = frame[frame["status"] == "ok"].sort_values("error_percent", kind="stable").head(3)
    files = sorted(out.iterdir())
    assert [file.name for file in files] == [f"{i}-{s[:8]}.yaml" for i, s in enumerate(best["spec_id"], start=1)]
    for file, (_, row) in zip(files, best.iterrows(), strict=True):
        assert load_spec(file).spec_id == row["spec_id"]
        told = yaml.safe_load(file.read_text())["provenance"]
        assert told["spec_id"] == row["spec_id"]
        assert told["validation_error_percent"] == row["error_percent"]
        assert (told["space"], told["index"], told["study"]) == (row["space"], row["index"], "study")
        assert "2 epochs" in told["trained"]
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


@pytest.mark.parametrize(
    ("command", "arguments", "sentence"),
    [
        (report, ["--failures", "best"], "allowed: worst, drop, error=NUMBER"),
        (report, ["--match", "flops"], "allowed: macs, params, acts, none"),
        (export, ["--to", "tflite", "--out", "x"], "format is 'tflite'; allowed: yaml, json, pycls, timm"),
        (export, ["--top", "0", "--out", "x"], "k is 0"),
    ],
)
def test_mistakes_are_one_sentence(study, command, arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        command([str(study), *arguments])


def test_a_folder_that_is_no_study_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="not a study folder"):
        report([str(tmp_path)])


@pytest.mark.parametrize("command", [report, export])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit) as stopped:
        command(["--help"])
    assert stopped.value.code == 0
    assert f"designspace {command.__name__} runs/demo" in capsys.readouterr().out


def test_neither_torch_nor_sweeps_nor_pyplot_is_imported(study):
    code = (
        "import sys; from analysis import commands; light = set(sys.modules);"
        f"commands.report([{str(study)!r}]);"
        "print('LIGHT', sorted({'numpy', 'pandas', 'matplotlib', 'rich'} & light));"
        "print('ALL', sorted({'torch', 'sweeps', 'hydra', 'matplotlib.pyplot'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "LIGHT []" in done.stdout
    assert "ALL []" in done.stdout
