"""Faster R-CNN by itself: its settings, what it refuses, what it tells of its inside, and ignored objects."""

import pytest
import torch

from sightline.assign.padding import pad_targets
from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig, c4, vgg16
from sightline.errors import ConfigError
from sightline.geometry.iou import pairwise_iou
from sightline.proposals.proposals import Proposals
from sightline.structures import Classes, Target

SMALL = {"backbone": "resnet18", "channels": 16, "head_width": 16, "short_side": 64, "long_side": 128, "proposals": 20}


def _small(**settings: object) -> FasterRCNN:
    torch.manual_seed(0)
    return FasterRCNN(FasterRCNNConfig(**{**SMALL, **settings}), Classes(("disc", "star")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"short_side": -5}, "short_side is -5"),
        ({"frozen_stages": 9}, "frozen_stages is 9"),
        ({"detections": 0}, "detections is 0"),
        ({"score_threshold": 1.5}, "score_threshold is 1.5"),
        ({"anchor_ratios": ()}, "anchor_ratios"),
        ({"anchor_sizes": (16.0,)}, "neck=fpn does not use it"),
        ({"neck": "none", "channels": 8}, "neck=none does not use it"),
    ],
)
def test_settings_out_of_range_or_without_effect_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FasterRCNNConfig(**settings)


def test_what_is_left_open_is_said_in_the_model() -> None:
    model = FasterRCNN(FasterRCNNConfig(backbone="mobilenet_v3_small"), Classes(("disc",)))
    config = model.config
    assert (config.norm, config.frozen_stages, config.short_side, config.long_side) == ("live", 0, 320, 640)
    assert (config.proposals, config.proposals_before_nms, config.region_samples) == (300, 300, 256)
    config = _small(short_side=0, long_side=0, proposals=0).config
    assert (config.short_side, config.long_side, config.proposals, config.region_samples) == (800, 1333, 1000, 512)


def test_presets_are_the_papers() -> None:
    assert (vgg16().neck, vgg16().pooling, vgg16().proposals, vgg16().short_side) == ("none", "pool", 300, 600)
    assert (c4().neck, c4().backbone, c4().pooling) == ("none", "resnet50", "align")


@pytest.mark.parametrize(
    ("backbone", "norm", "clip"),
    [("squeezenet1_1", "frozen", 10.0), ("resnet18", "frozen", None), ("resnet18", "live", None)],
)
def test_gradients_are_clipped_where_no_norm_holds_the_maps(backbone: str, norm: str, clip: float | None) -> None:
    assert _small(backbone=backbone, norm=norm).recipe().stages[0].clip_norm == clip


def test_steps_are_in_pixels_of_the_image() -> None:
    model = _small().eval()
    image = torch.rand(3, 90, 200)
    with torch.no_grad():
        batch = model.prepare(image)
        steps = model.steps(model(batch), batch)
    assert [step.kind for step in steps] == ["heat-map", "boxes", "boxes"]
    assert [m.shape for m in steps[0].tensors.values()] == [(90, 200)] * 5
    assert all(float(m.min()) >= 0 and float(m.max()) <= 1 for m in steps[0].tensors.values())
    boxes = steps[1].tensors["boxes"]
    assert len(boxes) == len(steps[1].tensors["scores"]) > 0
    right = float(boxes[:, 2].max())
    assert right > 128
    assert right <= 200.001


def test_sampled_regions_are_labelled_by_their_best_object() -> None:
    model = _small(region_samples=64)
    truth = Target(torch.tensor([[5.0, 5, 30, 40], [40, 10, 62, 50]]), torch.tensor([1, 0]), (64, 64))
    near = truth.boxes.repeat(20, 1) + torch.randn(40, 4)
    far = torch.tensor([[0.0, 50, 20, 63]]).repeat(100, 1) + torch.rand(100, 4)
    proposals = Proposals(torch.cat([near, far]), torch.ones(140), torch.zeros(140, dtype=torch.int64), 1)
    regions = model.sampler(proposals, pad_targets([truth]))
    boxes, image_index, labels, deltas = regions.boxes, regions.image_index, regions.labels, regions.true_deltas
    best, match = pairwise_iou(boxes, truth.boxes).max(dim=1)
    assert len(boxes) == 64
    assert int((labels > 0).sum()) == 16
    assert image_index.eq(0).all()
    assert labels.tolist() == [int(truth.labels[m]) + 1 if b >= 0.5 else 0 for b, m in zip(best, match, strict=True)]
    back = model.coder.decode(deltas[labels > 0], boxes[labels > 0])
    torch.testing.assert_close(back, truth.boxes[match[labels > 0]], rtol=0, atol=1e-3)


def test_ignored_objects_are_neither_learned_nor_punished() -> None:
    model = _small()
    whole = Target(torch.tensor([[0.0, 0, 64, 64]]), torch.tensor([1]), (64, 64), ignore=torch.tensor([True]))
    batch = model.prepare(torch.rand(3, 64, 64))
    losses = model.loss(batch, [whole])
    assert float(losses["classification"].value) == 0
    assert float(losses["box"].value) == 0
    sum(term.value for term in losses.values()).backward()
    assert float(model.loss(batch, [Target.empty((64, 64))])["classification"].value) > 0
