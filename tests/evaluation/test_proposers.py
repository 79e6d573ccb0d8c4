from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from proposers_fabricated import Relative, Restless
from torch import Tensor, nn

from sightline.contract import NeuralSystem
from sightline.errors import ConfigError
from sightline.evaluation.perturbations import PERTURBATIONS
from sightline.evaluation.proposers import LOOKS, detection_with, judge_proposer, repeatability_on
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.recipes import GradientStage, Recipe
from sightline.structures import Classes, Detections, ImageBatch, Sample, Target
from sightline.transforms.preparation import Preparation


@dataclass(frozen=True)
class Record:
    image_id: int
    size: tuple[int, int]


class Pictures:
    """Three images with one object each; its place is the bright part of the image."""

    classes = Classes(("thing",))

    def __init__(self) -> None:
        self.records = [Record(number, (40, 60)) for number in range(3)]

    def __len__(self) -> int:
        return 3

    def target(self, index: int) -> Target:
        box = torch.tensor([[5.0 + index, 6.0, 25.0 + index, 26.0]])
        return Target(box, torch.zeros(1, dtype=torch.int64), (40, 60))

    def __getitem__(self, index: int) -> Sample:
        if index >= 3:
            raise IndexError
        image = torch.zeros(3, 40, 60, dtype=torch.uint8)
        image[:, 6:26, 5 + index : 25 + index] = 255
        return Sample(image, self.target(index), index)


@dataclass(frozen=True)
class Counting(Proposer):
    """Finds the bright part, and counts how often it looked."""

    name: ClassVar[str] = "counting"
    looks: ClassVar[list[int]] = []

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        self.looks.append(count)
        rows, columns = (image[0] > 100).nonzero(as_tuple=True)
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        return ImageProposals(torch.tensor([corners], dtype=torch.float32))


@dataclass(frozen=True)
class Ranking(Counting):
    """The same after a box that is nothing, with scores."""

    name: ClassVar[str] = "ranking"
    scored: ClassVar[bool] = True

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        boxes = torch.cat([torch.tensor([[0.0, 0.0, 2.0, 2.0]]), super().propose(image, count).boxes])
        return ImageProposals(boxes, torch.tensor([0.9, 0.1]))


class Believer(NeuralSystem[ImageBatch, Detections]):
    """Answers with its proposals."""

    name: ClassVar[str] = "believer"
    task: ClassVar[str] = "detection"

    def __init__(self, proposer: Proposer | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.classes, self.config = Pictures.classes, None
        self.preparation = Preparation(short_side=80, long_side=200)
        self.proposer = proposer

    def forward(self, batch: ImageBatch) -> ImageBatch:
        return batch

    def loss(self, batch, targets):
        raise NotImplementedError

    def decode(self, raw: ImageBatch, batch: ImageBatch) -> list[Detections]:
        found = []
        for index, proposals in enumerate(raw.proposals):
            boxes, count = batch.to_original(proposals, index), len(proposals)
            labels = torch.zeros(count, dtype=torch.int64)
            found.append(Detections(boxes, torch.linspace(1, 0.5, count), labels, batch.original_sizes[index]))
        return found

    def recipe(self) -> Recipe:
        return Recipe((GradientStage(),))


def test_a_proposer_is_judged_once_an_image_and_once_to_warm_up():
    Counting.looks.clear()
    calls: list[tuple[int, int]] = []
    result = judge_proposer("mine", Counting(), Pictures(), 7, lambda done, total: calls.append((done, total)))
    # It has no scores but makes any number: it is asked anew for each count.
    assert Counting.looks == [7] + [7, 1, 3] * 3 and calls == [(1, 3), (2, 3), (3, 3)]
    assert result.recall.average_recall() == 1.0 and result.recall.counts == (1, 3, 7)
    assert result.recall.made == (1.0, 1.0, 1.0) and result.seconds > 0
    document = result.to_dict(Pictures.classes)
    assert (document["segments"], document["scores"], document["count"]) == (False, False, 7)
    assert document["recall"]["by_count"][0]["recall_50"] == 1.0
    assert document["detection"] is None and document["repeatability"] is None


def test_ranked_proposals_are_cut_off_and_not_asked_for_again():
    Ranking.looks.clear()
    result = judge_proposer("mine", Ranking(), Pictures(), 40)
    assert Ranking.looks == [40] * 4
    assert result.recall.counts == (1, 3, 10, 30, 40) and result.recall.made == (1, 2, 2, 2, 2)
    # The object is what it ranks second.
    assert [result.recall.average_recall(count) for count in result.recall.counts] == [0, 1, 1, 1, 1]


def test_repeatability_takes_as_many_looks_as_it_says():
    Counting.looks.clear()
    found = repeatability_on(Counting(), Pictures(), 1)
    assert len(Counting.looks) == 3 * LOOKS == 3 * (2 + len(PERTURBATIONS))
    by_kind = found.by_kind()
    assert by_kind["JPEG"] > 0.7 and by_kind["scale"] > 0.9
    assert repeatability_on(Restless(), Pictures(), 1).mean < 0.3


def test_a_detector_finds_what_the_proposer_before_it_proposes():
    before = Relative()
    system = Believer(before)
    assert detection_with(system, Counting(), Pictures(), 5).result.ap == pytest.approx(1.0)
    assert (system.proposer, system.proposal_count) == (Counting(), 5)
    assert detection_with(system, Restless(), Pictures(), 5).result.ap < 0.2


def test_a_detector_without_given_regions_is_refused():
    with pytest.raises(ConfigError, match="a believer finds its regions itself"):
        detection_with(Believer(None), Counting(), Pictures(), 5)
