"""How detectors of regions learn: what torchvision's reference does from given weights, and what works from none."""

from dataclasses import replace

from torch import nn

from sightline.layers.norms import has_norms
from sightline.recipes import GradientStage, Optimiser, Recipe, Schedule
from sightline.transforms.placement import Pairs
from sightline.transforms.presets import flip_augmentation, light_augmentation

_CLIP_NORM = 10.0
"""Of the gradient, where something lets it grow without bound."""


def one_stage(name: str, *, frozen_norms: bool, backbone: nn.Module, keypoint_pairs: Pairs | None = None) -> Recipe:
    """All losses at once: SGD with frozen norms, that is from given weights; AdamW with live ones.

    Args:
        name: of the stage.
        frozen_norms: whether the norms of the trunk keep their statistics.
        backbone: the trunk.
        keypoint_pairs: keypoints that trade places in a flip; None where none are learned.
    """
    pairs = keypoint_pairs or ()
    stage = GradientStage(
        name=name,
        epochs=26,
        batch_size=2,
        optimiser=Optimiser("sgd", lr=0.005, momentum=0.9, weight_decay=1e-4),
        schedule=Schedule("cosine", warmup_steps=500),
        augmentation=light_augmentation(keypoint_pairs=pairs),
        # Maps that no norm holds within bounds (SqueezeNet's) let the losses explode within ten steps, and the gradient
        # of keypoints, of a norm of up to 130 where batches without poses have 12 at most, did on COCO's after 80.
        clip_norm=_CLIP_NORM if keypoint_pairs is not None or not has_norms(backbone) else None,
    )
    if frozen_norms:
        return Recipe((stage,), source="epochs, momentum and decay of torchvision's reference")
    # Chosen on Scenes, where it reaches docs/results.md's figure in four minutes; SGD was not compared.
    adamw = Optimiser("adamw", lr=0.002, weight_decay=0.01)
    schedule = Schedule("cosine", warmup_steps=50)
    stage = replace(
        stage,
        batch_size=8,
        optimiser=adamw,
        schedule=schedule,
        augmentation=flip_augmentation(keypoint_pairs=pairs),
    )
    return Recipe((stage,), source="chosen on Scenes, docs/results.md")
