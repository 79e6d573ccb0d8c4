import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_system import Brighter, make_samples, make_system

from sightline.errors import DataError
from sightline.structures import Sample
from sightline.training.cache import hold_in_memory
from sightline.training.loader import Loading, Sampling, epoch_order, sample_rng


@given(st.integers(1, 30), st.sampled_from([(4, 1, 1), (4, 2, 1), (4, 2, 2), (6, 1, 3), (1, 1, 1)]))
def test_processes_and_parts_share_the_stream_and_miss_nothing(images: int, shape: tuple[int, int, int]) -> None:
    batch_size, accumulate, processes = shape
    seen: list[int] = []
    for step in range(5):
        batch = [
            position
            for part in range(accumulate)
            for rank in range(processes)
            for position in Sampling(0, images, batch_size, accumulate, rank, processes).positions(step, part)
        ]
        seen += batch
    assert seen == list(range(5 * batch_size))
    assert Sampling(0, 10, 12, accumulate=2, processes=3).part_size == 2
    assert Sampling(0, images, batch_size).epochs_done(5) == 5 * batch_size // images


def test_order_and_draws_come_from_seed_epoch_and_index() -> None:
    assert sorted(epoch_order(3, 1, 20)) == list(range(20))
    orders = {tuple(epoch_order(seed, epoch, 20)) for seed in range(3) for epoch in range(3)}
    draws = {sample_rng(seed, epoch, i).random() for seed in range(3) for epoch in range(3) for i in range(3)}
    assert len(orders) == 9 and len(draws) == 27
    assert np.array_equal(epoch_order(3, 1, 20), epoch_order(3, 1, 20))


def loading(workers: int = 0, samples: object = None) -> Loading:
    return Loading(samples or make_samples(5), make_system().preparation, workers)


@pytest.mark.parametrize("workers", [0, 1, 2])
def test_stream_can_be_entered_anywhere(workers: int) -> None:
    sampling = Sampling(0, 5, 4, accumulate=2)
    from_start = loading(0).training_batches((Brighter(),), sampling, 0)
    expected = [next(from_start) for _ in range(6)][4:]
    entered = loading(workers).training_batches((Brighter(),), sampling, 4)
    for parts in expected:
        for part, found in zip(parts, next(entered), strict=True):
            assert torch.equal(part.images.images, found.images.images)
            assert part.names == found.names
            assert found.images.images.is_contiguous(memory_format=torch.channels_last)
            assert len(found) == 2


def test_loading_leaves_the_systems_draws_alone() -> None:
    source = loading(0)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    next(source.training_batches((), Sampling(0, 5, 2), 0))
    assert torch.equal(torch.rand(1), expected)


def test_validation_sees_every_image_once_in_order() -> None:
    batches = [batch for _, batch in loading(2).validation_batches(2)]
    assert [name for batch in batches for name in batch.names] == [f"image {i}" for i in range(5)]


class Broken(list[Sample]):
    def __getitem__(self, index: object) -> Sample:
        raise DataError("cannot be decoded", place="broken.jpg")


@pytest.mark.parametrize("workers", [0, 1])
def test_errors_of_the_workers_stay_answers(workers: int) -> None:
    with pytest.raises(DataError, match=r"^broken.jpg: cannot be decoded$"):
        next(loading(workers, Broken(make_samples(5))).training_batches((), Sampling(0, 5, 2), 0))


class FromDisk:
    """A data set that decodes at every look."""

    def __init__(self) -> None:
        self.samples, self.looks = make_samples(20), 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        self.looks += 1
        return self.samples[index]


def test_small_sets_are_decoded_once_and_large_ones_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    held, told = hold_in_memory(FromDisk())
    assert isinstance(held, list) and len(held) == 20 and "kept in 1 MB" in told
    monkeypatch.setattr("sightline.training.cache.LARGEST_CACHE", 10_000)
    large = FromDisk()
    held, told = hold_in_memory(large)
    assert held is large and large.looks == 8 and "in every epoch" in told
