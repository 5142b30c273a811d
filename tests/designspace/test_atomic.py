"""Commands do not overwrite files that this tool did not write."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from designspace import zoo
from designspace.atomic import MARK, check_output, replace_file, write_output
from designspace.commands import sample, scale
from designspace.export import check_folder, write


def test_foreign_files_are_replaced_only_with_force(tmp_path: Path) -> None:
    for name in ("figure.png", "page.html", "spec.yaml", "table.csv"):
        path = tmp_path / name
        path.write_text("precious,columns\n1,2\n")
        with pytest.raises(
            ValueError, match=rf"out = .*{name}: must be a new file or one that this tool wrote; .*--force"
        ):
            write_output(path, f"columns of {MARK}\n")
        assert path.read_text().startswith("precious")
        write_output(path, f"columns of {MARK}\n", force=True)
        write_output(path, f"columns of {MARK}\nagain\n")
        assert path.read_text().endswith("again\n")


def test_the_mark_is_found_at_both_ends_of_a_large_file(tmp_path: Path) -> None:
    filler = b"x" * 200_000
    for content in (MARK.encode() + filler, filler + MARK.encode()):
        (tmp_path / "a.parquet").write_bytes(content)
        check_output(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(filler)
    with pytest.raises(ValueError, match="must be a new file or one that this tool wrote"):
        check_output(tmp_path / "a.parquet")


@pytest.mark.parametrize("force", [False, True])
def test_only_regular_files_are_replaced(tmp_path: Path, force: bool) -> None:
    os.mkfifo(tmp_path / "fifo.csv")
    (tmp_path / "folder.csv").mkdir()
    for name in ("fifo.csv", "folder.csv"):
        with pytest.raises(ValueError, match="must be a regular file"):
            check_output(tmp_path / name, force=force)


def test_a_symbolic_link_is_kept(tmp_path: Path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "elsewhere" / "table.csv")
    write_output(tmp_path / "link.csv", "a\n1\n")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "elsewhere" / "table.csv").read_text() == "a\n1\n"


def test_a_full_disk_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_output(tmp_path / "table.csv", "a\n1\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["population.parquet", "spec.yaml", "spec.json"])
def test_commands_replace_their_own_files_but_not_others(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    run, arguments = (
        (sample, ["space=regnetx", "n=3", "--out", str(path)])
        if path.suffix == ".parquet"
        else (scale, ["RegNetX-200MF", "--macs", "3e8", "--out", str(path)])
    )
    assert run(arguments) == 0
    assert run(arguments) == 0
    path.write_text("precious")
    with pytest.raises(ValueError, match="must be a new file or one that this tool wrote"):
        run(arguments)
    assert path.read_text() == "precious"
    assert run([*arguments, "--force"]) == 0


def test_exported_folders_are_replaced_but_not_others(tmp_path: Path) -> None:
    write(zoo.spec("RegNetX-200MF"), ["pycls", "timm"], tmp_path / "ours")
    check_folder(tmp_path / "ours")
    for name in ("README.md", "pycls.yaml", "model.onnx", "spec.yaml"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("precious")
        with pytest.raises(ValueError, match=rf"{name}: must be a new file or one that this tool wrote"):
            check_folder(folder)
        check_folder(folder, force=True)


def test_errors_name_the_file_instead_of_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 250)  # valid, but the temporary name is too long
    with pytest.raises(OSError, match="too long") as caught:
        replace_file(path, "text")
    assert caught.value.filename == str(path)
