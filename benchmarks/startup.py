"""How long a person waits for ``sightline --help``, for the help of each command, and for ``import sightline``.

    python benchmarks/startup.py [--rounds 11]

Each is a fresh process; what counts is the median of its wall time. There is no peer: the limit is 0.3 s.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

LIMIT = 0.3
COMMANDS = ["", "train", "evaluate", "predict", "models", "demo", "data", "data make"]


def seconds(code: str, rounds: int) -> float:
    """Median wall time of a fresh process that runs ``code``; the first, which fills the disk's cache, is left out."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=True)
        times.append(time.perf_counter() - start)
    return median(times[1:])


def main() -> int:
    """Reads the command line, times, prints; gives the exit code, 1 if anything took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11, help="processes to time of each (default 11)")
    options = parser.parse_args()
    codes = {"import sightline": "import sightline"}
    for command in COMMANDS:
        words = [*command.split(), "--help"]
        codes[" ".join(["sightline", *words])] = f"from sightline.cli.main import main; main({words!r})"
    missed = 0
    for name, code in codes.items():
        took = seconds(code, options.rounds)
        print(f"{name:<28} {took * 1e3:>7.0f} ms  limit {LIMIT * 1e3:.0f}  {'pass' if took < LIMIT else 'FAIL'}")
        missed += took >= LIMIT
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
