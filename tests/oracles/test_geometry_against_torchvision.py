"""Geometry and assign against torchvision's counterparts, given the same inputs."""

import pytest
import torch
from torchvision.models.detection._utils import BoxCoder as TorchvisionCoder
from torchvision.models.detection._utils import Matcher
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import batched_nms as torchvision_batched_nms
from torchvision.ops import box_iou, clip_boxes_to_image, generalized_box_iou
from torchvision.ops import nms as torchvision_nms

from sightline.assign.iou_matcher import IoUMatcher
from sightline.geometry.anchors import cell_anchors, grid
from sightline.geometry.boxes import clip
from sightline.geometry.coding import rcnn_coder
from sightline.geometry.iou import pairwise_giou, pairwise_iou
from sightline.geometry.nms import batched_nms, nms


def random_boxes(count, seed):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 400
    return torch.cat((low, low + torch.rand(count, 2, generator=generator) * 150 + 1), dim=1)


def test_iou_giou_and_clipping():
    a, b = random_boxes(300, 0), random_boxes(7, 1)
    assert torch.equal(pairwise_iou(a, b), box_iou(a, b))
    assert torch.allclose(pairwise_giou(a, b), generalized_box_iou(a, b), atol=1e-6)
    assert torch.equal(clip(a - 50, (300, 350)), clip_boxes_to_image(a - 50, (300, 350)))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)])
def test_coding(weights):
    boxes, anchors = random_boxes(500, 2), random_boxes(500, 3)
    ours, theirs = rcnn_coder(weights), TorchvisionCoder(weights)
    encoded = theirs.encode_single(boxes, anchors)
    assert torch.allclose(ours.encode(boxes, anchors), encoded, rtol=1e-5, atol=1e-5)
    # Large ones too, which the clip catches.
    deltas = torch.randn(500, 4, generator=torch.Generator().manual_seed(4)) * torch.tensor(weights) * 3
    assert torch.equal(ours.decode(deltas, anchors), theirs.decode_single(deltas, anchors))


@pytest.mark.parametrize("sizes", [((32,), (64,), (128,)), ((16, 23.7), (64, 100), (128, 202))])
def test_anchors(sizes):
    ratios = (0.5, 1.0, 2.0)
    maps = [torch.zeros(2, 1, *size) for size in ((20, 28), (10, 14), (5, 7))]
    generator = AnchorGenerator(sizes, (ratios,) * 3)
    expected = generator(ImageList(torch.zeros(2, 3, 160, 224), [(160, 224)] * 2), maps)[0]
    levels = zip(sizes, maps, (8, 16, 32), strict=True)
    ours = [grid(cell_anchors(s, ratios, rounded=True), tuple(m.shape[2:]), stride) for s, m, stride in levels]
    assert torch.equal(torch.cat(ours), expected)


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("seed", range(10))
def test_matching(seed, keep_best):
    generator = torch.Generator().manual_seed(seed)
    # Rounded, so that many anchors tie; whole columns of zeros come up as well.
    iou = (torch.rand(40, 5, generator=generator) * torch.rand(5, generator=generator) * 8).floor() / 8
    expected = Matcher(0.6, 0.3, allow_low_quality_matches=keep_best)(iou.T.contiguous())
    assert torch.equal(IoUMatcher(0.6, 0.3, keep_best)(iou), expected)


@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.7])
@pytest.mark.parametrize("count", [1, 600, 1500])
def test_suppression(count, threshold):
    boxes = random_boxes(count, count)
    generator = torch.Generator().manual_seed(5)
    # No ties, which torchvision does not promise to break in any order.
    scores = torch.randperm(count, generator=generator) / count
    groups = torch.randint(0, 9, (count,), generator=generator)
    assert torch.equal(nms(boxes, scores, threshold), torchvision_nms(boxes, scores, threshold))
    expected = torchvision_batched_nms(boxes, scores, groups, threshold)
    assert torch.equal(batched_nms(boxes, scores, groups, threshold), expected)
