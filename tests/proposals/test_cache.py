"""Proposals that are kept: the same boxes, never those of others, never in the way."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor

from sightline.errors import DataError
from sightline.processes import Processes
from sightline.proposals import cache
from sightline.proposals.cache import CachedProposer, cached, propose_for
from sightline.proposals.kept import ProposedSamples, without_proposals
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.structures import Sample, Target


@dataclass(frozen=True)
class Corner(Proposer):
    """One box from the corner, as large as the first pixel's red says; counts how often it is asked."""

    name: ClassVar[str] = "corner"
    scored: ClassVar[bool] = True

    grow: int = 0
    asked: list[int] = field(default_factory=list, compare=False)

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        self.asked.append(threading.get_ident())
        side = int(image[0, 0, 0]) + self.grow
        if side == 0:
            return ImageProposals(torch.zeros(0, 4), torch.zeros(0))
        boxes = torch.tensor([[0.0, 0, side, side], [0.0, 0, side, 1]])[:count]
        return ImageProposals(boxes, torch.tensor([0.75, 0.25])[:count])


def image(red: int) -> Tensor:
    return torch.full((3, 20, 30), red, dtype=torch.uint8)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_was_proposed_is_read_the_next_time(tmp_path: Path) -> None:
    proposer = CachedProposer(Corner(), tmp_path)
    first = proposer.made(image(9), 5)
    again = CachedProposer(Corner(), tmp_path).made(image(9), 5)
    assert (first.kept, again.kept) == (False, True)
    assert again.seconds == first.seconds > 0
    assert torch.equal(again.proposals.boxes, first.proposals.boxes)
    assert again.proposals.scores is not None and again.proposals.scores.tolist() == [0.75, 0.25]
    assert len(files(tmp_path)) == 1
    assert (proposer.name, proposer.scored, proposer.version) == ("corner", True, 1)


def test_no_proposals_are_kept_too(tmp_path: Path) -> None:
    proposer = Corner()
    for _ in range(2):
        assert len(CachedProposer(proposer, tmp_path).propose(image(0), 5)) == 0
    assert len(proposer.asked) == 1


class Other(Corner):
    version: ClassVar[int] = 2


class Named(Corner):
    name: ClassVar[str] = "another"


@pytest.mark.parametrize(
    ("proposer", "red", "count"),
    [(Corner(), 8, 5), (Corner(), 9, 4), (Corner(1), 9, 5), (Other(), 9, 5), (Named(), 9, 5)],
)
def test_other_pixels_counts_settings_versions_and_names_have_their_own(
    tmp_path: Path, proposer: Corner, red: int, count: int
) -> None:
    CachedProposer(Corner(), tmp_path).propose(image(9), 5)
    assert not CachedProposer(proposer, tmp_path).made(image(red), count).kept
    assert CachedProposer(Corner(), tmp_path).made(image(9), 5).kept


def test_the_same_bytes_in_another_shape_are_another_image(tmp_path: Path) -> None:
    CachedProposer(Corner(), tmp_path).propose(image(9), 5)
    assert not CachedProposer(Corner(), tmp_path).made(image(9).reshape(3, 30, 20), 5).kept


def test_an_old_format_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    CachedProposer(Corner(), tmp_path).propose(image(9), 5)
    monkeypatch.setattr(cache, "FORMAT", cache.FORMAT + 1)
    assert not CachedProposer(Corner(), tmp_path).made(image(9), 5).kept


@pytest.mark.parametrize("damage", ["empty", "cut", "noise", "other boxes"])
def test_a_damaged_file_is_made_anew(tmp_path: Path, damage: str) -> None:
    proposer = CachedProposer(Corner(), tmp_path)
    wanted = proposer.propose(image(9), 5).boxes
    (path,) = files(tmp_path)
    whole = path.read_bytes()
    if damage == "other boxes":
        proposer.propose(image(25), 5)  # wider than high: beyond the 20 rows
        (other,) = set(files(tmp_path)) - {path}
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes({"empty": b"", "cut": whole[:-4], "noise": b"\xff" * len(whole)}[damage])
    made = proposer.made(image(9), 5)
    assert not made.kept and torch.equal(made.proposals.boxes, wanted)
    assert proposer.made(image(9), 5).kept


