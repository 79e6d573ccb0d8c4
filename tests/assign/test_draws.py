import pytest
import torch

from sightline.assign.draws import uniform

CPU = torch.device("cpu")
GOLDEN, WORD = 0x9E3779B97F4A7C15, 2**64


def splitmix(z: int) -> int:
    """The finaliser of SplitMix64 in Python's own integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % WORD
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % WORD
    return z ^ (z >> 31)


def test_numbers_are_those_of_splitmix() -> None:
    seeds = (0, 1, 2**63 - 1, 123456789)
    found = uniform(seeds, (4, 7), stream=0, device=CPU)
    expected = [[(splitmix((splitmix(s) + (i + 1) * GOLDEN) % WORD) >> 40) / 2**24 for i in range(7)] for s in seeds]
    assert found.tolist() == expected
    # The generator's first output from state 0, as published with its reference code.
    assert splitmix(GOLDEN) == 0xE220A8397B1DCDAF


def test_an_image_draws_the_same_in_every_batch() -> None:
    whole = uniform((5, 6, 7), (3, 100), stream=1, device=CPU)
    assert torch.equal(uniform((6,), (1, 100), stream=1, device=CPU), whole[1:2])
    assert torch.equal(uniform((7, 6), (2, 40), stream=1, device=CPU), whole[[2, 1], :40])


def test_images_streams_and_places_are_independent() -> None:
    count = 20_000
    rows = torch.cat([uniform((5, 6), (2, count), stream=stream, device=CPU) for stream in (0, 1, 2)])
    assert (rows.mean(dim=1) - 0.5).abs().max() < 4 * (1 / 12 / count) ** 0.5
    assert (rows.var(dim=1) - 1 / 12).abs().max() < 0.003
    with_neighbours = torch.cat([rows, rows.roll(1, dims=1)])
    off_diagonal = torch.corrcoef(with_neighbours) - torch.eye(12)
    assert off_diagonal.abs().max() < 5 / count**0.5
    assert 0 <= rows.min() < 1e-3 and 0.999 < rows.max() < 1


def test_without_seeds_torchs_generator_decides() -> None:
    torch.manual_seed(3)
    first, second = (uniform((), (2, 5), stream=0, device=CPU) for _ in range(2))
    assert not torch.equal(first, second)
    torch.manual_seed(3)
    assert torch.equal(uniform((), (2, 5), stream=9, device=CPU), first)


def test_as_many_seeds_as_images() -> None:
    with pytest.raises(ValueError, match="3 images need as many seeds, got 2"):
        uniform((1, 2), (3, 4), stream=0, device=CPU)
    assert uniform((1, 2), (2, 0), stream=0, device=CPU).shape == (2, 0)
