"""Which images a step sees and how they are loaded, as pure functions of (seed, position in the stage).

The training split is read as one endless stream: epoch after epoch, each in an order of its own. A step takes the next
``batch_size`` images of the stream, so that every batch is full and each epoch shows each image once. Order comes from
(seed, epoch), an image's augmentation from (seed, epoch, index), what a system draws for it from (seed, position in the
stream), so that nothing depends on the number of workers or processes or on where a run was resumed.
"""

import itertools
import signal
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from sightline.errors import SightlineError
from sightline.processes import ALONE, Processes
from sightline.runtime import tune_allocator, usable_cores
from sightline.structures import ImageBatch, Sample, Size, Target
from sightline.training.guards.lost_workers import loading_failed, worker_lost
from sightline.transforms.pipeline import Transform, apply
from sightline.transforms.preparation import Preparation

MOST_WORKERS = 8
_FEWEST_CORES = 4
_PREFETCH = 4


class TrainBatch:
    """Prepared images with their targets: what one forward pass of training sees.

    Not a dataclass on purpose: mixed precision casts every tensor that it finds in one, and boxes must stay float32.

    Args:
        images: the batch.
        targets: one an image, in pixels of the batch.
        names: what to call the images in messages.
    """

    __slots__ = ("images", "names", "targets")

    def __init__(self, images: ImageBatch, targets: tuple[Target, ...], names: tuple[str, ...]) -> None:
        self.images = images
        self.targets = targets
        self.names = names

    def __len__(self) -> int:
        return len(self.targets)

    def __reduce__(self) -> tuple[object, ...]:
        # On the way from a worker every tensor takes a shared file of its own, which costs more than a few boxes: they
        # go through the pipe as arrays.
        return _unpacked, (self.images, tuple(_packed(target) for target in self.targets), self.names)

    def to(self, device: torch.device) -> "TrainBatch":
        """The same batch on another device."""
        if self.images.images.device == device:
            return self
        return TrainBatch(self.images.to(device), tuple(t.to(device) for t in self.targets), self.names)


def _packed(target: Target) -> tuple[Any, ...]:
    arrays = (target.boxes, target.labels, target.ignore, target.areas, target.keypoints)
    return target.size, target.masks, *(None if tensor is None else tensor.numpy() for tensor in arrays)


def _unpacked(images: ImageBatch, targets: tuple[tuple[Any, ...], ...], names: tuple[str, ...]) -> TrainBatch:
    return TrainBatch(images, tuple(_target(*packed) for packed in targets), names)


def _target(size: Size, masks: torch.Tensor | None, *arrays: np.ndarray | None) -> Target:
    boxes, labels, ignore, areas, keypoints = (None if array is None else torch.from_numpy(array) for array in arrays)
    return Target(boxes, labels, size, ignore, areas, masks, keypoints)  # type: ignore[arg-type]  # as they were packed


