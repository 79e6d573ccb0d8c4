"""Features that are cut off while they are cached, by SIGKILL or a full disk: the run goes on to the same bytes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("kill_caching.py")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


def counted(command: list[str]) -> dict[str, int]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    counts: dict[str, int] = json.loads(done.stdout)
    assert counts["differences"] == 0, done.stderr
    return counts


def test_killed_while_features_are_cached(tmp_path: Path) -> None:
    assert counted([sys.executable, str(SCRIPT), "kill", str(tmp_path), "1"])["kills"] >= 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_many_places_while_features_are_cached(tmp_path: Path) -> None:
    assert counted([sys.executable, str(SCRIPT), "kill", str(tmp_path), "20"])["kills"] >= 20


@pytest.mark.parametrize("every", [3, pytest.param(1, marks=pytest.mark.slow)])
def test_a_disk_that_fills_while_features_are_cached(tmp_path: Path, every: int) -> None:
    unshare = shutil.which("unshare")
    mount = 'mount -t tmpfs -o size=100m none "$0"'
    if unshare is None:
        pytest.skip("there is no unshare here to mount a small disk with")
    tried = subprocess.run([unshare, "-rm", "sh", "-c", mount, str(tmp_path)], check=False, capture_output=True)
    if tried.returncode != 0:
        pytest.skip(f"mounting a small disk is not permitted here: {tried.stderr.decode().strip()}")
    script = [sys.executable, str(SCRIPT), "disk", str(tmp_path), str(every)]
    counts = counted([unshare, "-rm", "sh", "-c", f'{mount} && exec "$@"', str(tmp_path), *script])
    assert counts["full"] == counts["runs"] == len(range(0, 5, every))
