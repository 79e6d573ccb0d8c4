"""What ends one process of a run ends all, soon and with one line that names it; the run goes on from there."""

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from distributed_run import BATCH, SAMPLES, VALIDATION, recipe
from safetensors.torch import load_file
from tiny_system import make_samples, make_system, negative_error

from sightline.training.checkpoints import read_checkpoint
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.processes.heartbeat import _of_an_exchange
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

SCRIPT = Path(__file__).with_name("distributed_run.py")
TORCHRUN = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")


@dataclass(frozen=True)
class Ended:
    """How a run of two processes ended."""

    code: int
    errors: list[str]
    seconds: float
    told: str


def run_two(folder: Path, *words: str, launcher: tuple[str, ...] = ()) -> Ended:
    """Two processes train; ``seconds`` are those from the fate of one of them to the end of all."""
    command = [sys.executable, *launcher, str(SCRIPT), str(folder), "2", "1", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=150)
    fates = re.findall(r"^fate (\S+)$", done.stderr, re.MULTILINE)
    errors = re.findall(r"^(?:ended|sightline: error:) (.*)$", done.stderr, re.MULTILINE)
    seconds = time.time() - float(fates[0]) if fates else 0.0
    return Ended(done.returncode, [e for e in errors if "HelperEndedError" not in e], seconds, done.stderr)


def assert_ended(ended: Ended, *words: str, limit: float = 60.0) -> None:
    assert ended.code != 0
    assert len(ended.errors) == 1, ended.told
    assert all(word in ended.errors[0] for word in words), ended.errors
    assert ended.seconds < limit


def test_killed_process_ends_the_run_which_goes_on_as_if_nothing_had_been(tmp_path: Path) -> None:
    """Killed in the fifth step, resumed to the end: the weights are those of one process that was never killed."""
    ended = run_two(tmp_path / "two", "die=1@5")
    assert_ended(ended, "process 1 of the run is gone", "SIGKILL", "--resume")
    assert read_checkpoint(tmp_path / "two" / "last").state.step == 4
    resumed = run_two(tmp_path / "two", "--resume")
    assert resumed.code == 0, resumed.told
    assert "GLOBAL_RANK" not in resumed.told  # Fabric's own lines, from every process

    system, data = make_system(draws=False), TrainData(make_samples(SAMPLES), make_samples(VALIDATION, seed=9))
    options = TrainOptions(device="cpu", workers=0, precision="32", batch_size=BATCH)
    with RunFolder.create(tmp_path / "one", resume=False) as run:
        train(system, recipe(2), data, options, run, evaluate=negative_error, progress=SilentProgress())
    together = load_file(tmp_path / "two" / "last" / "model.safetensors")
    for name, tensor in system.state_dict().items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-5, atol=1e-6)
    rows = [read_history(tmp_path / name / "history.csv") for name in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 2
    for alone, shared in zip(*rows, strict=True):
        for name in ("train/x", "train/total", "val/total", "val/closeness", "lr"):
            assert shared[name] == pytest.approx(alone[name], rel=1e-5)


def test_error_of_one_process_is_told_once_and_ends_all(tmp_path: Path) -> None:
    ended = run_two(tmp_path, "data=1@3")
    assert_ended(ended, "DataError", "photos/bad.jpg: process 1: is cut off", "sightline data check")
    assert ended.code == 3


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), TORCHRUN], ids=["started here", "torchrun"])
@pytest.mark.parametrize(
    ("fate", "words"),
    [
        ("die=1@5", ("process 1 of the run is gone",)),
        ("die=0@5", ("process 0 of the run is gone",)),
        ("hang=1@5", ("process 1 of the run is gone", "no sign of life")),
        ("data=0@5", ("photos/bad.jpg", "is cut off")),
        ("fail=1@5", ("process 1: ZeroDivisionError: a mistake in a system",)),
    ],
)
def test_every_end_of_every_process(tmp_path: Path, fate: str, words: tuple[str, ...], launcher: tuple[str]) -> None:
    """One that hangs lives on until torchrun kills it, 30 s after it asked it to end; the others end before."""
    ended = run_two(tmp_path / "run", fate, launcher=launcher)
    assert_ended(ended, *words, limit=90.0 if "hang" in fate else 60.0)
    assert read_checkpoint(tmp_path / "run" / "last").state.step == 4
    print(f"{fate}: {ended.seconds:.1f} s")


def test_only_errors_of_an_exchange_make_a_process_look_for_others() -> None:
    assert _of_an_exchange(RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1"))
    assert not _of_an_exchange(RuntimeError("The size of tensor a (3) must match the size of tensor b (4)"))
    assert not _of_an_exchange(ValueError("store"))
