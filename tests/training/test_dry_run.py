"""The worst batch is tried before the first step, and the run is bit for bit the one without."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_system import TinySystem, make_samples, make_system, negative_error, stage

from sightline.errors import SightlineError
from sightline.recipes import GradientStage, Recipe
from sightline.structures import ImageBatch, LossTerm, Sample, Target
from sightline.training import job
from sightline.training.guards.replay import compute_apart
from sightline.training.guards.worst_batch import worst_batch
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train
from sightline.transforms.crop import RandomCrop
from sightline.transforms.flip import HorizontalFlip
from sightline.transforms.preparation import Preparation

PREPARATION = Preparation(short_side=80, long_side=160, divisor=32)


def sample(height: int, width: int, objects: int = 1) -> Sample:
    boxes = torch.tensor([[1.0, 1.0, width - 1.0, height - 1.0]]).repeat(objects, 1)
    return Sample(
        torch.full((3, height, width), 100, dtype=torch.uint8),
        Target(boxes, torch.zeros(objects, dtype=torch.int64), (height, width)),
        height * 1000 + width,
    )


class Unsized(Sequence[Sample]):
    """A set that says nothing of its images until they are read."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index):
        return self.samples[index]


def test_two_shapes_in_one_batch_are_padded_to_the_larger_of_both_sides() -> None:
    samples = [sample(100, 100, 5), sample(100, 200, 1), sample(200, 100, 2), sample(100, 120, 9)]
    part = worst_batch(samples, PREPARATION, (HorizontalFlip(),), 2, seed=0)
    assert part.images.images.shape == (2, 3, 160, 160)
    assert [len(target) for target in part.targets] == [9, 5]
    assert part.images.sizes == ((160, 160), (160, 160))
    torch.testing.assert_close(part.targets[0].boxes[0], torch.tensor([160 / 120, 1.6, 119 * 160 / 120, 158.4]))


def test_one_image_at_once_is_padded_to_its_own_size() -> None:
    samples = [sample(100, 100, 5), sample(100, 200, 1), sample(100, 150, 2)]
    part = worst_batch(samples, PREPARATION, (), 1, seed=0)
    assert part.images.images.shape == (1, 3, 96, 160) and len(part.targets[0]) == 5


def test_no_batch_of_an_epoch_is_larger() -> None:
    rng = np.random.default_rng(3)
    samples = [sample(*(int(v) for v in rng.integers(20, 200, 2)), int(rng.integers(0, 9))) for _ in range(40)]
    worst = worst_batch(samples, PREPARATION, (), 4, seed=0)
    for _ in range(200):
        chosen = [samples[i] for i in rng.choice(len(samples), 4, replace=False)]
        shape = PREPARATION.batch([each.image for each in chosen]).images.shape
        assert shape[2] <= worst.images.images.shape[2] and shape[3] <= worst.images.images.shape[3]
        assert sum(len(each.target) for each in chosen) <= sum(len(target) for target in worst.targets)


def test_fewer_images_than_a_batch_and_sets_without_sizes() -> None:
    part = worst_batch(Unsized([sample(50, 100, 0), sample(60, 60, 3)]), PREPARATION, (), 3, seed=0)
    assert [len(target) for target in part.targets] == [3, 0, 3]
    assert part.images.images.shape == (3, 3, 96, 160)


def test_crops_are_drawn() -> None:
    part = worst_batch([sample(100, 100)] * 8, PREPARATION, (RandomCrop((0.3, 1.0)),), 1, seed=0)
    assert part.images.images.shape == (1, 3, 96, 160)


def outcome(path: Path, recipe: GradientStage, **options: object) -> tuple[TinySystem, list[str]]:
    lines: list[str] = []

    class Lines(SilentProgress):
        def log(self, text: str) -> None:
            lines.append(text)

    system = make_system()
    chosen = TrainOptions(**{"workers": 0, "device": "cpu", "precision": "32", **options})
    with RunFolder.create(path, resume=False) as run:
        train(
            system, Recipe((recipe,)), TrainData(make_samples(7), make_samples(4, seed=9)), chosen, run,
            evaluate=negative_error, progress=Lines(), clock=lambda: 0.0,
        )  # fmt: skip
    return system, lines


