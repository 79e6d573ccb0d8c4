"""A full disk: one named error, the checkpoint before loads, and with room again the run ends bit for bit the same.

Real file systems in memory of a size of their own, mounted in a mount namespace, where that is permitted; limits on the
size of files, which need no rights, everywhere but on Windows.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("fill_disk.py")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def filling(command: list[str]) -> dict[str, int]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout)
    print(*command[-4:], counts)
    assert counts["differences"] == 0, done.stderr
    return counts


def on_small_disk(folder: Path, megabytes: int, *words: str) -> dict[str, int]:
    """Run the script with a file system of a size mounted at a folder; it goes with the process."""
    mount = f'mount -t tmpfs -o size={megabytes}m none "$0"'
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("there is no unshare here to mount a small disk with")
    tried = subprocess.run([unshare, "-rm", "sh", "-c", mount, str(folder)], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted here: {tried.stderr.decode().strip()}")
    script = [sys.executable, str(SCRIPT), words[0], str(folder), *words[1:]]
    return filling([unshare, "-rm", "sh", "-c", f'{mount} && exec "$@"', str(folder), *script])


def on_limited_files(folder: Path, *words: str) -> dict[str, int]:
    return filling([sys.executable, str(SCRIPT), "limit", str(folder), *words])


def test_full_disk_ends_a_run_with_a_named_error_and_it_goes_on_exactly(tmp_path: Path) -> None:
    counts = on_small_disk(tmp_path, 2, "moments", "1")
    assert all(counts[name] >= 1 for name in ("history.csv", "best.safetensors", "last", "log.txt"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("words", "runs"), [(("moments", "4"), 16), (("pages", "64", "2"), 32), (("quota", "48", "1"), 48)]
)
def test_full_disk_at_every_place(tmp_path: Path, words: tuple[str, ...], runs: int) -> None:
    assert on_small_disk(tmp_path, 2, *words)["runs"] == runs


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_files_limited_to_every_size(tmp_path: Path) -> None:
    counts = on_limited_files(tmp_path, "4000", "100")
    assert counts["runs"] == 40 and counts["had a checkpoint"] >= 10


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_full_disk_when_the_judgement_is_written(tmp_path: Path) -> None:
    assert on_small_disk(tmp_path, 100, "judging")["errors"] == 4
