"""``sightline data convert``: what people see and what programs get."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest_cli import snapshot

from sightline.data.dataset import open_dataset

Run = Callable[..., tuple[int, str, str]]
Fails = Callable[..., str]


def test_a_plan_says_what_would_be_lost_and_writes_nothing(run: Run, shapes: Path, tmp_path: Path) -> None:
    before = snapshot(shapes)
    code, out, err = run("data", "convert", shapes, "--to", "csv", "--plan")
    assert code == 0, err
    assert "train: 4 images" in out and "csv has no place for: masks" in out and "nothing was written" in out
    assert snapshot(shapes) == before and not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["coco", "voc", "yolo", "csv"])
def test_what_is_written_can_be_opened(run: Run, shapes: Path, tmp_path: Path, form: str) -> None:
    code, out, err = run("data", "convert", shapes, "--to", form, "--out", tmp_path / "out")
    assert code == 0, err
    assert f"written to {tmp_path / 'out'}" in out
    opened, origin = open_dataset(tmp_path / "out", "val"), open_dataset(shapes, "val")
    assert len(opened) == len(origin) == 2
    assert sum(len(r.boxes) for r in opened.records) > 0
    if form == "coco":
        assert "nothing is lost" in out and len(opened.records[0]) == len(origin.records[0])


def test_json_has_the_same_counts_planned_and_done(run: Run, shapes: Path, tmp_path: Path) -> None:
    words = ["data", "convert", shapes, "--to", "yolo", "--split", "val", "--json"]
    planned, done = (json.loads(run(*words, *more)[1]) for more in (["--plan"], ["--out", tmp_path / "out", "--link"]))
    assert planned["splits"] == done["splits"] == {"val": {"images": 2, "objects": planned["splits"]["val"]["objects"]}}
    assert planned["lost"] == done["lost"] and planned["lost"]
    assert (planned["out"], planned["changed"], done["out"]) == (None, {}, str(tmp_path / "out"))
    assert (planned["format"], planned["target"]) == ("coco", "yolo")
    images = list((tmp_path / "out" / "images" / "val").iterdir())
    assert [image.stat().st_nlink for image in images] == [2, 2]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--to", "kitti", "--plan"], 2, "unknown format 'kitti'"),
        (["--to", "voc"], 2, "give either --out or --plan"),
        (["--to", "voc", "--plan", "--out", "x"], 2, "give either --out or --plan"),
        (["--to", "voc", "--plan", "--split", "none"], 3, "no split 'none'"),
        (["--to", "voc", "--out", "."], 2, "already"),
    ],
)
def test_convert_says_what_is_wrong(fails: Fails, shapes: Path, words: list[str], code: int, message: str) -> None:
    assert message in fails(code, "data", "convert", shapes, *words)


def test_a_set_that_is_not_there(fails: Fails, tmp_path: Path) -> None:
    assert str(tmp_path / "none") in fails(3, "data", "convert", tmp_path / "none", "--to", "voc", "--plan")
