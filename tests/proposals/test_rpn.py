"""The region proposal network: what it proposes and what it learns from, against slow loops."""

import pytest
import torch

from sightline.assign.padding import covered, pad_targets
from sightline.geometry.iou import pairwise_iou
from sightline.proposals.proposals import Proposals, rank_in_group
from sightline.proposals.rpn import RPN, RPNConfig, RPNRaw
from sightline.structures import FeatureMaps, Target


def _raw(seed: int = 0) -> tuple[RPN, RPNRaw]:
    torch.manual_seed(seed)
    rpn = RPN(4, [(16.0,), (32.0,)], RPNConfig(before_nms=30, after_nms=12, before_nms_training=60))
    maps = FeatureMaps((torch.randn(2, 4, 8, 12), torch.randn(2, 4, 4, 6)), (8, 16))
    torch.nn.init.normal_(rpn.objectness.weight, std=1.0)
    torch.nn.init.normal_(rpn.deltas.weight, std=0.3)
    torch.nn.init.normal_(rpn.conv.weight, std=0.3)
    with torch.no_grad():
        return rpn, rpn(maps, (64, 96))


def test_anchors_stand_in_the_order_of_the_outputs() -> None:
    _, raw = _raw()
    assert raw.level_sizes == (8 * 12 * 3, 4 * 6 * 3)
    assert raw.objectness.shape == (2, 360)
    assert raw.deltas.shape == (2, 360, 4)
    centres = (raw.anchors[:, :2] + raw.anchors[:, 2:]) / 2
    assert centres[3].tolist() == [8, 0]
    assert centres[12 * 3].tolist() == [0, 8]
    assert centres[288 + 3].tolist() == [16, 0]


def test_proposals_equal_a_slow_loop() -> None:
    rpn, raw = _raw()
    sizes = [(64, 96), (50, 70)]
    found = rpn.propose(raw, sizes, training=False)
    for image, (height, width) in enumerate(sizes):
        wanted = []
        start = 0
        for count in raw.level_sizes:
            scores = raw.objectness[image, start : start + count]
            order = scores.argsort(descending=True)[:30]
            kept: list[torch.Tensor] = []
            for i in order:
                box = rpn.coder.decode(raw.deltas[image, start + i], raw.anchors[start + i])
                box = torch.stack([b.clamp(0, m) for b, m in zip(box, (width, height, width, height), strict=True)])
                if (box[2:] - box[:2]).min() >= 1e-3 and all(_iou(box, other) <= 0.7 for other in kept):
                    kept.append(box)
                    wanted.append((scores[i].sigmoid(), box))
            start += count
        wanted = sorted(wanted, key=lambda pair: -float(pair[0]))[:12]
        mine = found.image_index == image
        torch.testing.assert_close(found.scores[mine], torch.stack([s for s, _ in wanted]))
        torch.testing.assert_close(found.boxes[mine], torch.stack([b for _, b in wanted]))


def _iou(a: torch.Tensor, b: torch.Tensor) -> float:
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    inter = max(0.0, float(width)) * max(0.0, float(height))
    areas = [float((c[2] - c[0]) * (c[3] - c[1])) for c in (a, b)]
    return inter / (sum(areas) - inter)


def test_no_proposal_reaches_the_score_asked_for() -> None:
    rpn, raw = _raw()
    rpn.config = RPNConfig(score_threshold=1.1)
    found = rpn.propose(raw, [(64, 96)] * 2, training=False)
    assert len(found.boxes) == 0
    assert found.counts().tolist() == [0, 0]


def test_losses_without_objects_are_finite_and_only_about_background() -> None:
    rpn, raw = _raw()
    losses = rpn.loss(raw, pad_targets([Target.empty((64, 96))] * 2))
    assert losses["rpn_box"].value == 0
    assert 0 < float(losses["rpn_objectness"].value) < 100


def test_perfect_outputs_have_almost_no_loss() -> None:
    rpn, raw = _raw()
    truth = Target(raw.anchors[[150]] + 0.5, torch.tensor([0]), (64, 96))
    padded = pad_targets([truth, truth])
    matched = rpn.matcher(pairwise_iou(raw.anchors, padded.boxes[0])) >= 0
    perfect = RPNRaw(
        raw.anchors,
        torch.where(matched, 20.0, -20.0).expand(2, -1),
        rpn.coder.encode(padded.boxes[0].expand(len(raw.anchors), 4), raw.anchors).expand(2, -1, 4),
        raw.level_sizes,
    )
    assert sum(term.value for term in rpn.loss(perfect, padded).values()) < 1e-6
    assert sum(term.value for term in rpn.loss(raw, padded).values()) > 0.1


def test_background_over_an_ignored_region_costs_nothing() -> None:
    rpn, raw = _raw()
    whole = torch.tensor([[-100.0, -100, 300, 300]])
    crowd = Target(whole.clamp(0, 96), torch.tensor([0]), (96, 96), ignore=torch.tensor([True]))
    padded = pad_targets([crowd])
    inside = covered(raw.anchors, padded.ignored[0])
    raw = RPNRaw(raw.anchors, raw.objectness[:1], raw.deltas[:1], raw.level_sizes)
    silent = RPNRaw(raw.anchors, torch.where(inside, raw.objectness, -30.0), raw.deltas, raw.level_sizes)
    assert inside.any()
    assert float(rpn.loss(silent, padded)["rpn_objectness"].value) < 1e-6


def test_padding_keeps_each_image_to_itself() -> None:
    one = Target(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([5]), (9, 9))
    padded = pad_targets([one, Target.empty((9, 9))])
    assert padded.valid.tolist() == [[True], [False]]
    assert padded.labels.tolist() == [[5], [0]]
    empty = pad_targets([Target.empty((9, 9))] * 3)
    assert empty.boxes.shape == (3, 0, 4)
    assert empty.ignored.shape == (3, 0, 4)


def test_rank_and_counts() -> None:
    groups = torch.tensor([0, 0, 2, 2, 2, 3])
    assert rank_in_group(groups, 5).tolist() == [0, 1, 0, 1, 2, 0]
    assert Proposals(torch.zeros(6, 4), torch.zeros(6), groups, 5).counts().tolist() == [2, 0, 3, 1, 0]


def test_levels_must_share_the_head() -> None:
    with pytest.raises(ValueError, match="as many anchor sizes"):
        RPN(4, [(16.0,), (32.0, 64.0)], RPNConfig())
