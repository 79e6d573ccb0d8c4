"""Faster R-CNN against torchvision's, given the same weights: predictions, and losses on the same sampled anchors."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.detection import FasterRCNN as Peer
from torchvision.models.detection import fasterrcnn_resnet50_fpn

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.detectors.faster_rcnn_weights import faster_rcnn_from, load_torchvision_faster_rcnn
from sightline.errors import ModelFileError
from sightline.geometry.iou import pairwise_iou
from sightline.regions.sampling import SampledRegions
from sightline.structures import Classes, Detections, Target

SIZES = [(150, 200), (200, 150), (120, 333), (160, 160)]


def _images(seed: int, sizes: list[tuple[int, int]]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    small = [torch.rand(1, 3, 9, 9, generator=generator) for _ in sizes]
    return [
        torch.nn.functional.interpolate(s, size, mode="bicubic")[0].clamp(0, 1)
        for s, size in zip(small, sizes, strict=True)
    ]


def _assert_same(found: list[Detections], wanted: list[dict[str, Tensor]]) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        assert len(ours) == len(theirs["boxes"]) > 0
        # Scores closer than the tolerance may come in either order, so detections are paired by their boxes and labels.
        gap = (theirs["boxes"][:, None] - ours.boxes).abs().amax(dim=2)
        gap[theirs["labels"][:, None] != ours.labels + 1] = torch.inf
        partner = gap.argmin(dim=1)
        assert len(set(partner.tolist())) == len(ours)
        torch.testing.assert_close(ours.boxes[partner], theirs["boxes"], rtol=0, atol=1e-3)
        torch.testing.assert_close(ours.scores[partner], theirs["scores"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", [0, 1, 3])
def test_predictions_agree(make_pair: Callable, seed: int) -> None:
    peer, ours = make_pair(seed=seed)
    images = _images(seed, SIZES)
    with torch.no_grad():
        wanted = peer(images)
    assert len({int(label) for t in wanted for label in t["labels"]}) > 1
    _assert_same(ours.predict(images), wanted)


def test_predictions_of_the_copy_for_prediction_agree(make_pair: Callable) -> None:
    peer, ours = make_pair()
    images = _images(7, SIZES)
    with torch.no_grad():
        _assert_same(ours.for_prediction().predict(images), peer(images))


def test_bf16_predictions_are_near(make_pair: Callable) -> None:
    _, ours = make_pair()
    images = _images(8, SIZES[:1])
    exact, near = ours.predict(images)[0], ours.for_prediction("bf16").predict(images)[0]
    best = exact.boxes[:5]
    assert float(pairwise_iou(best, near.boxes).max(dim=1).values.mean()) > 0.8


def _on_the_same_samples(
    peer: Peer, ours: FasterRCNN, images: list[Tensor], truth: list[tuple[Tensor, Tensor]]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Our losses and torchvision's, which gets our sampled anchors and regions and labels them by its own rules."""
    anchors: list[tuple[Tensor, Tensor]] = []
    regions: list[SampledRegions] = []
    sampler, sample_regions = ours.rpn.sampler, ours.sampler

    def note_anchors(labels: Tensor, keys: Tensor) -> tuple[Tensor, Tensor]:
        anchors.append(sampler(labels, keys))
        return anchors[-1]

    def note_regions(*arguments: object) -> SampledRegions:
        regions.append(sample_regions(*arguments))
        return regions[-1]

    ours.rpn.sampler, ours.sampler = note_anchors, note_regions
    batch = ours.prepare(images)
    found = ours.loss(batch, [Target(b, n, size) for (b, n), size in zip(truth, batch.sizes, strict=True)])
    ours.rpn.sampler, ours.sampler = sampler, sample_regions

    boxes, image_index = regions[0].boxes, regions[0].image_index
    same = [boxes[image_index == i] for i in range(len(images))]
    peer.rpn.fg_bg_sampler = lambda _: tuple([m.to(torch.uint8) for m in masks] for masks in anchors[0])
    peer.roi_heads.add_gt_proposals = lambda _proposals, _truth: list(same)
    peer.roi_heads.fg_bg_sampler = lambda labels: ([n > 0 for n in labels], [n == 0 for n in labels])
    wanted = peer.train()(images, [{"boxes": b, "labels": n + 1} for b, n in truth])
    return {name: term.value for name, term in found.items()}, wanted


