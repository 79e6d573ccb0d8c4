"""Running out of memory is an answer: which batch, and the next smaller size."""

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from tiny_system import TinySystem, make_samples, make_system, negative_error, stage

from sightline.errors import SightlineError
from sightline.evaluation.evaluate import predict_dataset
from sightline.recipes import Recipe
from sightline.runtime import is_out_of_memory
from sightline.structures import ImageBatch, LossTerm, Sample, Target
from sightline.training.cache import HeldSamples
from sightline.training.guards.lost_workers import worker_lost
from sightline.training.guards.memory import smaller, smaller_images
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train
from sightline.transforms.preparation import Preparation

SCRIPT = Path(__file__).with_name("out_of_memory_run.py")
CPU = "[enforce fail at alloc_cpu.cpp:124] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


@pytest.mark.parametrize(
    ("error", "is_one"),
    [
        (RuntimeError(f"{CPU} 4000000 bytes. Error code 12"), True),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"), True),
        (MemoryError(), True),
        (RuntimeError("shape '[3]' is invalid for input of size 4"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_all_ways_of_running_out_are_known(error: Exception, is_one: bool) -> None:
    assert is_out_of_memory(error) is is_one


def offers(batch: int, accumulate: int = 1, processes: int = 1) -> str:
    return smaller(stage(batch_size=batch, accumulate=accumulate), processes, Preparation())


def test_next_smaller_sizes_divide_and_change_little_first() -> None:
    assert offers(12) == (
        "start it again with --recipe accumulate=2 (the same batch in parts of 6 images), or --batch 6 "
        "(the learning rate follows), or --imgsz 640"
    )
    assert "accumulate=2 (the same batch in parts of 3 images), or --batch 6" in offers(12, 1, 2)
    assert "accumulate=5 (the same batch in parts of 1 image), or --batch 2" in offers(5)
    assert offers(1) == "start it again with --imgsz 640"
    assert offers(2, 2) == "start it again with --imgsz 640"
    assert "--batch 4 " in offers(12, 4) and "accumulate=6" in offers(12, 4)
    assert smaller_images(Preparation(320, 640)) == "--imgsz 256"
    assert smaller_images(Preparation(32, 64)) == "--imgsz 25"


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
def test_process_with_little_memory_names_the_batch_and_a_size_that_fits(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "SIGHTLINE_ALLOCATOR": "system"}
    command = [sys.executable, str(SCRIPT), str(tmp_path)]
    done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    dry_run, training, fits, validation, predicting = done.stdout.splitlines()
    for said in (dry_run, training, validation):
        assert "DefaultCPUAllocator: can't allocate memory" in said
        assert "4 images padded to 16x16, 4 objects" in said and "--imgsz 12" in said
    assert "out of memory in the dry run of the worst batch" in dry_run
    assert "out of memory in training, step 1 of stage train" in training
    assert "accumulate=2 (the same batch in parts of 2 images), or --batch 2" in training
    assert fits == "finished"
    assert "out of memory in validation" in validation
    assert "out of memory in judging the validation split" in predicting


class Refused(TinySystem):
    """Its loss cannot get memory for more than so many images at once."""

    most = 2

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        if len(batch) > self.most and torch.is_grad_enabled():
            raise RuntimeError(f"{CPU} 4000000 bytes. Error code 12 (Cannot allocate memory)")
        return super().loss(batch, targets)

    def decode(self, raw, batch):
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return super().decode(raw, batch)


class Damaged(Sequence[Sample]):
    """A set that runs out of memory when one of its images is read."""

    def __init__(self, samples: list[Sample], bad: int, ends: bool = False) -> None:
        self.samples, self.bad, self.ends = samples, bad, ends

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        if index == self.bad:
            if self.ends:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError(f"{CPU} 4000000 bytes. Error code 12 (Cannot allocate memory)")
        return self.samples[index]


def fails(path: Path, train_samples: Sequence[Sample], system: TinySystem | None = None, **options: object) -> str:
    chosen = TrainOptions(**{"workers": 0, "device": "cpu", "precision": "32", "dry_run": False, **options})
    data = TrainData(train_samples, make_samples(4, seed=9))
    with pytest.raises(SightlineError) as caught, RunFolder.create(path, resume=False) as run:
        train(
            system or make_system(), Recipe((stage(),)), data, chosen, run,
            evaluate=negative_error, progress=SilentProgress(),
        )  # fmt: skip
    return str(caught.value)


def test_step_that_gets_no_memory_names_its_images(tmp_path: Path) -> None:
    said = fails(tmp_path, make_samples(8), Refused(), batch_size=4)
    assert said.startswith("image ") and "out of memory in training, step 1 of stage train: 4 images padded" in said


def test_prediction_that_gets_no_memory_names_its_images() -> None:
    samples = make_samples(5)
    with pytest.raises(SightlineError, match=r"image 0, image 1, image 2: out of memory in predicting 3 images of up"):
        predict_dataset(Refused().eval(), HeldSamples(samples, Refused().classes), batch_size=3)


@pytest.fixture
def never_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """No set is small enough to be kept in memory."""
    monkeypatch.setattr("sightline.training.cache.LARGEST_CACHE", 0)


@pytest.mark.usefixtures("never_held")
@pytest.mark.parametrize("workers", [0, 1])
def test_loading_that_gets_no_memory_names_its_images(tmp_path: Path, workers: int) -> None:
    said = fails(tmp_path, Damaged(make_samples(9), 8), workers=workers)
    assert "out of memory while" in said and "were loaded and prepared" in said and "fewer --workers" in said


@pytest.mark.usefixtures("never_held")
def test_loading_process_that_was_killed_is_named(tmp_path: Path) -> None:
    said = fails(tmp_path, Damaged(make_samples(9), 8, ends=True), workers=1)
    assert "loading process" in said and "was killed by the signal Killed" in said
    assert "memory ran out" in said and "the last checkpoint is sound" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "DataLoader worker (pid 77) is killed by signal: Bus error. It is possible that dataloader's workers are "
            "out of shared memory.",
            "loading process 77 was killed by the signal Bus error; likely cause: shared memory is full",
        ),
        ("DataLoader worker (pid(s) 7, 9) exited unexpectedly", "loading process 7, 9 ended unexpectedly"),
        ("unable to write to file </torch_12_34>: No space left on device (28)", "shared memory is full"),
    ],
)
def test_words_of_the_loader_are_understood(text: str, says: str) -> None:
    assert says in str(worker_lost(RuntimeError(text)))
    assert worker_lost(RuntimeError("something else")) is None
