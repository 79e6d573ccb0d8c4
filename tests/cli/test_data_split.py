"""``sightline data split``: what people see and what programs get."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., tuple[int, str, str]]
Fails = Callable[..., str]


def test_split_shows_a_table_and_writes_a_set_that_can_be_split_again(run: Run, shapes: Path, tmp_path: Path) -> None:
    code, out, err = run("data", "split", shapes, "--out", tmp_path / "a", "--parts", "train=0.5,val=0.5")
    assert code == 0, err
    images = next(line for line in out.splitlines() if line.strip().startswith("images"))
    assert images.split() == ["images", "4", "(50.0%)", "4", "(50.0%)"]
    assert "train (50.0%)" in out and str(tmp_path / "a") in out
    code, out, _ = run(
        "data", "split", tmp_path / "a", "--out", tmp_path / "b", "--link", "--seed", 3, "--no-duplicates", "--json"
    )
    document = json.loads(out)
    assert code == 0 and document["alike"] == 0 and document["groups"] is None
    assert [part["images"] for part in document["parts"].values()] == [6, 1, 1]
    assert sum(sum(part["objects"].values()) for part in document["parts"].values()) > 0
    assert all((tmp_path / "b" / part).is_dir() for part in ("train", "val", "test"))


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--parts", "train=0.8"], 2, "sum to 0.8"),
        (["--parts", "train=half"], 2, "'train=half' is no part"),
        (["--parts", "a=0.5,a=0.5"], 2, "'a' is there twice"),
        (["--group-by", "shape"], 2, "nothing can be grouped by 'shape'"),
        (["--split", "none"], 3, "none"),
        (["--group-by", "column:camera"], 3, "no 'camera'"),
    ],
)
def test_split_says_what_is_wrong(
    fails: Fails, shapes: Path, tmp_path: Path, words: list[str], code: int, message: str
) -> None:
    assert message in fails(code, "data", "split", shapes, "--out", tmp_path / "out", *words)
    assert not list(tmp_path.iterdir())
