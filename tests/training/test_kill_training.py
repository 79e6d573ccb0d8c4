"""Exact resume under SIGKILL: real trainings, killed at random lines and times, also several times in a row."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_kill_writing import root

SCRIPT = Path(__file__).with_name("kill_training.py")
CASES = ["sgd", "adamw, average, parts", "three stages", "loading processes", "extension"]

__all__ = ["root"]

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def killing(*words: object) -> dict[str, int]:
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout)
    print(*words[1:], counts)
    assert counts["differences"] == 0, done.stderr
    return counts


def test_killed_runs_end_bit_for_bit_as_the_uninterrupted_one(root: Path) -> None:
    assert killing(root, "three stages", 4, 0)["kills"] >= 4


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", CASES)
def test_many_killed_runs_end_bit_for_bit_as_the_uninterrupted_one(root: Path, case: str) -> None:
    counts = killing(root, case, 40, 1)
    assert counts["kills"] >= 50
    assert {"while stepping", "while validating", "while saving"} <= counts.keys()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_runs_of_the_real_detector_end_bit_for_bit_as_the_uninterrupted_one(root: Path) -> None:
    assert killing(root, "faster_rcnn", 10, 2)["kills"] >= 10


@pytest.mark.slow
def test_second_training_in_a_folder_is_refused_and_changes_nothing(root: Path) -> None:
    counts = killing(root, "two in one folder")
    assert (counts["refused"], counts["changed"]) == (4, 0)
