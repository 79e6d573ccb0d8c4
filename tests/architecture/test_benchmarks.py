"""A benchmark that misses its target fails, and so does ``make bench``; the scripts after it run all the same."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHARED = {"pairing.py", "torchvision_peer.py"}
SCRIPTS = [script for script in sorted((ROOT / "benchmarks").glob("*.py")) if script.name not in SHARED]


@pytest.fixture
def pairing(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import pairing

    return pairing


def test_a_missed_target_is_an_exit_code(pairing):
    fast = pairing.summarise([2.0, 2.0], [1.0, 1.0], target=1.5, name="fast")
    slow = pairing.summarise([1.0, 1.0], [1.0, 1.0], target=1.5, name="slow")
    assert (pairing.exit_code([fast]), pairing.exit_code([fast, slow])) == (0, 1)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_every_script_ends_with_its_exit_code(script):
    assert script.read_text(encoding="utf-8").endswith('if __name__ == "__main__":\n    sys.exit(main())\n')


def test_make_bench_runs_all_and_fails_at_the_end(tmp_path):
    scripts = []
    for name, code in (("one", 1), ("two", 0)):
        scripts.append(tmp_path / f"{name}.py")
        scripts[-1].write_text(f"print('ran {name}')\nraise SystemExit({code})\n")

    def bench(*wanted):
        words = ["make", "-o", ".venv/.ready", "bench", f"BIN={Path(sys.executable).parent}"]
        words.append(f"BENCHMARKS={' '.join(map(str, wanted))}")
        return subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)

    ended = bench(*scripts)
    assert ended.returncode != 0
    assert "ran one" in ended.stdout and "ran two" in ended.stdout
    assert bench(scripts[1]).returncode == 0