@pytest.mark.parametrize("seed", range(3))
def test_each_loss_agrees_on_the_same_sampled_anchors(make_pair: Callable, seed: int) -> None:
    peer, ours = make_pair(seed=seed)
    images = _images(seed, [(160, 160), (160, 160)])
    first = torch.tensor([[10.0, 20, 60, 90], [50, 40, 150, 120], [5, 5, 30, 30]]), torch.tensor([0, 2, 4])
    second = torch.tensor([[30.0, 30, 100, 140], [80, 10, 120, 50]]), torch.tensor([1, 3])
    torch.manual_seed(seed)
    found, wanted = _on_the_same_samples(peer, ours, images, [first, second])
    pairs = {
        "rpn_objectness": "loss_objectness",
        "rpn_box": "loss_rpn_box_reg",
        "classification": "loss_classifier",
        "box": "loss_box_reg",
    }
    assert set(found) == set(pairs)
    for own, theirs in pairs.items():
        assert wanted[theirs].item() > 1e-3
        torch.testing.assert_close(found[own], wanted[theirs], rtol=1e-5, atol=1e-5)


def test_gradients_agree_on_the_same_sampled_anchors(make_pair: Callable) -> None:
    peer, ours = make_pair()
    images = _images(3, [(160, 160)])
    truth = torch.tensor([[10.0, 20, 60, 90], [50, 40, 150, 120]]), torch.tensor([0, 2])
    found, wanted = _on_the_same_samples(peer, ours, images, [truth])
    sum(found.values()).backward()
    sum(wanted.values()).backward()
    gradients = {
        "neck.lateral.0.weight": peer.backbone.fpn.inner_blocks[0][0].weight,
        "backbone.stages.2.0.conv1.weight": peer.backbone.body.layer2[0].conv1.weight,
        "head.fc6.weight": peer.roi_heads.box_head.fc6.weight,
        "rpn.conv.weight": peer.rpn.head.conv[0][0].weight,
    }
    own = dict(ours.named_parameters())
    for name, parameter in gradients.items():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-3, atol=1e-3 * scale)
    assert own["backbone.stages.1.0.conv1.weight"].grad is None


def test_weight_files_of_torchvision_load_with_old_and_new_names(make_pair: Callable, tmp_path: Path) -> None:
    peer, ours = make_pair()
    state = {
        k.replace("_blocks.0.0.", "_blocks.0.").replace("conv.0.0.", "conv."): v for k, v in peer.state_dict().items()
    }
    save_file(state, tmp_path / "old.safetensors")
    fresh = faster_rcnn_from(ours.config, ours.classes, str(tmp_path / "old.safetensors"))
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(tensor, ours.state_dict()[name]), name
    other = faster_rcnn_from(ours.config, Classes(("one", "two")), str(tmp_path / "old.safetensors"))
    assert other.class_logits.out_features == 3
    assert torch.equal(other.head.fc6.weight, ours.head.fc6.weight)


def test_weights_of_another_form_are_refused(make_pair: Callable) -> None:
    peer, ours = make_pair()
    state = dict(peer.state_dict())
    wrong = {**state, "roi_heads.box_predictor.cls_score.weight": torch.zeros(3, 1024)}
    with pytest.raises(ModelFileError, match=r"cls_score\.weight' has shape \(3, 1024\), the model needs \(6, 1024\)"):
        load_torchvision_faster_rcnn(ours, wrong, "x")
    del state["rpn.head.cls_logits.bias"]
    with pytest.raises(ModelFileError, match=r"x: no tensor 'rpn\.head\.cls_logits\.bias'"):
        load_torchvision_faster_rcnn(ours, state, "x")


def test_the_official_model_agrees_with_ours_of_the_same_weights() -> None:
    torch.manual_seed(0)
    peer = fasterrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=6, min_size=160, max_size=320)
    with torch.no_grad():
        for name, tensor in peer.state_dict().items():
            if name.endswith("bn3.weight"):
                tensor.mul_(0.2)
            elif "cls_score.weight" in name:
                tensor.mul_(40)
    config = FasterRCNNConfig(norm="frozen", frozen_stages=2, short_side=160, long_side=320)
    ours = FasterRCNN(config, Classes(tuple("abcde")))
    load_torchvision_faster_rcnn(ours, peer.state_dict(), "the peer")
    images = _images(5, SIZES[:2])
    with torch.no_grad():
        _assert_same(ours.predict(images), peer.eval()(images))
