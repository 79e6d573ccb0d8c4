"""Training on samples with proposals beside them: what looks at the kind of the samples still knows it."""

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from test_judging import Decoded
from tiny_system import TinySystem, make_samples, make_system

from sightline.contract import CombinedSystem, System
from sightline.judging import keeping_proposals
from sightline.processes import Processes
from sightline.proposals.kept import ProposedSamples
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.structures import Detections, Sample
from sightline.training import cache
from sightline.training.cache import HeldSamples
from sightline.training.guards.data_needs import count_examples
from sightline.training.guards.worst_batch import extents
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train


@dataclass(frozen=True)
class Whole(Proposer):
    """The whole image; nothing for images that begin with a dark pixel."""

    name: ClassVar[str] = "whole"

    asked: list[int] = field(default_factory=list, compare=False)

    def propose(self, image: torch.Tensor, count: int) -> ImageProposals:
        self.asked.append(count)
        box = torch.tensor([[0.0, 0.0, image.shape[2], image.shape[1]]])
        return ImageProposals(box[: int(image[0, 0, 0] > 20)])


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))


def proposing() -> TinySystem:
    system = make_system()
    system.proposer, system.proposal_count = Whole(), 10
    return system


@pytest.mark.parametrize("fits", [True, False])
def test_a_run_sees_proposals_and_judges_the_samples_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """Samples that fit into memory are judged from there; others are handed on, so that an evaluator knows them."""
    if not fits:
        monkeypatch.setattr(cache, "LARGEST_CACHE", 0)
    val, judged, seen = Decoded(make_samples(3, seed=9)), [], []

    def measure(system: TinySystem, samples: Sequence[Sample], processes: Processes) -> dict[str, float]:
        judged.append(samples)
        return {"score": 1.0}

    class Watched(TinySystem):
        def loss(self, batch, targets):  # type: ignore[no-untyped-def]
            seen.extend(len(boxes) for boxes in batch.proposals)
            return super().loss(batch, targets)

    torch.manual_seed(0)
    system = Watched()
    system.proposer, system.proposal_count = Whole(), 10
    options = TrainOptions(workers=0, device="cpu", precision="32", epochs=1)
    with RunFolder.create(tmp_path / "run", resume=False) as run:
        data = TrainData(Decoded(make_samples(8)), val)
        train(system, system.recipe(), data, options, run, evaluate=measure, progress=SilentProgress())
    assert (judged[0] is val) == (not fits)
    assert isinstance(judged[0], HeldSamples) == fits
    assert {0, 1} <= set(seen)
    assert len(system.proposer.asked) == 11
    if not fits:
        assert val.decoded == 9  # for their size, proposals and losses


def test_a_request_to_end_is_heard_while_regions_are_proposed_and_what_was_made_is_kept(tmp_path: Path) -> None:
    """By a real signal; the second run asks for what is missing alone."""

    class Interrupting(Whole):
        def propose(self, image: torch.Tensor, count: int) -> ImageProposals:
            if len(self.asked) == 4:
                signal.raise_signal(signal.SIGTERM)
            if len(self.asked) > 4:  # the signal is heard in another thread, which needs its turn
                time.sleep(0.02)
            return super().propose(image, count)

    images, asked, lines = Decoded(make_samples(40)), [], []

    class Told(SilentProgress):
        def log(self, text: str) -> None:
            lines.append(text)

    for proposer in (Interrupting(), Whole()):
        system = proposing()
        system.proposer = proposer
        options = TrainOptions(workers=0, device="cpu", precision="32", epochs=1)
        with RunFolder.create(tmp_path / "run", resume=False) as run:
            data = TrainData(images, Decoded(make_samples(3, seed=9)))
            result = train(system, system.recipe(), data, options, run, evaluate=None, progress=Told())
        asked.append(len(proposer.asked))
        assert result.finished == (type(proposer) is Whole)
        if not result.finished:
            assert "stopped while regions were proposed: those that were made are kept" in lines[-1]
            assert "nothing was trained yet; start again" in lines[-1] and not result.best.exists()
    assert 4 <= asked[0] < 40 and sum(asked) == 43


def test_a_set_with_proposals_says_what_it_says_without() -> None:
    samples = make_samples(40)
    proposed = ProposedSamples(ProposedSamples(samples, [torch.zeros(0, 4)] * 40), [torch.zeros(0, 4)] * 40)
    assert extents(proposed).places.tolist() == list(range(40))
    counted = count_examples(proposed, make_system().classes)
    assert counted is not None and counted.tolist() == [40]


class Both(CombinedSystem[Detections]):
    name = "both"
    task = "detection"

    def __init__(self, members: Sequence[System[Detections]]) -> None:
        self.members, self.classes = tuple(members), members[0].classes

    def with_members(self, members: Sequence[System[Detections]]) -> "Both":
        return Both(members)

    def asked(self) -> tuple[System[Detections], ...]:
        return self.members

    def describe(self) -> dict[str, object]:
        return {}

    def predict(self, images: torch.Tensor | Sequence[torch.Tensor]) -> list[Detections]:
        first, *_ = [member.predict(images) for member in self.members]
        return first


def test_a_system_that_keeps_its_proposals_answers_as_before_and_asks_once() -> None:
    system, plain = proposing(), make_system()
    images = [sample.image for sample in make_samples(2)]
    keeping = keeping_proposals(system)
    for _ in range(3):
        for kept, own in zip(keeping.predict(images), plain.predict(images), strict=True):
            assert torch.equal(kept.boxes, own.boxes)
    assert isinstance(system.proposer, Whole) and len(system.proposer.asked) == 2
    assert keeping_proposals(plain) is plain
    keeping_proposals(Both([plain, system])).predict(images)
    assert len(system.proposer.asked) == 2
    system.predict(images)
    assert len(system.proposer.asked) == 4