def test_a_folder_that_cannot_be_written_costs_time_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    proposer = CachedProposer(Corner(), tmp_path / "file" / "proposals")
    for _ in range(2):
        assert not proposer.made(image(9), 5).kept
    assert CachedProposer(Corner(), None).propose(image(9), 1).boxes.tolist() == [[0, 0, 9, 9]]


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    assert cached(Corner()) == CachedProposer(Corner(), tmp_path / "proposals")
    assert cached(cached(Corner())) == cached(Corner())
    for name in ("SIGHTLINE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)

    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", no_home)
    assert cached(Corner()).folder is None


class OnDisk(Sequence[Sample]):
    """Decodes a sample each time that it is asked for."""

    def __init__(self, reds: list[int]) -> None:
        self.reds, self.decoded = reds, 0

    def __len__(self) -> int:
        return len(self.reds)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]
        self.decoded += 1
        if self.reds[index] < 0:
            raise DataError("cannot be read", place=f"{index}.jpg")
        return Sample(image(self.reds[index]), Target.empty((20, 30)), index)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path))
    return tmp_path / "proposals"


def test_samples_on_the_disk_stay_there(folder: Path) -> None:
    samples, told = OnDisk([3, 0, 7, 5, 2]), []
    proposed = propose_for(samples, Corner(), 1, lambda *done: told.append(done))
    assert told == [(done, 5) for done in (1, 2, 3, 4, 5)]
    assert isinstance(proposed, ProposedSamples) and without_proposals(proposed) is samples
    assert samples.decoded == 5
    boxes = [proposed[index].proposals for index in range(5)]
    assert [each.tolist() for each in boxes if each is not None] == [
        [[0, 0, 3, 3]],
        [],
        [[0, 0, 7, 7]],
        [[0, 0, 5, 5]],
        [[0, 0, 2, 2]],
    ]
    assert samples.decoded == 10
    assert len(files(folder)) == 5


def test_samples_in_memory_stay_there_and_are_proposed_for_once(folder: Path) -> None:
    samples, proposer = list(OnDisk([3, 4])), Corner()
    for _ in range(2):
        proposed = propose_for(samples, proposer, 1, lambda *_: None)
        assert isinstance(proposed, list)
        assert [sample.image is held.image for sample, held in zip(proposed, samples, strict=True)] == [True, True]
    assert len(proposer.asked) == 2
    assert threading.get_ident() not in proposer.asked


def test_processes_begin_with_other_images_and_end_with_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "usable_cores", lambda: 1)
    reds = [3, 4, 5, 6, 7]
    for rank, order in ((0, [3, 5, 7, 4, 6]), (1, [4, 6, 3, 5, 7])):
        proposer, looked = Corner(), []
        monkeypatch.setattr(cache, "as_pixels", lambda pixels, to=looked: to.append(int(pixels[0, 0, 0])) or pixels)
        proposed = propose_for(OnDisk(reds), proposer, 1, lambda *_: None, Processes(rank, 2))
        assert looked == order
        assert [proposed[index].proposals.tolist() for index in range(5)] == [[[0, 0, red, red]] for red in reds]
        assert len(proposer.asked) == (5 if rank == 0 else 0)


def test_samples_of_floats_are_looked_at_as_pixels(folder: Path) -> None:
    floats = [Sample(torch.full((3, 20, 30), 6 / 255), Target.empty((20, 30)), 0)]
    (proposed,) = propose_for(floats, Corner(), 1, lambda *_: None)
    assert proposed.proposals is not None and proposed.proposals.tolist() == [[0, 0, 6, 6]]


def test_an_image_that_cannot_be_read_is_the_answer(folder: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        propose_for(OnDisk([3, -1, 4]), Corner(), 1, lambda *_: None)
