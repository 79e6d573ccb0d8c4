"""The same seed gives the same run, bit for bit: whatever the number of loading processes, the order of Python's sets,
whether images are decoded once or in every epoch, and whether it is started from Python or from the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest_cli import TINY

from sightline.training.history import read_history

RUN = ["--epochs", "3", "--batch", "2", "--precision", "32", "--device", "cpu", "--seed", "5"]
CROPS = ["--set", "norm=frozen"]  # with frozen norms the recipe crops and flips
TIMES = ("seconds", "images_per_second")

NEVER_HELD = "import sightline.training.cache as cache; cache.LARGEST_CACHE = 0; "
COMMAND = "import sys; from sightline.cli.main import main; sys.exit(main(sys.argv[1:]))"
FROM_PYTHON = """
import sys, sightline
from sightline.training.options import TrainOptions
from sightline.workflow import open_splits, train
from sightline.zoo import create
data = open_splits(sys.argv[1])
settings = {"backbone": "mobilenet_v3_small", "short_side": 64, "long_side": 128, "channels": 16, "head_width": 16,
            "proposals": 20, "region_samples": 16, "norm": "frozen"}
system = create("faster_rcnn", classes=data.classes, settings=settings, seed=5)
options = TrainOptions(epochs=3, batch_size=2, workers=0, precision="32", device="cpu", seed=5)
train(system, data, out=sys.argv[2], options=options)
"""


def outcome(folder: Path) -> dict[str, object]:
    """All that a run gives: weights and their header, the history without times, judgement and detections."""
    rows = [{k: v for k, v in row.items() if k not in TIMES} for row in read_history(folder / "history.csv")]
    metrics = json.loads((folder / "metrics.json").read_text())
    measured = {name: metrics[name] for name in ("metrics", "per_class", "operating_point")}
    files = {name: (folder / name).read_bytes() for name in ("best.safetensors", "predictions.json")}
    last = {f.name: f.read_bytes() for f in (folder / "last").glob("*.safetensors")}
    assert last
    return {"history": repr(rows), "metrics": measured, **files, **last}


def assert_same(first: dict[str, object], second: dict[str, object]) -> None:
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] == []


def words(shapes: Path, out: Path, workers: int) -> list[str]:
    return ["train", "--data", str(shapes), "--out", str(out), *TINY, *CROPS, *RUN, "--workers", str(workers)]


def process(code: str, arguments: list[str], hash_seed: int = 0, threads: int = 1) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": str(hash_seed), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], check=False, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]


def test_loading_processes_and_a_second_time_change_nothing(run, shapes, tmp_path):
    for name, workers in (("alone", 0), ("helped", 2)):
        code, _, err = run(*words(shapes, tmp_path / name, workers))
        assert code == 0, err
    assert_same(outcome(tmp_path / "alone"), outcome(tmp_path / "helped"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_number_of_loading_processes_no_order_of_sets_and_no_cache_changes_anything(shapes, tmp_path):
    process(COMMAND, words(shapes, tmp_path / "first", 0))
    first = outcome(tmp_path / "first")
    for hash_seed, (workers, before) in enumerate([(1, ""), (2, NEVER_HELD), (3, ""), (0, NEVER_HELD)], start=1):
        out = tmp_path / f"{workers}"
        process(before + COMMAND, words(shapes, out, workers), hash_seed=hash_seed)
        assert_same(first, outcome(out))
        told = (out / "log.txt").read_text()
        assert f"{workers} loading processes" in told and ("read from disk in every epoch" in told) == bool(before)
    process(FROM_PYTHON, [str(shapes), str(tmp_path / "python")], hash_seed=77)
    assert_same(first, outcome(tmp_path / "python"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_another_seed_is_another_run(shapes, tmp_path):
    process(COMMAND, words(shapes, tmp_path / "five", 0))
    process(COMMAND, [*words(shapes, tmp_path / "six", 0), "--seed", "6"])
    five, six = outcome(tmp_path / "five"), outcome(tmp_path / "six")
    assert five["best.safetensors"] != six["best.safetensors"] and five["history"] != six["history"]