def files(path: Path) -> dict[str, bytes]:
    """All files of a run that hold results; config.json and the log say whether there was a dry run."""
    names = [f for f in path.rglob("*") if f.is_file() and f.name not in ("config.json", "log.txt", ".lock")]
    return {str(f.relative_to(path)): f.read_bytes() for f in names}


@pytest.mark.parametrize("changes", [{}, {"accumulate": 2, "ema": 0.9, "clip_norm": 1.0}])
def test_run_is_bit_for_bit_the_one_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object]
) -> None:
    monkeypatch.setattr(job, "highest_memory", lambda device: 0)  # it differs, as the clock does
    _, lines = outcome(tmp_path / "tried", stage(**changes))
    _, silent = outcome(tmp_path / "not", stage(**changes), dry_run=False)
    assert files(tmp_path / "tried") == files(tmp_path / "not")
    (told,) = [line for line in lines if line.startswith("worst batch")]
    assert (
        told.startswith(f"worst batch: {1 if changes else 2} image") and "padded to 16x16" in told and " GB, " in told
    )
    assert [line for line in silent if "worst" in line] == ["worst batch: not tried, as asked for"]


def test_nothing_that_a_system_has_is_touched() -> None:
    system = make_system()
    system.eval()
    system.trunk.weight.grad = torch.ones_like(system.trunk.weight)
    part = worst_batch(make_samples(4), system.preparation, (), 2, seed=0)
    before = {name: value.clone() for name, value in system.state_dict().items()}
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    found = compute_apart(system, "loss", part, precision="32-true", draws=(1, 2))
    assert found.finite and set(found.losses) == {"x", "y"}
    assert all(torch.equal(value, before[name]) for name, value in system.state_dict().items())
    assert not any(module.training for module in system.modules())
    assert torch.equal(system.trunk.weight.grad, torch.ones_like(system.trunk.weight)) and system.head.bias.grad is None
    assert random.getstate() == states[0] and torch.equal(torch.get_rng_state(), states[2])
    assert all(np.array_equal(a, b) for a, b in zip(np.random.get_state(), states[1], strict=True))


class Failing(TinySystem):
    """Fails, or gives a loss that is not finite, for batches of more than so many objects."""

    most = 1
    error: Exception | None = None

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        losses = super().loss(batch, targets)
        if max(len(target) for target in targets) > self.most:
            if self.error is not None:
                raise self.error
            losses["x"] = LossTerm(losses["x"].total / 0, losses["x"].count)
        return losses


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
            "out of memory in the dry run of the worst batch of stage train: 2 images padded to 16x16, 4 objects",
        ),
        (None, "losses or gradients are not finite in the dry run of the worst batch of stage train (2 images padded"),
    ],
)
def test_what_does_not_work_is_known_before_the_first_step_and_leaves_no_run(
    tmp_path: Path, error: Exception | None, says: str
) -> None:
    samples = make_samples(9)
    crowded = samples[6].target
    three = Target(crowded.boxes.repeat(3, 1), torch.zeros(3, dtype=torch.int64), crowded.size)
    samples[6] = Sample(samples[6].image, three, 6, "photos/crowded.jpg")
    system = Failing()
    system.error = error
    options = TrainOptions(workers=0, device="cpu", precision="32")
    run = RunFolder.create(tmp_path / "run", resume=False)
    with pytest.raises(SightlineError) as caught, run:
        train(
            system, Recipe((stage(),)), TrainData(samples, None), options, run,
            evaluate=None, progress=SilentProgress(),
        )  # fmt: skip
    assert says in str(caught.value) and "photos/crowded.jpg" in str(caught.value)
    assert not run.last.exists() and not (tmp_path / "run" / "history.csv").exists()
    RunFolder.create(tmp_path / "run", resume=False).close()
