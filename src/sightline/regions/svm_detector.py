"""What R-CNN and SPP-net have in common: features of given regions, SVMs on them, and boxes moved by regression.

Legend: B images, K classes, R regions of the batch, D and E numbers that describe a region. Label 0 is the background
in the fine-tuning alone; SVMs, regressors, targets and detections have none and are lower by one.

The machine, in five steps that the recipe shows: (0) a network trained for something larger; (1) it is fine-tuned to
tell K + 1 kinds of regions apart; (2) features of all regions are put on the disk; (3) an SVM a class is fitted to
them; (4) a box regressor a class. Until (3) the fine-tuned softmax answers. What describes a region is the subclass's.

Refinement, voting and context are those of He et al. 2016, as in ``region_detector``: network, SVMs and regressors look
again at the boxes that they made; with context all of them read a feature of the whole image beside each region's own.
"""

from abc import abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.assign.iou_matcher import IoUMatcher
from sightline.assign.padding import pad_targets
from sightline.assign.samplers import BalancedSampler
from sightline.backbones.build import BackboneName
from sightline.contract import DataNeeds, NeuralSystem, Step, Task
from sightline.geometry.coding import rcnn_coder
from sightline.layers.norms import fold_norms
from sightline.proposals.proposals import Proposals
from sightline.recipes import FitStage, GradientStage, Optimiser, Recipe, Schedule
from sightline.regions.config import AnswerConfig
from sightline.regions.feature_cache import Number
from sightline.regions.found import candidates, kept
from sightline.regions.looking import (
    beside_whole_images,
    look_repeatedly,
    looks_at_first_image,
    refined,
    refined_steps,
)
from sightline.regions.sampling import RegionSampler
from sightline.regions.svm_stages import cache_features, fit_regressors, fit_svms
from sightline.structures import Classes, Detections, FeatureMaps, ImageBatch, LossTerm, Target
from sightline.transforms.preparation import Preparation
from sightline.transforms.presets import flip_augmentation

NOT_FITTED = ("class_logits.", "svms.", "box_shifts.", "svms_fitted")
"""Of the state: what features of regions do not depend on."""


