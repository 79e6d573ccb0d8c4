"""No command asks the network for anything unless it was asked to: watched from outside, by the system calls."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest_cli import QUICK, TINY

CALLS = "connect,sendto,sendmsg,sendmmsg"
LOGGERS = ["--logger", "tensorboard", "--logger", "mlflow", "--logger", "wandb"]


def reached(trace: str) -> list[str]:
    """The calls that name an address of another machine."""
    addresses = [line for line in trace.splitlines() if "sa_family=AF_INET" in line]
    return [line for line in addresses if not re.search(r'inet_addr\("127\.|"::1"', line)]


def watched(trace: Path, *words: object) -> list[str]:
    """Runs ``sightline`` under strace; gives the calls with which it reached for the network."""
    command = ["strace", "-f", "-e", f"trace={CALLS}", "-o", trace, sys.executable, "-m", "sightline.cli.main", *words]
    # Without the tests' own guard, which would refuse before the system is asked.
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB", "MLFLOW"))}
    bare["PYTHONPATH"] = os.pathsep.join(p for p in os.environ["PYTHONPATH"].split(os.pathsep) if "no_network" not in p)
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, env=bare)
    assert ended.returncode == 0, ended.stderr
    return reached(trace.read_text())


def test_an_address_of_another_machine_is_seen() -> None:
    away = '7 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("8.8.8.8")}, 16) = 0'
    away6 = '7 connect(3, {sa_family=AF_INET6, inet_pton(AF_INET6, "2001:db8::1", &sin6_addr)}, 28) = -1'
    here = '7 connect(3, {sa_family=AF_INET, sin_port=htons(53), sin_addr=inet_addr("127.0.0.1")}, 16) = 0'
    file = '7 connect(3, {sa_family=AF_UNIX, sun_path="/run/nscd/socket"}, 110) = -1 ENOENT'
    assert reached("\n".join([away, away6, here, file])) == [away, away6]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_no_command_reaches_for_the_network(shapes: Path, tmp_path: Path) -> None:
    trace, out = tmp_path / "trace", tmp_path / "run"
    assert watched(trace, "train", "--data", shapes, "--out", out, *TINY, *QUICK, *LOGGERS) == []
    assert (out / "mlruns.db").is_file() and list((out / "wandb").glob("offline-run-*"))
    assert watched(trace, "evaluate", out, "--data", shapes, "--out", tmp_path / "evaluated") == []
    image = next(path for path in shapes.rglob("*") if path.suffix in (".png", ".jpg"))
    assert watched(trace, "predict", out, image, "--out", tmp_path / "predicted") == []
    assert watched(trace, "demo", "--minutes", 0.05, "--images", 8, "--workers", 0, "--out", tmp_path / "demo") == []
