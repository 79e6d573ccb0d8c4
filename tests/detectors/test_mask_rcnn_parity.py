"""Mask and Keypoint R-CNN against torchvision's, given the same weights: predictions, losses on the same samples."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from sightline.detectors.keypoint_rcnn_weights import keypoint_rcnn_from
from sightline.detectors.mask_rcnn_weights import mask_rcnn_from
from sightline.structures import Classes, Detections, Target

SIZES = [(150, 200), (200, 150), (160, 160)]
BOXES = torch.tensor([[10.0, 20, 60, 90], [50, 40, 150, 120], [5, 5, 30, 30], [30, 30, 100, 140]])
LABELS = torch.tensor([0, 2, 4, 1])


def _images(seed: int, sizes: list[tuple[int, int]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    small = [torch.rand(1, 3, 9, 9, generator=generator) for _ in sizes]
    return [F.interpolate(s, size, mode="bicubic")[0].clamp(0, 1) for s, size in zip(small, sizes, strict=True)]


def _partners(ours: Detections, theirs: dict[str, Tensor]) -> Tensor:
    """Which of ours is each of theirs; boxes and scores agree."""
    assert len(ours) == len(theirs["boxes"]) > 0
    gap = (theirs["boxes"][:, None] - ours.boxes).abs().amax(dim=2)
    gap[theirs["labels"][:, None] != ours.labels + 1] = torch.inf
    partner = gap.argmin(dim=1)
    assert len(set(partner.tolist())) == len(ours)
    torch.testing.assert_close(ours.boxes[partner], theirs["boxes"], rtol=0, atol=1e-3)
    torch.testing.assert_close(ours.scores[partner], theirs["scores"], rtol=0, atol=1e-5)
    return partner


@pytest.mark.parametrize("fast", [False, True])
def test_masks_agree(make_mask_pair: Callable, fast: bool) -> None:
    peer, ours = make_mask_pair(seed=1)
    images = _images(1, SIZES)
    with torch.no_grad():
        wanted = peer(images)
    for found, theirs in zip((ours.for_prediction() if fast else ours).predict(images), wanted, strict=True):
        masks, true = found.masks[_partners(found, theirs)], theirs["masks"][:, 0] > 0.5
        either = (masks | true).flatten(1).sum(dim=1)
        shared = (masks & true).flatten(1).sum(dim=1)
        assert int((either > 0).sum()) > 10
        # A pixel at the very threshold may fall to either side: it shows in masks of a few pixels alone.
        assert bool(((shared / either.clamp(min=1) >= 0.999) | (either - shared <= 1)).all())
        assert float(shared.sum() / either.sum()) >= 0.9999


@pytest.mark.parametrize("fast", [False, True])
def test_keypoints_agree(make_keypoint_pair: Callable, fast: bool) -> None:
    peer, ours = make_keypoint_pair(seed=1)
    images = _images(1, SIZES[:1])
    with torch.no_grad():
        wanted = peer(images)
    for found, theirs in zip((ours.for_prediction() if fast else ours).predict(images), wanted, strict=True):
        points = found.keypoints[_partners(found, theirs)]
        gap = (points[..., :2] - theirs["keypoints"][..., :2]).abs().amax(dim=2)
        # Two places of one map may be equally high but for rounding.
        assert float((gap < 1e-3).float().mean()) > 0.999
        assert bool(((points[..., 2] > 0) & (points[..., 2] <= 1)).all())


def _losses(peer: Any, ours: Any, further: dict[str, Tensor], seed: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our losses and torchvision's, which gets our sampled anchors and regions and labels them by its own rules."""
    (image,) = _images(seed, [(160, 160)])
    anchors: list[tuple[Tensor, Tensor]] = []
    regions: list[Any] = []
    anchor_sampler, region_sampler = ours.rpn.sampler, ours.sampler

    def note_anchors(labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        anchors.append(anchor_sampler(labels, keys))
        return anchors[-1]

    def note_regions(*arguments: object) -> Any:
        regions.append(region_sampler(*arguments))
        return regions[-1]

    ours.rpn.sampler, ours.sampler = note_anchors, note_regions
    torch.manual_seed(seed)
    found = ours.loss(ours.prepare(image), [Target(BOXES, LABELS, (160, 160), **further)])
    peer.rpn.fg_bg_sampler = lambda _: tuple([m.to(torch.uint8) for m in masks] for masks in anchors[0])
    peer.roi_heads.add_gt_proposals = lambda _proposals, _truth: [regions[0].boxes]
    peer.roi_heads.fg_bg_sampler = lambda labels: ([n > 0 for n in labels], [n == 0 for n in labels])
    wanted = peer.train()([image], [{"boxes": BOXES, "labels": LABELS + 1, **further}])
    return {name: term.value for name, term in found.items()}, wanted


PAIRS = {
    "rpn_objectness": "loss_objectness",
    "rpn_box": "loss_rpn_box_reg",
    "classification": "loss_classifier",
    "box": "loss_box_reg",
}


def _assert_losses(found: dict[str, Tensor], wanted: dict[str, Tensor], pairs: dict[str, str]) -> None:
    assert set(found) == set(pairs)
    for own, theirs in pairs.items():
        assert wanted[theirs].item() > 1e-3
        torch.testing.assert_close(found[own], wanted[theirs], rtol=1e-5, atol=1e-5)


def _assert_gradients(found: dict[str, Tensor], wanted: dict[str, Tensor], pairs: list[tuple[Tensor, Tensor]]) -> None:
    sum(found.values()).backward()
    sum(wanted.values()).backward()
    for own, theirs in pairs:
        # Near zero a rectifier may open in one and not in the other.
        assert float((own.grad - theirs.grad).norm()) < 1e-3 * float(theirs.grad.norm())


def _blobs() -> Tensor:
    """A different mask in each box, holes and all."""
    noise = torch.rand(4, 1, 12, 12, generator=torch.Generator().manual_seed(5))
    masks = F.interpolate(noise, (160, 160), mode="bilinear")[:, 0] > 0.5
    for mask, (x1, y1, x2, y2) in zip(masks, BOXES.long().tolist(), strict=True):
        mask[:y1] = mask[y2:] = False
        mask[:, :x1] = mask[:, x2:] = False
    return masks


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_and_gradients_of_masks_agree_on_the_same_samples(make_mask_pair: Callable, seed: int) -> None:
    peer, ours = make_mask_pair(seed=seed)
    found, wanted = _losses(peer, ours, {"masks": _blobs()}, seed)
    _assert_losses(found, wanted, {**PAIRS, "mask": "loss_mask"})
    branch, head = ours.mask_branch, peer.roi_heads
    # The first of their outputs is the background's, which has no mask.
    _assert_gradients(
        found,
        wanted,
        [
            (branch.convolutions[0].weight, head.mask_head[0][0].weight),
            (branch.upsampling.weight, head.mask_predictor.conv5_mask.weight),
            (ours.neck.lateral[0].weight, peer.backbone.fpn.inner_blocks[0][0].weight),
        ],
    )
    theirs = head.mask_predictor.mask_fcn_logits.weight.grad
    torch.testing.assert_close(branch.logits.weight.grad, theirs[1:], rtol=1e-3, atol=1e-3 * float(theirs.abs().max()))


@pytest.mark.parametrize("seed", [0, 1])
def test_losses_and_gradients_of_keypoints_agree_on_the_same_samples(make_keypoint_pair: Callable, seed: int) -> None:
    peer, ours = make_keypoint_pair(seed=seed)
    generator = torch.Generator().manual_seed(7)
    share = torch.rand(4, 17, 2, generator=generator)
    places = BOXES[:, None, :2] + share * (BOXES[:, None, 2:] - BOXES[:, None, :2])
    keypoints = torch.cat([places, torch.randint(0, 3, (4, 17, 1), generator=generator).float()], dim=2)
    found, wanted = _losses(peer, ours, {"keypoints": keypoints}, seed)
    _assert_losses(found, wanted, {**PAIRS, "keypoint": "loss_keypoint"})
    branch, head = ours.keypoint_branch, peer.roi_heads
    _assert_gradients(
        found,
        wanted,
        [
            (branch.convolutions[0].weight, head.keypoint_head[0].weight),
            (branch.maps.weight, head.keypoint_predictor.kps_score_lowres.weight),
        ],
    )


def test_mask_weights_load_from_files_with_old_and_new_names(make_mask_pair: Callable, tmp_path: Path) -> None:
    peer, ours = make_mask_pair()
    state = {
        name.replace("mask_head.0.0.", "mask_head.mask_fcn1.").replace("conv.0.0.", "conv."): tensor
        for name, tensor in peer.state_dict().items()
    }
    save_file(state, tmp_path / "old.safetensors")
    fresh = mask_rcnn_from(ours.config, ours.classes, str(tmp_path / "old.safetensors"))
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name
    other = mask_rcnn_from(ours.config, Classes(("one", "two")), str(tmp_path / "old.safetensors"))
    assert other.mask_branch.logits.out_channels == 2
    assert torch.equal(other.mask_branch.upsampling.weight, ours.mask_branch.upsampling.weight)
    assert "2 of 2 classes start anew" in other.origin


def test_keypoint_weights_load_from_a_file(make_keypoint_pair: Callable, tmp_path: Path) -> None:
    peer, ours = make_keypoint_pair()
    save_file(peer.state_dict(), tmp_path / "state.safetensors")
    fresh = keypoint_rcnn_from(ours.config, ours.classes, str(tmp_path / "state.safetensors"))
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name
