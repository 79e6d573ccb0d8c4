"""No command changes anything in the folder of a set: names, bytes, and times of change stay as they are."""

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]

FOUND = 3
"""How a check ends that found what leaves a set unusable."""

COMMANDS: dict[str, list[str]] = {
    "check": ["data", "check", "{data}"],
    "check --fast --json": ["data", "check", "{data}", "--fast", "--json"],
    "check --fix": ["data", "check", "{data}", "--fix", "{out}"],
    "stats": ["data", "stats", "{data}"],
    "stats --out": ["data", "stats", "{data}", "--out", "{out}.html"],
    "show": ["data", "show", "{data}", "--out", "{out}.html"],
    "split": ["data", "split", "{data}", "--out", "{out}"],
    "split --link": ["data", "split", "{data}", "--out", "{out}", "--link"],
    **{
        f"convert --to {form} {mode}".strip(): [
            "data",
            "convert",
            "{data}",
            "--to",
            form,
            "--out",
            "{out}",
            *mode.split(),
        ]
        for form in ("coco", "voc", "yolo", "csv", "masks", "folders")
        for mode in ("", "--link")
    },
    "convert --plan": ["data", "convert", "{data}", "--to", "voc", "--plan"],
    "evaluate": ["evaluate", "{model}", "--data", "{data}", "--split", "val", "--workers", "0"],
    "predict": ["predict", "{model}", "{data}/val", "--out", "{out}"],
}


def state(folder: Path) -> dict[str, tuple[int, int, int, str]]:
    """Mode, time of change, size and content of everything in a folder; of folders the names in them."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        status = path.lstat()
        content = (
            path.read_bytes() if path.is_file() else "\0".join(sorted(inner.name for inner in path.iterdir())).encode()
        )
        found[str(path)] = (status.st_mode, status.st_mtime_ns, status.st_size, hashlib.sha256(content).hexdigest())
    return found


@pytest.fixture
def data(shapes: Path, tmp_path: Path) -> Path:
    """A set with defects: a damaged image, one that is there twice, a box beyond the border, no size."""
    folder = tmp_path / "data"
    shutil.copytree(shapes, folder)
    annotations = sorted(folder.rglob("*.json"))
    text = annotations[0].read_text()
    annotations[0].write_text(text.replace('"bbox": [', '"bbox": [-9', 1))
    images = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".jpg"))
    shutil.copyfile(images[0], images[1])
    return folder


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_folder_is_as_it_was(
    run: Run, data: Path, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    words = COMMANDS[name]
    model = request.getfixturevalue("trained") / "best.safetensors" if "{model}" in words else None
    before = state(data)
    code, _, err = run(*(word.format(data=data, out=tmp_path / "out", model=model) for word in words))
    assert code == (FOUND if name.startswith("check") else 0), err
    assert state(data) == before
    assert (tmp_path / "out").exists() == (words[-1] == "{out}" or "--link" in words)
