import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_system import make_samples, make_system, negative_error, stage

from sightline.contract import Optimiser, Recipe
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

SCRIPT = Path(__file__).with_name("distributed_run.py")


def torchrun(*arguments: str) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SCRIPT)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command += arguments
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def test_two_processes_train_as_one_with_the_joined_batch(tmp_path: Path) -> None:
    torchrun(str(tmp_path / "two"))
    system = make_system(draws=False)
    system.norm.eval().requires_grad_(False)
    system.norm.train = lambda mode=True: system.norm
    options = TrainOptions(device="cpu", workers=0, precision="32", batch_size=4)
    data = TrainData(make_samples(12), make_samples(4, seed=9))
    recipe = Recipe((stage(epochs=2, optimiser=Optimiser(lr=0.001)),))
    with RunFolder.create(tmp_path / "one", resume=False) as run:
        train(system, recipe, data, options, run, evaluate=negative_error, progress=SilentProgress())
    together = load_file(tmp_path / "two" / "last" / "model.safetensors")
    for name, tensor in system.state_dict().items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-5, atol=1e-6)
    rows = [read_history(tmp_path / name / "history.csv") for name in ("one", "two")]
    assert len(rows[0]) == len(rows[1]) == 2
    for alone, shared in zip(*rows, strict=True):
        for name in ("train/x", "val/total", "val/closeness", "lr"):
            assert shared[name] == pytest.approx(alone[name], rel=1e-4)


@pytest.mark.slow
def test_finished_run_of_two_processes_resumes(tmp_path: Path) -> None:
    torchrun(str(tmp_path))
    before = (tmp_path / "history.csv").read_bytes()
    torchrun(str(tmp_path), "--resume")
    assert (tmp_path / "history.csv").read_bytes() == before
