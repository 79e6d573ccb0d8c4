"""Faster R-CNN (Ren et al. 2015), joint training, on a feature pyramid (Lin et al. 2017) or on a single map.

Legend: B images, K classes, R regions of the batch, C channels of the pooled maps. Label 0 is the background in this
file only; labels of targets and detections have no background and are lower by one.

The machine: backbone -> neck -> region proposal network -> pooling of regions -> head -> class scores and one box a
class. docs/differences.md says where it departs from the paper and from torchvision, whose official weights it loads.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.assign.draws import uniform
from sightline.assign.iou_matcher import BACKGROUND, IoUMatcher
from sightline.assign.padding import PaddedTargets, covered, pad_targets
from sightline.assign.samplers import BalancedSampler
from sightline.backbones.build import BackboneName, NormPolicy, build_backbone
from sightline.contract import (
    Anchors,
    DataNeeds,
    GradientStage,
    NeuralSystem,
    Optimiser,
    Recipe,
    Schedule,
    Step,
    Task,
)
from sightline.errors import ConfigError
from sightline.geometry.boxes import at_least, clip_each
from sightline.geometry.coding import rcnn_coder
from sightline.geometry.iou import pairwise_iou
from sightline.geometry.nms import batched_nms
from sightline.geometry.roi import pyramid_levels, roi_align, roi_pool
from sightline.layers.dry_run import dry_run
from sightline.layers.norms import fold_norms, has_norms
from sightline.necks.fpn import FPN
from sightline.proposals.proposals import Proposals, rank_in_group
from sightline.proposals.rpn import RPN, SMOOTH_L1_BETA, RPNConfig, RPNRaw
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch, LossTerm, Size, Target
from sightline.transforms.preparation import Preparation
from sightline.transforms.presets import flip_augmentation, light_augmentation

SHORT_SIDE, LONG_SIDE, MOBILE_SIDE = 800, 1333, 320


@dataclass(frozen=True)
class FasterRCNNConfig:
    """Faster R-CNN; the defaults are the pyramid form that torchvision's official weights have."""

    backbone: BackboneName = "resnet50"
    """The trunk, by torchvision's name."""
    neck: Literal["fpn", "none"] = "fpn"
    """Feature pyramid, or a single map: conv4 of a ResNet (C4), conv5 of a VGG."""
    norm: Literal["auto", "frozen", "live"] = "auto"
    """Batch norms of the trunk; auto freezes them if the trunk starts from given weights and lets them live if not."""
    frozen_stages: int = -1
    """Stages of the trunk that do not learn; -1: two from given weights (torchvision's choice), none from random."""
    short_side: int = 0
    """Pixels that the short side of an image is resized to; 0: 800 (Lin et al. 2017, section 5), or 320 with a
    MobileNet or SqueezeNet (torchvision's choice for such)."""
    long_side: int = 0
    """Largest long side in pixels; 0: 1333 if the short side is 800, else twice the short side."""
    channels: int = 256
    """Channels of the pyramid."""
    anchor_scale: float = 8.0
    """Side of the anchors on a pyramid level over its stride: 32 at stride 4 to 512 at stride 64."""
    anchor_sizes: tuple[float, ...] = (128.0, 256.0, 512.0)
    """Sides in pixels of the anchors on a single map (Ren et al. 2015, section 3.3)."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height over width of the anchors."""
    proposals_before_nms: int = 0
    """Anchors a level that suppression sees in prediction, twice as many in training; 0: 1000, or 300 with a MobileNet
    or SqueezeNet, whose images are small."""
    proposals: int = 0
    """Proposals an image in prediction, twice as many in training; 0 as above."""
    proposal_score: float = 0.0
    """Smallest objectness in 0..1 of a proposal."""
    pooling: Literal["align", "pool"] = "align"
    """RoIAlign, or the paper's RoIPool on a single map."""
    head_width: int = 1024
    """Units of the two hidden layers of the pyramid's head."""
    region_samples: int = 0
    """Regions an image that the head's losses see; 0: 512 (torchvision), or 256 with a MobileNet or SqueezeNet."""
    positive_fraction: float = 0.25
    """Largest share of objects among them (Girshick 2015, section 2.3)."""
    score_threshold: float = 0.05
    """Smallest score in 0..1 of a detection."""
    nms_threshold: float = 0.5
    """IoU above which the lesser of two detections of one class falls."""
    detections: int = 100
    """Largest number of detections an image."""

    def __post_init__(self) -> None:
        for name in ("short_side", "long_side", "proposals_before_nms", "proposals", "region_samples"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "0 for the usual, or more")
        for name in ("channels", "head_width", "detections", "anchor_scale"):
            _require(getattr(self, name) > 0, name, getattr(self, name), "more than 0")
        for name in ("proposal_score", "positive_fraction", "score_threshold", "nms_threshold"):
            _require(0 <= getattr(self, name) <= 1, name, getattr(self, name), "a number from 0 to 1")
        for name in ("anchor_sizes", "anchor_ratios"):
            values = getattr(self, name)
            _require(len(values) > 0 and min(values) > 0, name, values, "numbers above 0, at least one")
        _require(-1 <= self.frozen_stages <= 5, "frozen_stages", self.frozen_stages, "-1 for the usual, or 0 to 5")
        form = {"fpn": ("anchor_sizes", "pooling"), "none": ("anchor_scale", "channels", "head_width")}[self.neck]
        for name in form:
            default = type(self).__dataclass_fields__[name].default
            _require(
                getattr(self, name) == default, name, getattr(self, name), f"nothing: neck={self.neck} does not use it"
            )


