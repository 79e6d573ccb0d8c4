"""Proposers over a data set: what they propose, how long it takes, what it covers, and whether it is stable.

The table that this fills is that of Hosang, Benenson, Dollar and Schiele, "What makes for effective detection
proposals?", PAMI 2016 (table 1); stars there are numbers here.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sightline.classes import Classes
from sightline.contract import NeuralSystem
from sightline.errors import ConfigError
from sightline.evaluation.evaluate import LabelledImages, Progress, evaluate
from sightline.evaluation.evaluation import Evaluation
from sightline.evaluation.perturbations import PERTURBATIONS
from sightline.evaluation.proposal_recall import ProposalRecall, asked_recall, counts_up_to
from sightline.evaluation.repeatability import Repeatability, repeatability
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.structures import Detections

LOOKS = 2 + len(PERTURBATIONS)
"""How often a proposer looks at an image, or a part or change of it, for its repeatability."""


@dataclass(frozen=True, eq=False)
class ProposerResult:
    """What is known of a proposer on a split.

    Args:
        name: that it was asked for by.
        proposer: itself.
        count: proposals that were asked for an image.
        proposals: one an image.
        seconds: of one image, the mean.
        recall: how the objects are covered.
        repeatability: whether it finds the same boxes again; None where nobody asked.
        detection: of the same detector on these proposals; None without a detector.
    """

    name: str
    proposer: Proposer
    count: int
    proposals: tuple[ImageProposals, ...]
    seconds: float
    recall: ProposalRecall
    repeatability: Repeatability | None = None
    detection: Evaluation | None = None

    def to_dict(self, classes: Classes) -> dict[str, Any]:
        """Plain values for JSON."""
        proposer, detection = self.proposer, None
        if self.detection is not None:
            result = self.detection.result
            detection = {"AP": result.ap, "AP50": result.ap50, "protocol": result.protocol}
        return {
            "segments": proposer.segments,
            "scores": proposer.scored,
            "controllable_count": proposer.controllable,
            "version": proposer.version,
            "count": self.count,
            "proposals_per_image": self.recall.made[-1],
            "seconds_per_image": self.seconds,
            "recall": self.recall.to_dict(classes),
            "repeatability": None if self.repeatability is None else self.repeatability.to_dict(),
            "detection": detection,
        }


def judge_proposer(
    name: str, proposer: Proposer, data: LabelledImages, count: int, progress: Progress | None = None
) -> ProposerResult:
    """What a proposer does on a split. One look at the first image, which may compile something, is not timed.

    What it does at smaller counts is judged by the first ones of its proposals; but a proposer that has no scores to
    rank them by and still can make any number, such as a sliding window, is asked anew for each count, as in the paper.

    Args:
        name: that it is shown by.
        proposer: gives proposals anew; of one that keeps them the times would mean nothing.
        data: at least one image.
        count: proposals asked for an image.
        progress: called with images done and images in all.

    Raises:
        DataError: an image that cannot be read.
    """
    proposals, targets, seconds = [], [], 0.0
    asked: dict[int, list[Tensor]] = {number: [] for number in counts_up_to(count)}
    for index in range(len(data)):
        sample = data[index]
        if index == 0:
            proposer.propose(sample.image, count)
        start = time.perf_counter()
        proposals.append(proposer.propose(sample.image, count))
        seconds += time.perf_counter() - start
        targets.append(sample.target)
        for number, boxes in asked.items():
            fewer = proposer.asked_anew and number < count
            found = proposer.propose(sample.image, number) if fewer else proposals[-1]
            boxes.append(found.boxes[:number])
        if progress is not None:
            progress(index + 1, len(data))
    recall = asked_recall(targets, asked)
    return ProposerResult(name, proposer, count, tuple(proposals), seconds / max(1, len(data)), recall)


def repeatability_on(
    proposer: Proposer, data: LabelledImages, count: int, progress: Progress | None = None
) -> Repeatability:
    """Whether a proposer finds the same boxes again on changed images; it looks :data:`LOOKS` times at each.

    Args:
        proposer: gives proposals anew.
        data: the images.
        count: proposals asked for an image.
        progress: called with images done and images in all.

    Raises:
        DataError: an image that cannot be read.
    """
    return repeatability(proposer, _images(data, progress), count)


def require_given_regions(system: NeuralSystem[Any, Detections]) -> None:
    """Raise ``ConfigError`` on a detector that finds its regions itself."""
    if system.proposer is None:
        raise ConfigError(
            f"a {system.name} finds its regions itself and takes no proposals of others",
            cure="give --detector a model that was trained on proposals, such as fast_rcnn",
        )


def detection_with(
    system: NeuralSystem[Any, Detections],
    proposer: Proposer,
    data: LabelledImages,
    count: int,
    progress: Progress | None = None,
) -> Evaluation:
    """How well one detector finds objects on the proposals of another proposer than it learned with.

    Args:
        system: a detector of given regions; afterwards it has this proposer.
        proposer: what it is to look at.
        data: images labelled with its classes.
        count: proposals asked for an image.
        progress: called with images done and images in all.

    Raises:
        ConfigError: a detector that finds its regions itself, or of other classes.
    """
    require_given_regions(system)
    system.proposer, system.proposal_count = proposer, count
    return evaluate(system, data, batch_size=1, progress=progress)


def _images(data: LabelledImages, progress: Progress | None) -> Iterator[Tensor]:
    for index in range(len(data)):
        yield data[index].image
        if progress is not None:
            progress(index + 1, len(data))
