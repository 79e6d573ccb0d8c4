"""Git's id of a folder, against git."""

import shutil
import subprocess
from pathlib import Path

import pytest

from sightline.data.catalogue.git_tree import tree_id


def fill(folder: Path) -> Path:
    # "a.txt" < "a/" < "a0" in git's order, and "B" before "a".
    for name in ("a/inner", "a.txt", "a0", "B", "deep/er/x.bin", "ä"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode() * 1000)
    (folder / "nothing").touch()
    (folder / "empty" / "too").mkdir(parents=True)
    return folder


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_the_id_is_the_one_that_git_writes(tmp_path: Path) -> None:
    folder = fill(tmp_path / "set")
    git = ["git", f"--git-dir={tmp_path / 'repo'}", f"--work-tree={folder}", "-c", "core.autocrlf=false"]
    for words in (["init", "-q"], ["add", "-A"]):
        subprocess.run([*git, *words], check=True, cwd=folder)
    written = subprocess.run([*git, "write-tree"], check=True, cwd=folder, capture_output=True, text=True)
    assert tree_id(folder) == written.stdout.strip()


def test_the_empty_tree_and_changes(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    assert tree_id(tmp_path / "none") == "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    folder = fill(tmp_path / "set")
    before = tree_id(folder)
    (folder / "a0").rename(folder / "a1")
    renamed = tree_id(folder)
    (folder / "a1").rename(folder / "a0")
    assert tree_id(folder) == before != renamed
    (folder / "deep" / "er" / "x.bin").write_bytes(b"")
    assert tree_id(folder) != before


def test_bccd_as_it_lies_here(data_root: Path, tmp_path: Path) -> None:
    """The real files against the id in the catalogue."""
    from sightline.data.catalogue.entries import CATALOGUE

    for name in ("Annotations", "ImageSets", "JPEGImages"):
        shutil.copytree(data_root / "datasets" / "bccd" / name, tmp_path / name)
    assert tree_id(tmp_path) == CATALOGUE["bccd"].archives[0].git_tree
