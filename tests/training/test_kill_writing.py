"""Real processes that write the files of a run are killed by SIGKILL at every step and at random times."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

SCRIPT = Path(__file__).with_name("kill_writing.py")
MEMORY = Path("/dev/shm")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: what a kill leaves does not depend on the disk below."""
    if not MEMORY.is_dir():
        yield tmp_path
        return
    with TemporaryDirectory(dir=MEMORY) as folder:
        yield Path(folder)


def killing(*words: str) -> dict[str, int]:
    done = subprocess.run([sys.executable, str(SCRIPT), *words], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout)
    print(*words, counts)
    return counts


STEPS = [
    "third checkpoint",
    pytest.param("first checkpoint", marks=pytest.mark.slow),
    pytest.param("checkpoint after a cut", marks=pytest.mark.slow),
    pytest.param("best.safetensors", marks=pytest.mark.slow),
    pytest.param("history.csv", marks=pytest.mark.slow),
    pytest.param("config.json", marks=pytest.mark.slow),
]


@pytest.mark.parametrize("what", STEPS)
def test_killed_at_every_step_of_writing_the_old_or_the_new_is_whole(root: Path, what: str) -> None:
    counts = killing("steps", str(root), what)
    assert counts["through"] == 1 and counts["kills"] > 40
    assert counts["old"] > 5 and counts["new"] > 5


@pytest.mark.slow
@pytest.mark.parametrize("what", ["third checkpoint", "best.safetensors"])
def test_killed_at_random_times_the_old_or_the_new_is_whole(root: Path, what: str) -> None:
    counts = killing("times", str(root), what, "400")
    assert counts["kills"] == 400 and counts["writings"] > 200