@dataclass(frozen=True)
class Sampling:
    """Who sees what, when.

    Args:
        seed: of order and augmentation.
        images: in the training split.
        batch_size: images an optimiser step sees, over all processes.
        accumulate: parts that a batch is computed in, one after the other.
        rank: this process.
        processes: of them all.
    """

    seed: int
    images: int
    batch_size: int
    accumulate: int = 1
    rank: int = 0
    processes: int = 1

    @property
    def part_size(self) -> int:
        """Images that a process sees at once, at most."""
        return -(-self.batch_size // (self.accumulate * self.processes))

    def positions(self, step: int, part: int) -> list[int]:
        """Positions in the stream that this process sees in one part of a step; sizes of parts differ by 1 at most."""
        parts = self.accumulate * self.processes
        place = part * self.processes + self.rank
        first, last = (step * self.batch_size + place_ * self.batch_size // parts for place_ in (place, place + 1))
        return list(range(first, last))

    def epochs_done(self, step: int) -> int:
        """Whole epochs that lie behind after ``step`` steps."""
        return step * self.batch_size // self.images


def epoch_order(seed: int, epoch: int, images: int) -> np.ndarray:
    """The order of an epoch: a permutation of 0..images-1 drawn from (seed, epoch)."""
    return np.random.default_rng(np.random.SeedSequence((seed, epoch))).permutation(images)


def sample_rng(seed: int, epoch: int, index: int) -> np.random.Generator:
    """The random numbers of one image in one epoch."""
    return np.random.default_rng(np.random.SeedSequence((seed, epoch, index)))


def draw_seed(seed: int, position: int) -> int:
    """The seed of what a system draws for the image at a position of the stream, 0 to 2**63 - 1."""
    return int(np.random.SeedSequence((seed, position), spawn_key=(1,)).generate_state(1, np.uint64)[0] >> 1)


@dataclass
class _PreparedBatches(Dataset[TrainBatch | SightlineError]):
    """A list of stream positions in, a prepared batch out; runs in the workers.

    An error that is an answer is returned instead of raised, since the loader would bury it in its own traceback.
    """

    samples: Sequence[Sample]
    preparation: Preparation
    augmentation: tuple[Transform, ...]
    seed: int | None
    _orders: dict[int, np.ndarray] = field(default_factory=dict)

    def __getitem__(self, positions: list[int]) -> TrainBatch | SightlineError:
        names: list[str] = []
        try:
            return self._batch(positions, names)
        except SightlineError as error:
            return error
        except (RuntimeError, MemoryError) as error:
            answer = loading_failed(error, [*names, "the next image"] if len(names) < len(positions) else names)
            if answer is None:
                raise
            return answer

    def _batch(self, positions: list[int], names: list[str]) -> TrainBatch:
        """The batch; ``names`` gets those of the images as they are loaded."""
        samples = []
        for position in positions:
            samples.append(self._sample(position))
            names.append(samples[-1].path or f"image {samples[-1].image_id}")
        images = self.preparation.batch_of(samples)
        images = replace(images, seeds=tuple(draw_seed(self.seed or 0, position) for position in positions))
        targets = tuple(self.preparation.target(sample.target) for sample in samples)
        return TrainBatch(images, targets, tuple(names))

    def _sample(self, position: int) -> Sample:
        if self.seed is None:
            return self.samples[position]
        epoch, place = divmod(position, len(self.samples))
        if epoch not in self._orders:
            self._orders.clear()
            self._orders[epoch] = epoch_order(self.seed, epoch, len(self.samples))
        index = int(self._orders[epoch][place])
        return apply(self.augmentation, self.samples[index], sample_rng(self.seed, epoch, index))


@dataclass(frozen=True)
class _Steps:
    """The endless sequence of position lists, part by part, from a step on."""

    sampling: Sampling
    start: int

    def __iter__(self) -> Iterator[list[int]]:
        for step in itertools.count(self.start):
            for part in range(self.sampling.accumulate):
                yield self.sampling.positions(step, part)


@dataclass(frozen=True)
class Loading:
    """How samples become batches.

    Args:
        samples: images with their truth.
        preparation: the system's own.
        workers: processes that load; 0 loads in this one.
    """

    samples: Sequence[Sample]
    preparation: Preparation
    workers: int

    def training_batches(
        self, augmentation: tuple[Transform, ...], sampling: Sampling, start: int
    ) -> Generator[list[TrainBatch], None, None]:
        """Endlessly, from step ``start`` on: the parts of one step for this process. Close it to end the workers."""
        batches = _PreparedBatches(self.samples, self.preparation, augmentation, sampling.seed)
        loaded = iter(_load(batches, _Steps(sampling, start), self.workers))
        try:
            while True:
                parts: list[TrainBatch] = []
                for _ in range(sampling.accumulate):
                    parts.append(_next(loaded))  # noqa: PERF401  # a comprehension would keep `loaded` alive
                yield parts
        finally:
            # Workers end when the loader's iterator goes; a traceback must not keep it.
            del loaded

    def validation_batches(self, size: int, processes: Processes = ALONE) -> Iterator[tuple[int, TrainBatch]]:
        """Every sample once, in order and unchanged, ``size`` at a time, with the number of the batch.

        Several processes share out the batches that one would see.
        """
        batches = _PreparedBatches(self.samples, self.preparation, (), None)
        count = len(self.samples)
        positions = [list(range(first, min(first + size, count))) for first in range(0, count, size)]
        mine = list(processes.share(positions))
        loaded = iter(_load(batches, mine, min(self.workers, len(mine))))
        for number in processes.share(range(len(positions))):
            yield number, _next(loaded)


def sensible_workers(processes_here: int = 1) -> int:
    """Loading processes for the cores of this machine: half of them, but none on fewer than four.

    There a loading process takes a core from the computing threads, which wait for each other at every step: with two
    cores a busy process beside them makes a step several times as long, while loading is a small part of it.
    """
    cores = usable_cores() // processes_here
    return 0 if cores < _FEWEST_CORES else min(MOST_WORKERS, cores // 2)


def _load(
    batches: _PreparedBatches, positions: "_Steps | list[list[int]]", workers: int
) -> DataLoader[TrainBatch | SightlineError]:
    return DataLoader(
        batches,
        sampler=positions,  # lists of positions instead of single ones
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=_start_worker,
        prefetch_factor=_PREFETCH if workers else None,
        # A generator of its own: the loader would otherwise draw from the one that the systems draw from.
        generator=torch.Generator(),
    )


def _unchanged(batch: Any) -> Any:
    return batch


def _next(loaded: Iterator[TrainBatch | SightlineError]) -> TrainBatch:
    try:
        batch = next(loaded)
    except RuntimeError as error:
        answer = worker_lost(error)
        if answer is None:
            raise
        raise answer from error
    if isinstance(batch, SightlineError):
        raise batch
    return batch


def _start_worker(worker: int) -> None:
    """Leave Ctrl-C to the main process, which finishes its step; but let it end the workers."""
    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)
    tune_allocator()
