"""Files of the user that happen to be where a command writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from designspace import zoo
from designspace.atomic import MARK, check_output, write_output
from designspace.commands import sample, scale
from designspace.export import check_folder, write


def test_a_file_of_the_user_is_replaced_only_by_force(tmp_path: Path) -> None:
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


def test_the_mark_counts_at_both_ends_of_a_large_file(tmp_path: Path) -> None:
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


def test_a_link_stays_a_link(tmp_path: Path) -> None:
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
def test_commands_repeat_and_spare_files_of_the_user(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    run, arguments = (
        (sample, ["space=regnetx", "n=3", f"out={path}"])
        if path.suffix == ".parquet"
        else (scale, ["RegNetX-200MF", "--macs", "3e8", "--out", str(path)])
    )
    assert run(arguments) == 0
    assert run(arguments) == 0  # the same command again
    path.write_text("precious")
    with pytest.raises(ValueError, match="must be a new file or one that this tool wrote"):
        run(arguments)
    assert path.read_text() == "precious"
    assert run([*arguments, "--force"]) == 0


def test_an_exported_folder_is_written_again_and_a_folder_of_the_user_is_not(tmp_path: Path) -> None:
    write(zoo.spec("RegNetX-200MF"), ["pycls", "timm"], tmp_path / "ours")
    check_folder(tmp_path / "ours")
    for name in ("README.md", "pycls.yaml", "model.onnx", "spec.yaml"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / name).write_text("precious")
        with pytest.raises(ValueError, match=rf"{name}: must be a new file or one that this tool wrote"):
            check_folder(folder)
        check_folder(folder, force=True)
