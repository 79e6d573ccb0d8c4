"""Ensembles of detectors of regions: He et al., "Deep residual learning for image recognition", CVPR 2016, appendix B.

All members propose; every member looks at the union of their proposals; of each region the probabilities of classes
and the boxes of each class are averaged over the members; suppression comes last. So members help each other before
anything has been named or dropped.

Legend: M members, R regions of all images, K classes. All boxes are in pixels of the images that went in, because
members may prepare images differently.

Departures: settings of what is kept (thresholds, voting, refinement) are those of the first member, and so is what it
adds to a box, such as a mask. The paper does not say how it averages boxes: here each class's by itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self, cast, final

import torch
from torch import Tensor, nn

from sightline.combination.asking import Asking, CombinedDetector
from sightline.combination.ensemble import describe_members, require_alike
from sightline.combination.fusion import require_weights
from sightline.contract import System
from sightline.errors import ConfigError
from sightline.geometry.boxes import at_least, clip_each
from sightline.proposals.proposals import Proposals
from sightline.regions.found import SMALLEST_SIDE, Found, kept
from sightline.regions.region_detector import RegionDetector
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch

Member = RegionDetector[Any]


@final
@dataclass(frozen=True, eq=False)
class RegionEnsemble(CombinedDetector):
    """Detectors of regions that look at each other's proposals; classes and boxes are averaged region by region.

    Args:
        members: detectors of regions of the same classes; at least one.
        weights: one a member, above 0; None for equal ones.

    Raises:
        ConfigError: no member, one that has no head on shared maps, other classes, or weights that do not fit.
    """

    name: ClassVar[str] = "ensemble"

    members: tuple[System[Detections], ...]
    weights: tuple[float, ...] | None = None
    classes: Classes = field(init=False)

    def __post_init__(self) -> None:
        require_alike(self.members)
        require_weights(self.weights, len(self.members))
        for member in self.members:
            if not isinstance(member, RegionDetector):
                raise ConfigError(
                    f"{member.name} looks at no proposals of others",
                    cause="its answers are not those of a head on shared maps, as Fast R-CNN's and its kin's are",
                    cure="fuse detections instead: nms, voting or wbf",
                )
        self._answers_like(self.members[0])

    def asked(self) -> tuple[System[Detections], ...]:
        """The members."""
        return self.members

    def answer(self, asking: Asking) -> list[Detections]:
        """The result of each image."""
        members = [cast(Member, member) for member in self.members]
        shares = require_weights(self.weights, len(members))
        shares = (shares / shares.sum()).tolist()
        with _evaluating(members):
            results = _results([_Look.of(member, asking) for member in members], shares)
        temperature = sum(share * member.temperature for share, member in zip(shares, members, strict=True))
        return results if temperature == 1.0 else [each.at_temperature(temperature) for each in results]

    def with_members(self, members: Sequence[System[Detections]]) -> Self:
        """The same ensemble of others."""
        return replace(self, members=tuple(members))

    def describe(self) -> dict[str, object]:
        """Members, weights and how they work together."""
        how = {"name": "average", "of": "regions", "source": "He et al. 2016, appendix B (ensemble)"}
        return {**describe_members(self.members, self.weights), "fusion": how}


@dataclass(frozen=True, eq=False)
class _Look:
    """What a member needs to look at regions of some images."""

    member: Member
    batch: ImageBatch
    features: FeatureMaps

    @classmethod
    def of(cls, member: Member, asking: Asking) -> "_Look":
        batch = member.prepare(asking.images, asking.proposals_for(member))
        return cls(member, batch, member.features(batch))

    def proposals(self) -> Proposals:
        """Its own, in pixels of the images."""
        own = self.member.regions(self.features, self.batch)
        boxes = torch.split(own.boxes, own.counts().tolist())
        placed = [self.batch.to_original(each, index) for index, each in enumerate(boxes)]
        return replace(own, boxes=torch.cat(placed))

    def at(self, regions: Proposals) -> tuple[Tensor, Tensor]:
        """Probabilities (R, K) of the classes and boxes (R, K, 4) in pixels of the images."""
        boxes = self._in_batch(regions.boxes, regions.image_index)
        logits, deltas = self.member.look(self.features, boxes, regions.image_index)
        moved = self.member.coder.decode(deltas[:, 1:], boxes[:, None].expand(-1, deltas.shape[1] - 1, -1))
        moved = clip_each(moved, boxes.new_tensor(self.batch.sizes)[regions.image_index][:, None])
        scale, offset = self._places(regions.image_index)
        return logits.softmax(dim=1)[:, 1:], (moved - offset[:, None]) / scale[:, None]

    def completed(self, found: Found) -> list[Detections]:
        """One result an image, for boxes in its pixels."""
        boxes = self._in_batch(found.boxes, found.image_index)
        return self.member.completed(replace(found, boxes=boxes), self.features, self.batch)

    def _in_batch(self, boxes: Tensor, image_index: Tensor) -> Tensor:
        scale, offset = self._places(image_index)
        return boxes * scale + offset

    def _places(self, image_index: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 4) scale and offset of the image that each box is in."""
        device = image_index.device
        scales = torch.tensor([self.batch.scales(index)[::-1] * 2 for index in range(len(self.batch))], device=device)
        offsets = torch.tensor([offset[::-1] * 2 for offset in self.batch.offsets], device=device)
        return scales[image_index], offsets[image_index]


