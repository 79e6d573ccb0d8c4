"""Region Proposal Network (Ren et al. 2015, section 3.1), on one map or on a pyramid (Lin et al. 2017, section 4.1).

Legend: B images, L levels, A anchors over all levels (ordered by level, row, column, anchor), P kept before
suppression, R proposals of the batch, M true objects of the image that has most.

Departures from the paper, torchvision's too: anchors that cross the border train as well; objectness is one logit
rather than a softmax over two; smooth L1 turns at 1/9; anchors are suppressed level by level.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.assign.draws import uniform
from sightline.assign.iou_matcher import BACKGROUND, IoUMatcher
from sightline.assign.padding import PaddedTargets, covered
from sightline.assign.samplers import BalancedSampler
from sightline.geometry.anchors import cell_anchors, grid
from sightline.geometry.boxes import at_least, clip_each
from sightline.geometry.coding import rcnn_coder
from sightline.geometry.iou import pairwise_iou
from sightline.geometry.nms import batched_nms
from sightline.proposals.proposals import Proposals, rank_in_group
from sightline.structures import FeatureMaps, LossTerm, Size

SMOOTH_L1_BETA = 1 / 9


@dataclass(frozen=True)
class RPNConfig:
    """Settings of the network and of how it learns; defaults are torchvision's for a pyramid.

    Args:
        ratios: height over width of the anchors.
        high: IoU from which an anchor is an object; the best anchor of each object is one as well.
        low: IoU below which an anchor is background.
        samples: anchors an image that the losses see.
        positive_fraction: largest share of objects among them.
        before_nms: best anchors a level that suppression sees, in prediction.
        before_nms_training: the same in training.
        after_nms: proposals an image, in prediction.
        after_nms_training: the same in training.
        nms_threshold: IoU above which the lesser proposal falls.
        score_threshold: smallest objectness in 0..1 of a proposal.
    """

    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    high: float = 0.7
    low: float = 0.3
    samples: int = 256
    positive_fraction: float = 0.5
    before_nms: int = 1000
    before_nms_training: int = 2000
    after_nms: int = 1000
    after_nms_training: int = 2000
    nms_threshold: float = 0.7
    score_threshold: float = 0.0


@dataclass(frozen=True, eq=False)
class RPNRaw:
    """What the network says of every anchor.

    Args:
        anchors: (A, 4) xyxy in pixels of the batch.
        objectness: (B, A) logits.
        deltas: (B, A, 4) in R-CNN's coding against the anchors.
        level_sizes: anchors on each level; they sum to A.
    """

    anchors: Tensor
    objectness: Tensor
    deltas: Tensor
    level_sizes: tuple[int, ...]


class RPN(nn.Module):
    """The network and its anchors.

    Args:
        channels: C of every map.
        sizes: side lengths in pixels of the anchors on each level.
        config: settings.
    """

    def __init__(self, channels: int, sizes: Sequence[Sequence[float]], config: RPNConfig) -> None:
        super().__init__()
        self.config = config
        self.sizes = tuple(tuple(level) for level in sizes)
        anchors = {len(level) for level in self.sizes}
        if len(anchors) != 1:
            raise ValueError("every level must have as many anchor sizes, because the levels share one head")
        count = anchors.pop() * len(config.ratios)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.objectness = nn.Conv2d(channels, count, 1)
        self.deltas = nn.Conv2d(channels, count * 4, 1)
        for layer in (self.conv, self.objectness, self.deltas):
            nn.init.normal_(layer.weight, std=0.01)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        self.coder = rcnn_coder((1.0, 1.0, 1.0, 1.0))
        self.matcher = IoUMatcher(config.high, config.low, keep_best=True)
        self.sampler = BalancedSampler(config.samples, config.positive_fraction)

    def anchors(self, level_sizes: Sequence[Size], batch_size: Size, device: torch.device) -> list[Tensor]:
        """One (H_l * W_l * a, 4) tensor a level."""
        grids = []
        for sizes, (height, width) in zip(self.sizes, level_sizes, strict=True):
            cells = cell_anchors(sizes, self.config.ratios, rounded=True).to(device)
            # Not the declared stride: official weights learned with anchors spaced by the whole quotient.
            stride = (batch_size[0] // height, batch_size[1] // width)
            grids.append(grid(cells, (height, width), stride))
        return grids

    def forward(self, features: FeatureMaps, batch_size: Size) -> RPNRaw:
        """What every anchor looks like.

        Args:
            features: L maps of C channels.
            batch_size: (H, W) of the padded batch.
        """
        objectness, deltas = [], []
        for level in features:
            hidden = F.relu(self.conv(level), inplace=True)
            batch = hidden.shape[0]
            # (B, a, H, W) to (B, H * W * a)
            objectness.append(self.objectness(hidden).permute(0, 2, 3, 1).reshape(batch, -1).float())
            # (B, a * 4, H, W) to (B, H * W * a, 4)
            deltas.append(self.deltas(hidden).permute(0, 2, 3, 1).reshape(batch, -1, 4).float())
        anchors = self.anchors(features.sizes, batch_size, objectness[0].device)
        level_sizes = tuple(len(level) for level in anchors)
        return RPNRaw(torch.cat(anchors), torch.cat(objectness, 1), torch.cat(deltas, 1), level_sizes)

    @torch.no_grad()
    def propose(self, raw: RPNRaw, sizes: Sequence[Size], *, training: bool) -> Proposals:
        """The best boxes of each image: top of each level, decoded, clipped, suppressed level by level.

        Args:
            raw: of a batch.
            sizes: (H, W) of each image in the batch, without padding.
            training: keep the numbers that training uses instead of those of prediction.
        """
        config = self.config
        if training:
            return self.best(raw, sizes, config.before_nms_training, config.after_nms_training)
        return self.best(raw, sizes, config.before_nms, config.after_nms)

    @torch.no_grad()
    def best(self, raw: RPNRaw, sizes: Sequence[Size], before: int, after: int) -> Proposals:
        """At most ``after`` boxes of each image, of the ``before`` best anchors of each level; as :meth:`propose`."""
        config = self.config
        picked, levels, offset = [], [], 0
        for level, objectness in enumerate(torch.split(raw.objectness, list(raw.level_sizes), dim=1)):
            index = objectness.topk(min(before, objectness.shape[1]), dim=1).indices
            picked.append(index + offset)
            levels.append(torch.full_like(index, level))
            offset += objectness.shape[1]
        index, level_index = torch.cat(picked, 1), torch.cat(levels, 1)  # (B, P)
        batch = len(index)
        scores = raw.objectness.gather(1, index).sigmoid()
        deltas = raw.deltas.gather(1, index[..., None].expand(-1, -1, 4))
        boxes = self.coder.decode(deltas, raw.anchors[index])
        boxes = clip_each(boxes, boxes.new_tensor(list(sizes))[:, None])

        keep = at_least(boxes, 1e-3) & (scores >= config.score_threshold)
        image_index = torch.arange(batch, device=boxes.device)[:, None].expand_as(keep)[keep]
        boxes, scores, level_index = boxes[keep], scores[keep], level_index[keep]
        survivors = batched_nms(boxes, scores, image_index * len(self.sizes) + level_index, config.nms_threshold)
        # Best first over the whole batch; a stable sort makes that best first in each image.
        survivors = survivors[image_index[survivors].sort(stable=True).indices]
        survivors = survivors[rank_in_group(image_index[survivors], batch) < after]
        return Proposals(boxes[survivors], scores[survivors], image_index[survivors], batch)

    def loss(self, raw: RPNRaw, targets: PaddedTargets, seeds: Sequence[int] = ()) -> dict[str, LossTerm]:
        """``rpn_objectness`` and ``rpn_box`` over the sampled anchors (equation 1 with lambda N_cls / N_reg = 1).

        Args:
            raw: of a batch.
            targets: of the batch.
            seeds: of the images, from which anchors are drawn; as ``assign.draws.uniform`` has them.
        """
        with torch.no_grad():
            overlap = pairwise_iou(raw.anchors, targets.boxes)  # (B, A, M)
            overlap = overlap.masked_fill_(~targets.valid[:, None], -1.0)
            matches = self.matcher(overlap)
            labels = (matches >= 0).to(torch.int64) - (matches < BACKGROUND).to(torch.int64)
            if targets.ignored.shape[1]:
                labels[covered(raw.anchors, targets.ignored) & (labels == 0)] = -1
            keys = uniform(seeds, (labels.shape[0], labels.shape[1]), stream=0, device=labels.device)
            positive, negative = self.sampler(labels, keys)
            image, anchor = positive.nonzero(as_tuple=True)
            true_boxes = targets.boxes[image, matches[image, anchor]]
            true_deltas = self.coder.encode(true_boxes, raw.anchors[anchor])
            sampled = positive | negative
        count = sampled.sum()
        objectness = F.binary_cross_entropy_with_logits(
            raw.objectness[sampled], positive[sampled].to(raw.objectness.dtype), reduction="sum"
        )
        box = F.smooth_l1_loss(raw.deltas[image, anchor], true_deltas, beta=SMOOTH_L1_BETA, reduction="sum")
        return {"rpn_objectness": LossTerm(objectness, count), "rpn_box": LossTerm(box, count)}