@dataclass(frozen=True)
class SVMDetectorConfig(AnswerConfig):
    """A detector that scores features of given regions by SVMs; the defaults are R-CNN's."""

    backbone: BackboneName = "vgg16"
    """The trunk, by torchvision's name."""
    short_side: int = 600
    """Pixels that the short side of an image is resized to."""
    long_side: int = 1000
    """Largest long side in pixels."""
    proposer: str = "selective_search"
    """Who proposes regions: a name of ``sightline proposals --help``, or a model file whose RPN does."""
    proposals: int = 2000
    """Regions an image, in training and in prediction (section 2.2)."""
    region_samples: int = 64
    """Regions an image that the fine-tuning sees; with its two images a step the paper's 128 (section 2.3)."""
    positive_fraction: float = 0.25
    """Largest share of objects among them: 32 of 128, IoU of at least 0.5 (section 2.3)."""
    svm_cost: float = 0.001
    """C of the SVMs, on features of mean norm 20."""
    hard_negatives: int = 2000
    """New hard negatives that a class waits for before its SVM is fitted again."""
    mining_passes: int = 1
    """Passes of hard-negative mining through all images (section 2.3)."""
    ridge: float = 1000.0
    """Lambda of the box regression (appendix C)."""
    cached: Number = "float16"
    """What features are kept as on the disk; float32 takes twice the room."""
    score_threshold: float = 0.05
    """Smallest score in 0..1 of a detection: the logistic of an SVM's margin, or the fine-tuned softmax."""
    nms_threshold: float = 0.3
    """IoU above which the lesser of two detections of one class falls."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("short_side", "long_side", "proposals", "region_samples", "hard_negatives", "mining_passes"):
            self.require(getattr(self, name) >= 1, name, "1 or more")
        for name in ("svm_cost", "ridge"):
            self.require(getattr(self, name) > 0, name, "more than 0")


@dataclass(frozen=True, eq=False)
class RegionFeatures:
    """What describes R regions.

    Args:
        hidden: (R, D) for classes; fc7 in the papers.
        pooled: (R, E) for boxes, in which places are kept; pool5 in the papers.
    """

    hidden: Tensor
    pooled: Tensor


@dataclass(frozen=True, eq=False)
class SVMRaw:
    """What is said of regions.

    Args:
        proposals: R boxes.
        class_logits: (R, 1 + K) of the fine-tuning, the background first.
        margins: (R, K) of the SVMs; zeros before they are fitted.
        box_deltas: (R, K, 4) in R-CNN's coding against the proposals; zeros before the regressors are fitted.
    """

    proposals: Proposals
    class_logits: Tensor
    margins: Tensor
    box_deltas: Tensor


class SVMDetector(NeuralSystem[SVMRaw, Detections]):
    """SVMs and box regressors on features of given regions; the subclass makes those and then calls ``_end``.

    With ``context`` D and E below are twice what ``describe`` gives.

    Attributes:
        class_logits: of the fine-tuning, from D to 1 + K.
        svms: K hyperplanes, fitted and never moved by gradients.
        box_shifts: K times four regressions, likewise.
        svms_fitted: 1 once the SVMs answer, 0 before.
        widths: of what ``describe`` gives, for classes and for boxes.
    """

    config: SVMDetectorConfig
    task: ClassVar[Task] = "detection"
    class_layers: ClassVar[tuple[str, ...]] = NOT_FITTED

    def __init__(self, config: SVMDetectorConfig, classes: Classes, backbone_weights: str | None) -> None:
        super().__init__()
        self.config = config
        self.classes = classes
        if backbone_weights is not None:
            self.origin = f"backbone weights {backbone_weights}, the rest random"
        self.preparation = Preparation(config.short_side, config.long_side)
        self.ask(config.proposer, config.proposals)
        self.coder = rcnn_coder((1.0, 1.0, 1.0, 1.0))
        self.sampler = RegionSampler(
            IoUMatcher(0.5, 0.5), BalancedSampler(config.region_samples, config.positive_fraction), self.coder
        )

    def _end(self, hidden: int, pooled: int) -> None:
        """Add what stands on the features, given the widths of what ``describe`` gives."""
        self.widths = (hidden, pooled)
        if self.config.context:
            hidden, pooled = 2 * hidden, 2 * pooled
        self.class_logits = nn.Linear(hidden, 1 + len(self.classes))
        self.svms = nn.Linear(hidden, len(self.classes)).requires_grad_(False)
        self.box_shifts = nn.Linear(pooled, 4 * len(self.classes)).requires_grad_(False)
        for part in (self.svms, self.box_shifts):
            nn.init.zeros_(part.weight)
            nn.init.zeros_(part.bias)
        self.svms_fitted: Tensor
        self.register_buffer("svms_fitted", torch.zeros(()))

    def features(self, batch: ImageBatch) -> Sequence[FeatureMaps]:
        """What regions are described from, once a batch: the images, unless the subclass has maps of them."""
        return (FeatureMaps((batch.images,), (1,), batch.sizes),)

    @abstractmethod
    def describe(self, features: Sequence[FeatureMaps], boxes: Tensor, image_index: Tensor) -> RegionFeatures:
        """Features of regions alone.

        Args:
            features: of the batch.
            boxes: (R, 4) in pixels of the batch; R may be 0.
            image_index: (R,) int64.
        """

    def look(
        self, batch: ImageBatch, features: Sequence[FeatureMaps], boxes: Tensor, image_index: Tensor
    ) -> RegionFeatures:
        """All that is known of regions: (R, D) and (R, E), with ``context`` the whole image's beside each one's own."""
        if not self.config.context:
            return self.describe(features, boxes, image_index)

        def describe(boxes: Tensor, image_index: Tensor) -> tuple[Tensor, Tensor]:
            found = self.describe(features, boxes, image_index)
            return found.hidden, found.pooled

        return RegionFeatures(*beside_whole_images(describe, boxes, image_index, batch.sizes))

    @abstractmethod
    def feature_settings(self) -> dict[str, object]:
        """What features depend on beside weights, preparation and backbone, as JSON can hold it."""

    def forward(self, batch: ImageBatch) -> SVMRaw:
        """What softmax, SVMs and regressors say of the proposals of a batch, and of the boxes that they refine to."""
        features = self.features(batch)

        def look(regions: Proposals) -> tuple[Tensor, ...]:
            found = self.look(batch, features, regions.boxes, regions.image_index)
            deltas = self.box_shifts(found.pooled).float().unflatten(1, (-1, 4))
            return self.class_logits(found.hidden).float(), self.svms(found.hidden).float(), deltas

        def again(regions: Proposals, said: tuple[Tensor, ...]) -> Proposals:
            raw = SVMRaw(regions, *said)
            scores, best = self.scores(raw), self._evidence(raw).argmax(dim=1)
            own = torch.arange(len(best), device=best.device)
            return refined(regions, raw.box_deltas[own, best], scores[own, best], self.coder, batch.sizes)

        union, said = look_repeatedly(Proposals.of(batch.proposals), look, again, self.config.refinements)
        return SVMRaw(union, *said)

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """``classification``: of the fine-tuning, over regions drawn from the proposals and the true boxes."""
        regions = self.sampler(Proposals.of(batch.proposals), pad_targets(targets), batch.seeds)
        boxes, index, labels = regions.boxes, regions.image_index, regions.labels
        features = self.features(batch)
        if not len(boxes):
            # Neither proposals nor objects in any image: the sum is over nothing, but it reaches all weights.
            size = batch.sizes[0]
            whole = batch.images.new_tensor([[0, 0, size[1], size[0]]])
            logits = self.class_logits(self.look(batch, features, whole, index.new_zeros(1)).hidden)
            return {"classification": LossTerm(logits.float().sum() * 0, 0)}
        logits = self.class_logits(self.look(batch, features, boxes, index).hidden).float()
        return {"classification": LossTerm(F.cross_entropy(logits, labels, reduction="sum"), len(labels))}

    def _evidence(self, raw: SVMRaw) -> Tensor:
        """(R, K): what scores are made of; of two that are both 1 the greater is still told."""
        return raw.margins if bool(self.svms_fitted) else raw.class_logits[:, 1:]

    def scores(self, raw: SVMRaw) -> Tensor:
        """(R, K) in 0..1: the logistic of the margins, or the softmax as long as there are no SVMs."""
        if bool(self.svms_fitted):
            return raw.margins.sigmoid()
        return raw.class_logits.softmax(dim=-1)[:, 1:]

    def decode(self, raw: SVMRaw, batch: ImageBatch) -> list[Detections]:
        """Every region moved by its class's regressor, clipped, thresholded, suppressed class by class."""
        config = self.config
        scores, deltas = self.scores(raw), raw.box_deltas
        every = candidates(raw.proposals, scores, deltas, self.coder, batch.sizes, config.score_threshold)
        return kept(every, config, len(self.classes), len(batch)).per_image(batch)

    def recipe(self) -> Recipe:
        """Fine-tuning, features, SVMs, box regressors."""
        config = self.config
        fewer = f"--set proposals={max(1, config.proposals // 2)}"
        stages = (
            self.fine_tuning(),
            FitStage("features", cache_features, judged=False, smaller=self.fewer_at_once() or fewer),
            FitStage("SVMs", fit_svms, smaller=fewer),
            FitStage("box regressors", fit_regressors, smaller=fewer),
        )
        return Recipe(stages, source=f"Girshick et al. 2014, section 2.3; {config.region_samples} regions an image")

    def fine_tuning(self) -> GradientStage:
        """Step 1: a tenth of the learning rate of the pretraining, 0.001 (Girshick et al. 2014, section 2.3)."""
        return GradientStage(
            name="fine-tuning",
            epochs=12,
            batch_size=2,
            optimiser=Optimiser("sgd", lr=0.001, momentum=0.9, weight_decay=5e-4),
            schedule=Schedule("step", warmup_steps=100, milestones=(0.75,)),
            augmentation=flip_augmentation(),
            judged=False,
        )

    def fewer_at_once(self) -> str:
        """The option with which less memory is taken by features of regions; nothing: fewer proposals."""
        return ""

    def data_needs(self) -> DataNeeds:
        """The sets that it was trained on here; smaller ones, and random weights, were not tried."""
        seen = "AP50 0.98 (R-CNN) on 200 made scenes and 0.68 on BCCD with 205 from ImageNet's, docs/results.md"
        return DataNeeds(images_given=200, images_random=3000, objects_per_class=50, source=seen)

    def for_prediction(self, precision: Literal["fp32", "bf16"] = "fp32") -> Self:
        """A copy with batch norms folded into filters, in channels-last memory, that can only predict."""
        fast = deepcopy(self).eval().requires_grad_(False)
        fold_norms(fast)
        fast = fast.to(memory_format=torch.channels_last)
        return fast.to(torch.bfloat16) if precision == "bf16" else fast

    def steps(self, raw: SVMRaw, batch: ImageBatch) -> tuple[Step, ...]:
        """Proposals, the best of them as classes go, and detections of the first image."""
        looks = looks_at_first_image(raw.proposals, self.config.refinements)
        first = raw.proposals.image_index == 0
        boxes = batch.to_original(raw.proposals.boxes[first], 0)
        scores, labels = self.scores(raw)[first].max(dim=1)
        best = scores.argsort(descending=True)[: self.config.detections]
        found = self.decode(raw, batch)[0]
        proposed = {"boxes": batch.to_original(looks[0][0], 0)}
        named = {"boxes": boxes[best], "scores": scores[best], "labels": labels[best]}
        return (
            Step("Region proposals", "Where something may be, of whatever class.", "boxes", proposed),
            *refined_steps(looks, batch),
            Step("Classified regions", "The regions that most look like some class to its SVM.", "boxes", named),
            Step(
                "Detections",
                "What is left after each region was moved by its class's regression and doubles were suppressed.",
                "boxes",
                {"boxes": found.boxes, "scores": found.scores, "labels": found.labels},
            ),
        )


def with_live_norms(stage: GradientStage) -> GradientStage:
    """The same fine-tuning for a trunk that starts from nothing: AdamW, as other detectors of regions learn then."""
    adamw = Optimiser("adamw", lr=0.002, weight_decay=0.01)
    return replace(stage, batch_size=8, optimiser=adamw, schedule=Schedule("cosine", warmup_steps=50))