@contextmanager
def _evaluating(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Networks in evaluation mode for as long as they are asked."""
    before = [network.training for network in networks]
    try:
        for network in networks:
            network.eval()
        yield
    finally:
        for network, training in zip(networks, before, strict=True):
            network.train(training)


def _results(looks: Sequence[_Look], shares: Sequence[float]) -> list[Detections]:
    """One result an image: the union of proposals, averaged answers, refined as often as the first member does."""
    first = looks[0]
    regions = _united([look.proposals() for look in looks])
    every = [(regions, *_averaged(looks, shares, regions))]
    for _ in range(first.member.config.refinements):
        regions = _refined(*every[-1])
        every.append((regions, *_averaged(looks, shares, regions)))
    return first.completed(_kept(every, first))


def _united(proposals: Sequence[Proposals]) -> Proposals:
    """The union, image by image; what several members propose to the last bit is there once."""
    boxes, index = torch.cat([each.boxes for each in proposals]), torch.cat([each.image_index for each in proposals])
    scores = torch.cat([each.scores for each in proposals])
    table = torch.cat([index[:, None].to(boxes.dtype), boxes], dim=1)
    _, place, counts = torch.unique(table, dim=0, return_inverse=True, return_counts=True)
    # The first of each, in the order in which they came.
    first = place.argsort(stable=True)[counts.cumsum(0) - counts].sort().values
    order = first[index[first].argsort(stable=True)]
    return Proposals(boxes[order], scores[order], index[order], proposals[0].images)


def _averaged(looks: Sequence[_Look], shares: Sequence[float], regions: Proposals) -> tuple[Tensor, Tensor]:
    """Weighted means over the members of the probabilities (R, K) and boxes (R, K, 4) of regions."""
    answers = [look.at(regions) for look in looks]
    scores = torch.stack([share * score for share, (score, _) in zip(shares, answers, strict=True)]).sum(dim=0)
    boxes = torch.stack([share * box for share, (_, box) in zip(shares, answers, strict=True)]).sum(dim=0)
    return scores, boxes


def _refined(regions: Proposals, scores: Tensor, boxes: Tensor) -> Proposals:
    """The boxes that were made of regions, each that of its most likely class."""
    best = scores.argmax(dim=1)
    moved = boxes[torch.arange(len(best), device=best.device), best]
    moved = torch.where(at_least(moved, SMALLEST_SIDE)[:, None], moved, regions.boxes)
    return replace(regions, boxes=moved)


def _kept(every: Sequence[tuple[Proposals, Tensor, Tensor]], first: _Look) -> Found:
    """The detections of all looks, by the first member's settings, in pixels of the images."""
    index = torch.cat([regions.image_index for regions, _, _ in every])
    scores, boxes = torch.cat([score for _, score, _ in every]), torch.cat([box for _, _, box in every])
    member = first.member
    region, label = ((scores > member.config.score_threshold) & at_least(boxes, SMALLEST_SIDE)).nonzero(as_tuple=True)
    candidates = Found(boxes[region, label], scores[region, label], label, index[region])
    return kept(candidates, member.config, len(member.classes), len(first.batch))