def vgg16() -> FasterRCNNConfig:
    """The paper's own form: VGG-16, one map of stride 16, RoIPool, fc6 and fc7 as head, 300 proposals."""
    return FasterRCNNConfig(
        backbone="vgg16",
        neck="none",
        short_side=600,
        long_side=1000,
        proposals_before_nms=6000,
        proposals=300,
        pooling="pool",
        region_samples=128,
    )


def c4() -> FasterRCNNConfig:
    """ResNet-50 C4 (He et al. 2015, appendix A): one map of stride 16, conv5_x on each region."""
    return FasterRCNNConfig(neck="none", proposals_before_nms=6000, proposals=300, region_samples=128)


@dataclass(frozen=True, eq=False)
class FasterRCNNRaw:
    """What happens between images and detections.

    Args:
        features: the maps that regions are pooled from and proposals made on.
        rpn: anchors, objectness and deltas.
        proposals: R boxes that the head looks at.
        class_logits: (R, 1 + K), the background first.
        box_deltas: (R, 1 + K, 4) in R-CNN's coding against the proposals.
    """

    features: FeatureMaps
    rpn: RPNRaw
    proposals: Proposals
    class_logits: Tensor
    box_deltas: Tensor


class TwoLayerHead(nn.Module):
    """Two hidden layers on the pooled maps of a region (Lin et al. 2017, section 4.2)."""

    def __init__(self, channels: int, size: int, width: int) -> None:
        super().__init__()
        self.fc6 = nn.Linear(channels * size * size, width)
        self.fc7 = nn.Linear(width, width)

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, size, size) to (R, width)."""
        return F.relu(self.fc7(F.relu(self.fc6(pooled.flatten(1)))))


class TailHead(nn.Module):
    """The last part of the trunk as head: VGG's fc6 and fc7, or a ResNet's conv5_x with average pooling."""

    def __init__(self, tail: nn.Module) -> None:
        super().__init__()
        self.tail = tail

    def forward(self, pooled: Tensor) -> Tensor:
        """(R, C, size, size) to (R, width)."""
        out: Tensor = self.tail(pooled)
        return out.mean(dim=(2, 3)) if out.ndim == 4 else out


class FasterRCNN(NeuralSystem[FasterRCNNRaw, Detections]):
    """The detector.

    Args:
        config: its settings; ``auto``, -1 and 0 are replaced by what they stand for, so that a saved model is explicit.
        classes: what it tells apart.
        backbone_weights: None for random ones, ``imagenet``, or the path of a safetensors file.
    """

    name = "faster_rcnn"
    task: ClassVar[Task] = "detection"
    class_layers: ClassVar[tuple[str, ...]] = ("class_logits.", "box_deltas.")

    def __init__(self, config: FasterRCNNConfig, classes: Classes, backbone_weights: str | None = None) -> None:
        super().__init__()
        config = _explicit(config, pretrained=backbone_weights is not None)
        self.config = config
        self.classes = classes
        if backbone_weights is not None:
            self.origin = f"backbone weights {backbone_weights}, the rest random"
        self.preparation = Preparation(config.short_side, config.long_side)
        norm: NormPolicy = "live" if config.norm == "live" else "frozen"
        single = config.neck == "none"
        backbone = build_backbone(config.backbone, weights=backbone_weights, norm=norm, with_tail=single)
        backbone.freeze_stages(config.frozen_stages)
        self.backbone = backbone
        self.neck: FPN | None = None
        if single:
            channels = backbone.channels[-1]
            self.head: nn.Module = TailHead(backbone.take_tail())
            # conv5_x halves its input; fc6 was trained on 7x7.
            self.pool_size = 14 if config.backbone.startswith("resnet") else 7
            width = _width(self.head, channels, self.pool_size)
            sizes = [config.anchor_sizes]
        else:
            self.neck = FPN(backbone.channels, config.channels)
            channels, self.pool_size, width = config.channels, 7, config.head_width
            strides = (*backbone.strides, backbone.strides[-1] * 2)
            sizes = [(config.anchor_scale * stride,) for stride in strides]
            self.head = TwoLayerHead(channels, self.pool_size, width)
        self.rpn = RPN(channels, sizes, _rpn_config(config))
        self.class_logits = nn.Linear(width, 1 + len(classes))
        self.box_deltas = nn.Linear(width, 4 * (1 + len(classes)))
        self.coder = rcnn_coder((10.0, 10.0, 5.0, 5.0))
        self.matcher = IoUMatcher(0.5, 0.5)
        self.sampler = BalancedSampler(config.region_samples, config.positive_fraction)

    def features(self, batch: ImageBatch) -> FeatureMaps:
        """The maps that proposals are made on: P2..P6, or the one map."""
        images = batch.images.to(self.class_logits.weight.dtype)
        maps: FeatureMaps = self.backbone(images.contiguous(memory_format=torch.channels_last))
        if self.neck is None:
            return FeatureMaps(maps.maps[-1:], maps.strides[-1:])
        pyramid: FeatureMaps = self.neck(maps)
        return pyramid

    def look(self, features: FeatureMaps, boxes: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
        """What the head says of regions.

        Args:
            features: of the batch.
            boxes: (R, 4) in pixels of the batch.
            image_index: (R,) int64.

        Returns:
            class logits (R, 1 + K) and box deltas (R, 1 + K, 4), float32.
        """
        # The coarsest level of a pyramid is for proposals only.
        if len(features) > 1:
            features = FeatureMaps(features.maps[:-1], features.strides[:-1])
        if self.config.pooling == "pool":
            pooled = roi_pool(features.maps[0], boxes, image_index, stride=features.strides[0], size=self.pool_size)
        else:
            levels = pyramid_levels(boxes, features.strides)
            pooled = roi_align(features, boxes, image_index, levels, size=self.pool_size)
        hidden = self.head(pooled)
        logits = self.class_logits(hidden).float()
        return logits, self.box_deltas(hidden).float().unflatten(1, (-1, 4))

    def forward(self, batch: ImageBatch) -> FasterRCNNRaw:
        """Features, proposals and what the head says of them."""
        features = self.features(batch)
        rpn = self.rpn(features, (batch.images.shape[2], batch.images.shape[3]))
        proposals = self.rpn.propose(rpn, batch.sizes, training=False)
        logits, deltas = self.look(features, proposals.boxes, proposals.image_index)
        return FasterRCNNRaw(features, rpn, proposals, logits, deltas)

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``rpn_objectness``, ``rpn_box``, ``classification`` and ``box`` (Girshick 2015, equation 1)."""
        padded = pad_targets(targets)
        features = self.features(batch)
        rpn = self.rpn(features, (batch.images.shape[2], batch.images.shape[3]))
        losses = self.rpn.loss(rpn, padded, batch.seeds)
        proposals = self.rpn.propose(rpn, batch.sizes, training=True)
        boxes, image_index, labels, true_deltas = self.sample_regions(proposals, padded, batch.seeds)
        logits, deltas = self.look(features, boxes, image_index)
        positive = labels.nonzero()[:, 0]
        box = F.smooth_l1_loss(
            deltas[positive, labels[positive]], true_deltas[positive], beta=SMOOTH_L1_BETA, reduction="sum"
        )
        classification = F.cross_entropy(logits, labels, reduction="sum")
        return {**losses, "classification": LossTerm(classification, len(labels)), "box": LossTerm(box, len(labels))}

    @torch.no_grad()
    def sample_regions(
        self, proposals: Proposals, targets: PaddedTargets, seeds: Sequence[int] = ()
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The regions that the head learns from: proposals and true boxes, matched at IoU 0.5 and sampled.

        Args:
            proposals: of the batch.
            targets: of the batch.
            seeds: of the images, from which regions are drawn.

        Returns:
            boxes (S, 4), image_index (S,), labels (S,) with 0 for background, true deltas (S, 4).
        """
        boxes, valid = _by_image(proposals)
        device = boxes.device
        # Apart, so that what is drawn for a true box does not depend on how many proposals other images have.
        parts = [(1, boxes.shape[:2]), (2, targets.boxes.shape[:2])]
        keys = torch.cat([uniform(seeds, (b, n), stream=stream, device=device) for stream, (b, n) in parts], dim=1)
        boxes = torch.cat([boxes, targets.boxes], dim=1)  # (B, P + M, 4)
        valid = torch.cat([valid, targets.valid], dim=1)
        overlap = pairwise_iou(boxes, targets.boxes).masked_fill_(~targets.valid[:, None], -1.0)
        matches = self.matcher(overlap)
        kind = (matches >= 0).to(torch.int64)
        kind[~valid | (matches < BACKGROUND)] = -1
        if targets.ignored.shape[1]:
            kind[covered(boxes, targets.ignored) & (kind == 0)] = -1
        positive, negative = self.sampler(kind, keys)
        image_index, region = (positive | negative).nonzero(as_tuple=True)
        boxes, match = boxes[image_index, region], matches[image_index, region]
        labels = torch.zeros_like(match)
        true_deltas = torch.zeros_like(boxes)
        objects = (match >= 0).nonzero()[:, 0]
        owner = image_index[objects], match[objects]
        labels[objects] = targets.labels[owner] + 1
        true_deltas[objects] = self.coder.encode(targets.boxes[owner], boxes[objects])
        return boxes, image_index, labels, true_deltas

    def decode(self, raw: FasterRCNNRaw, batch: ImageBatch) -> list[Detections]:
        """Detections by class: decoded, clipped, thresholded, suppressed class by class, the best ones kept."""
        config, proposals = self.config, raw.proposals
        scores = raw.class_logits.softmax(dim=-1)[:, 1:]
        region, label = (scores > config.score_threshold).nonzero(as_tuple=True)
        scores, image_index = scores[region, label], proposals.image_index[region]
        boxes = self.coder.decode(raw.box_deltas[region, label + 1], proposals.boxes[region])
        boxes = clip_each(boxes, boxes.new_tensor(list(batch.sizes))[image_index])
        keep = at_least(boxes, 1e-2)
        boxes, scores, label, image_index = boxes[keep], scores[keep], label[keep], image_index[keep]
        groups = image_index * len(self.classes) + label
        best = batched_nms(boxes, scores, groups, config.nms_threshold)
        best = best[image_index[best].sort(stable=True).indices]
        best = best[rank_in_group(image_index[best], len(batch)) < config.detections]
        return _per_image(boxes[best], scores[best], label[best], image_index[best], batch)

    def anchors(self, size: Size) -> Anchors:
        """Those of the region proposal network, for an image that is alone in its batch."""
        batch = self.preparation.batch([torch.empty(3, *size, device="meta")])
        maps: FeatureMaps = dry_run(self.backbone, batch.images)
        sizes = maps.sizes[-1:] if self.neck is None else dry_run(self.neck, maps).sizes
        levels = self.rpn.anchors(sizes, (batch.images.shape[2], batch.images.shape[3]), self.device)
        rpn = self.rpn.config
        return Anchors(batch.to_original(torch.cat(levels), 0), rpn.high, rpn.low, keeps_best=True)

    def data_needs(self) -> DataNeeds:
        """The sets that it was trained on here with an AP50 above 0.9; smaller ones were not tried."""
        seen = "AP50 0.92 on BCCD with 205 from ImageNet's, 0.93 on 3,000 made scenes from none, docs/results.md"
        return DataNeeds(images_given=200, images_random=3000, objects_per_class=200, source=seen)

    def recipe(self) -> Recipe:
        """Joint training in one stage: SGD with frozen norms, that is from given weights; AdamW with live ones."""
        stage = GradientStage(
            name="joint",
            epochs=26,
            batch_size=2,
            optimiser=Optimiser("sgd", lr=0.005, momentum=0.9, weight_decay=1e-4),
            schedule=Schedule("cosine", warmup_steps=500),
            augmentation=light_augmentation(),
            # Maps that no norm holds within bounds (SqueezeNet's) let the losses explode within ten steps.
            clip_norm=None if has_norms(self.backbone) else 10.0,
        )
        if self.config.norm == "frozen":
            return Recipe((stage,), source="epochs, momentum and decay of torchvision's reference")
        # Chosen on Scenes, where it reaches docs/results.md's figure in four minutes; SGD was not compared.
        adamw = Optimiser("adamw", lr=0.002, weight_decay=0.01)
        schedule = Schedule("cosine", warmup_steps=50)
        stage = replace(stage, batch_size=8, optimiser=adamw, schedule=schedule, augmentation=flip_augmentation())
        return Recipe((stage,), source="chosen on Scenes, docs/results.md")

    def for_prediction(self, precision: Literal["fp32", "bf16"] = "fp32") -> Self:
        """A copy with batch norms folded into filters, in channels-last memory, that can only predict."""
        fast = deepcopy(self).eval().requires_grad_(False)
        fold_norms(fast.backbone)
        fold_norms(fast.head)
        fast = fast.to(memory_format=torch.channels_last)
        return fast.to(torch.bfloat16) if precision == "bf16" else fast

    def steps(self, raw: FasterRCNNRaw, batch: ImageBatch) -> tuple[Step, ...]:
        """Objectness, proposals and detections of the first image."""
        first = raw.proposals.image_index == 0
        found = self.decode(raw, batch)[0]
        return (
            Step(
                "Objectness",
                "How much the best anchor at each place of each level looks like an object, whatever its class.",
                "heat-map",
                {f"stride {s}": m for s, m in zip(raw.features.strides, self._objectness(raw, batch), strict=True)},
            ),
            Step(
                "Region proposals",
                "The boxes that the region proposal network thinks hold an object, of whatever class.",
                "boxes",
                {"boxes": batch.to_original(raw.proposals.boxes[first], 0), "scores": raw.proposals.scores[first]},
            ),
            Step(
                "Detections",
                "What is left after the head has named and moved the proposals and doubles have been suppressed.",
                "boxes",
                {"boxes": found.boxes, "scores": found.scores, "labels": found.labels},
            ),
        )

    def _objectness(self, raw: FasterRCNNRaw, batch: ImageBatch) -> list[Tensor]:
        """One (H, W) map in 0..1 a level, in pixels of the first image that went in."""
        maps = []
        (height, width), original = batch.sizes[0], batch.original_sizes[0]
        levels = torch.split(raw.rpn.objectness[0], list(raw.rpn.level_sizes))
        for logits, (rows, columns) in zip(levels, raw.features.sizes, strict=True):
            best = logits.view(1, rows, columns, -1).amax(dim=-1).sigmoid()[None]
            whole = F.interpolate(best, size=batch.images.shape[-2:], mode="nearest")[..., :height, :width]
            maps.append(F.interpolate(whole, size=original, mode="nearest")[0, 0])
        return maps


def _require(sound: bool, name: str, value: object, wanted: str) -> None:
    if not sound:
        raise ConfigError(f"{name} is {value}", place="faster_rcnn", cure=f"give {name} {wanted}")


def _explicit(config: FasterRCNNConfig, *, pretrained: bool) -> FasterRCNNConfig:
    norm = config.norm
    if norm == "auto":
        norm = "frozen" if pretrained else "live"
    frozen_stages = config.frozen_stages
    if frozen_stages == -1:
        frozen_stages = 2 if pretrained else 0
    mobile = config.backbone.startswith(("mobilenet", "squeezenet"))
    short_side = config.short_side or (MOBILE_SIDE if mobile else SHORT_SIDE)
    long_side = config.long_side or (LONG_SIDE if short_side == SHORT_SIDE else 2 * short_side)
    few, samples = (300, 256) if mobile else (1000, 512)
    return replace(
        config,
        norm=norm,
        frozen_stages=frozen_stages,
        short_side=short_side,
        long_side=long_side,
        proposals_before_nms=config.proposals_before_nms or few,
        proposals=config.proposals or few,
        region_samples=config.region_samples or samples,
    )


def _rpn_config(config: FasterRCNNConfig) -> RPNConfig:
    return RPNConfig(
        ratios=config.anchor_ratios,
        before_nms=config.proposals_before_nms,
        before_nms_training=2 * config.proposals_before_nms,
        after_nms=config.proposals,
        after_nms_training=2 * config.proposals,
        score_threshold=config.proposal_score,
    )


def _width(head: nn.Module, channels: int, size: int) -> int:
    """Units that a head gives for a region."""
    head.eval()
    with torch.no_grad():
        width = int(head(torch.zeros(1, channels, size, size)).shape[1])
    head.train()
    return width


def _by_image(proposals: Proposals) -> tuple[Tensor, Tensor]:
    """Boxes (B, P, 4) padded with zeros to the largest number an image, and which of them are real (B, P)."""
    rank = rank_in_group(proposals.image_index, proposals.images)
    most = int(rank.max()) + 1 if len(rank) else 0
    boxes = proposals.boxes.new_zeros(proposals.images, most, 4)
    boxes[proposals.image_index, rank] = proposals.boxes
    valid = torch.zeros(boxes.shape[:2], dtype=torch.bool, device=boxes.device)
    valid[proposals.image_index, rank] = True
    return boxes, valid


def _per_image(
    boxes: Tensor, scores: Tensor, labels: Tensor, image_index: Tensor, batch: ImageBatch
) -> list[Detections]:
    """Detections ordered by image, in pixels of the batch, as one result an image in pixels of what went in."""
    counts = torch.bincount(image_index, minlength=len(batch)).tolist()
    results = []
    parts = zip(*(torch.split(part, counts) for part in (boxes, scores, labels)), strict=True)
    for index, (box, score, label) in enumerate(parts):
        results.append(Detections(batch.to_original(box, index), score, label, batch.original_sizes[index]))
    return results
