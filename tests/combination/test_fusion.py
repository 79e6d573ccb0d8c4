"""Fusion of results against slow loops, examples worked by hand, and what must hold for every set of results."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from results import SIZE, assert_same, random_result, result, rows_of

from sightline.combination.fusion import Averaging, BoxVoting, NMSUnion
from sightline.combination.weighted_box_fusion import WeightedBoxFusion
from sightline.errors import ConfigError
from sightline.geometry import voting
from sightline.geometry.iou import pairwise_iou
from sightline.geometry.voting import vote
from sightline.structures import Detections

ALL = [NMSUnion(), BoxVoting(), Averaging(), WeightedBoxFusion()]
CONFIDENCES = ["avg", "max", "box_and_model_avg", "absent_model_aware_avg"]


def iou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1])
    return width * height / (both - width * height)


def suppressed(found, weights=None):
    """Rows (box, scaled score, label, member) of the union after the plain loop of suppression, and the union."""
    weights = weights or [1.0] * len(found)
    union = [
        (box, score * weight / max(weights), label, member)
        for member, (each, weight) in enumerate(zip(found, weights, strict=True))
        for box, score, label in zip(each.boxes.tolist(), each.scores.tolist(), each.labels.tolist(), strict=True)
    ]
    union.sort(key=lambda row: (-row[1], row[2], row[0]))
    kept = []
    for row in union:
        if all(row[2] != other[2] or iou(row[0], other[0]) <= 0.5 for other in kept):
            kept.append(row)
    return kept, union


def table(rows):
    return sorted(tuple(round(v, 3) for v in (*box, score, label)) for box, score, label in rows)


@pytest.mark.parametrize("weights", [None, [2.0, 1.0, 0.5]])
def test_suppression_and_voting_are_the_plain_loops(weights):
    found = [random_result(seed) for seed in range(3)]
    kept, union = suppressed(found, weights)
    assert rows_of(NMSUnion()(found, weights), 3) == table([row[:3] for row in kept])
    voted = []
    for box, score, label, _ in kept:
        near = [row for row in union if row[2] == label and iou(row[0], box) >= 0.5]
        mass = sum(row[1] for row in near)
        voted.append(([sum(row[1] * row[0][k] for row in near) / mass for k in range(4)], score, label))
    expected = torch.tensor(table(voted))
    found_rows = torch.tensor(rows_of(BoxVoting()(found, weights), 3))
    assert 8 < len(expected) < 60 and torch.allclose(found_rows, expected, atol=2e-3)


def test_voting_worked_by_hand():
    # The two that overlap by 0.8 weigh 0.9 to 0.3; the third is of another class, the fourth overlaps by a third.
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 8, 10], [0, 0, 10, 10], [5, 0, 15, 10]])
    moved = vote(
        torch.tensor([0, 3]), boxes, torch.tensor([0.9, 0.3, 0.8, 0.6]), torch.tensor([0, 0, 1, 0]), threshold=0.5
    )
    assert torch.allclose(moved, torch.tensor([[0, 0, 9.5, 10], [5, 0, 15, 10]]))
    assert torch.equal(vote(torch.tensor([0]), boxes, torch.zeros(4), torch.zeros(4).long()), boxes[:1])


def test_voting_looks_at_pairs_of_one_group_only(monkeypatch):
    """All pairs of a batch with a low threshold of scores would take gigabytes."""
    sizes = []
    monkeypatch.setattr(voting, "pairwise_iou", lambda a, b: sizes.append(len(a) * len(b)) or pairwise_iou(a, b))
    groups = torch.arange(20).repeat_interleave(30)
    boxes = torch.rand(600, 4) + torch.tensor([0.0, 0, 20, 20])
    moved = vote(torch.arange(0, 600, 10), boxes, torch.ones(600), groups)
    assert max(sizes) == 3 * 30
    assert torch.allclose(moved, boxes.view(20, 1, 30, 4).mean(dim=2).expand(-1, 3, -1).reshape(60, 4), atol=1e-4)


def test_averaging_worked_by_hand():
    # IoU 0.8 between the first boxes; the second member has a double of its own, of which only the nearest counts.
    first = result((0, 0, 10, 10, 0.9, 0))
    second = result((0, 0, 8, 10, 0.6, 0), (0, 0, 6, 10, 0.5, 0), (50, 50, 60, 60, 0.4, 1))
    fused = Averaging()([first, second])
    assert rows_of(fused) == [(0, 0, 9, 10, 0.75, 0), (50, 50, 60, 60, 0.2, 1)]
    weighted = Averaging()([first, second], [3, 1])
    assert rows_of(weighted) == [(0, 0, 9.5, 10, 0.825, 0), (50, 50, 60, 60, 0.1, 1)]


def test_weighted_box_fusion_worked_by_hand():
    """Two members agree on one object (IoU 0.8): x2 is (0.9 * 10 + 0.3 * 8) / 1.2 = 9.5, its score their mean, 0.6.

    What one of two saw alone loses half of its score.
    """
    first = result((0, 0, 10, 10, 0.9, 0), (50, 50, 60, 60, 0.8, 0))
    second = result((0, 0, 8, 10, 0.3, 0))
    fused = WeightedBoxFusion()([first, second])
    assert rows_of(fused) == [(0, 0, 9.5, 10, 0.6, 0), (50, 50, 60, 60, 0.4, 0)]
    scores = {}
    for kind in CONFIDENCES:
        both, one = rows_of(WeightedBoxFusion(confidence=kind)([first, second]))
        scores[kind] = {"both": both[4], "one": one[4]}
    assert scores["max"] == {"both": 0.9, "one": 0.8}
    assert scores["box_and_model_avg"] == {"both": 0.6, "one": 0.4}
    assert scores["absent_model_aware_avg"] == {"both": 0.6, "one": 0.4}
    # The second member three times as heavy: x2 is (0.9 * 10 + 0.9 * 8) / 1.8 = 9, the score 1.8 / 2 * 2 / 4.
    weighted = WeightedBoxFusion()([first, second], [1, 3])
    assert rows_of(weighted) == [(0, 0, 9, 10, 0.45, 0), (50, 50, 60, 60, 0.2, 0)]
    assert len(WeightedBoxFusion(skip=0.5)([first, second])) == 2
    assert rows_of(WeightedBoxFusion(skip=0.5)([first, second]))[0] == (0, 0, 10, 10, 0.45, 0)


def slow_fusion(found, weights, confidence, threshold=0.55, skip=0.0):
    """Section 3 of the paper, step by step: the list B, the clusters L, the fused boxes F."""
    listed = [
        (box, score, label, member)
        for member, each in enumerate(found)
        for box, score, label in zip(each.boxes.tolist(), each.scores.tolist(), each.labels.tolist(), strict=True)
        if score >= skip
    ]
    listed.sort(key=lambda row: (-row[1] * weights[row[3]], row[2], row[0]))
    clusters, fused = [], []
    for row in listed:
        near = [(iou(row[0], f), -k) for k, f in enumerate(fused) if clusters[k][0][2] == row[2]]
        best = max(near, default=(0.0, 0))
        if best[0] > threshold:
            place = -best[1]
            clusters[place].append(row)
        else:
            place = len(clusters)
            clusters.append([row])
            fused.append(None)
        mass = [r[1] * weights[r[3]] for r in clusters[place]]
        fused[place] = [
            sum(m * r[0][k] for m, r in zip(mass, clusters[place], strict=True)) / sum(mass) for k in range(4)
        ]
    scores = []
    for cluster in clusters:
        products, own = [r[1] * weights[r[3]] for r in cluster], [weights[r[3]] for r in cluster]
        there = sum(weights[m] for m in {r[3] for r in cluster})
        scores.append(
            {
                "avg": sum(products) / len(cluster) * min(len(cluster), len(found)) / sum(weights),
                "max": max(products) / max(weights),
                "box_and_model_avg": sum(products) / sum(own) * there / sum(weights),
                "absent_model_aware_avg": sum(products) / (sum(own) + sum(weights) - there),
            }[confidence]
        )
    return table([(f, min(1.0, s), c[0][2]) for f, s, c in zip(fused, scores, clusters, strict=True)])


@pytest.mark.parametrize("confidence", CONFIDENCES)
@pytest.mark.parametrize(("weights", "skip"), [([1.0, 1.0, 1.0], 0.0), ([2.0, 1.0, 0.5], 0.15)])
def test_weighted_box_fusion_is_the_papers_steps(confidence, weights, skip):
    found = [random_result(seed, 40) for seed in (5, 6, 7)]
    fused = WeightedBoxFusion(confidence=confidence, skip=skip, detections=200)(found, weights)
    expected = torch.tensor(slow_fusion(found, weights, confidence, skip=skip))
    assert len(fused) > 20 and (fused.scores > 0).all()
    assert torch.allclose(torch.tensor(rows_of(fused, 3)), expected, atol=2e-3)


@pytest.mark.parametrize("fusion", ALL, ids=lambda fusion: fusion.name)
def test_masks_and_keypoints_are_those_of_the_best(fusion):
    def with_parts(found: Detections, number: int) -> Detections:
        masks = torch.zeros(len(found), *SIZE, dtype=torch.bool)
        masks[:, number] = True
        return Detections(
            found.boxes, found.scores, found.labels, SIZE, masks, torch.full((len(found), 2, 3), float(number))
        )

    first = with_parts(result((0, 0, 10, 10, 0.6, 0), (80, 80, 90, 90, 0.5, 0)), 1)
    second = with_parts(result((0, 0, 9, 10, 0.9, 0), (40, 40, 60, 60, 0.1, 0)), 2)
    fused = fusion([first, second])
    assert len(fused) == 3
    for box, mask, keypoints in zip(fused.boxes, fused.masks, fused.keypoints, strict=True):
        owner = 1 if box[0] > 70 else 2
        assert mask[owner].all() and not mask[3 - owner].any() and (keypoints == owner).all()
    nothing = fusion([first, Detections.empty(SIZE)])
    assert nothing.masks[:, 1].all()
    with pytest.raises(ConfigError, match="masks"):
        fusion([first, result((0, 0, 9, 10, 0.9, 0))])


def test_masks_of_nothing_are_masks():
    """A split in which all is left out by its score is still one of a system that finds masks."""
    masks, keypoints = torch.ones(1, *SIZE, dtype=torch.bool), torch.ones(1, 2, 3)
    found = result((0, 0, 10, 10, 0.6, 0), masks=masks, keypoints=keypoints)
    fused = WeightedBoxFusion(skip=0.7)([found, found])
    assert fused.masks.shape == (0, *SIZE) and fused.keypoints.shape == (0, 2, 3)


@st.composite
def results_of_members(draw):
    rows = st.lists(st.tuples(*[st.integers(0, 2)] * 4, st.integers(0, 2), st.integers(0, 1)), max_size=6)
    members = draw(st.lists(rows, min_size=2, max_size=4))
    found = []
    for each in members:
        placed = [(x * 4, y * 4, x * 4 + 10 + w, y * 4 + 10 + h, s / 4, c) for x, y, w, h, s, c in each]
        found.append(result(*sorted(placed, key=lambda row: -row[4])))
    return found


@settings(max_examples=60, deadline=None)
@given(found=results_of_members(), turn=st.randoms(use_true_random=False), number=st.integers(0, 3))
def test_the_order_of_members_does_not_matter(found, turn, number):
    weights = [1.0, 2.0, 2.0, 3.0][: len(found)]
    order = list(range(len(found)))
    turn.shuffle(order)
    once = ALL[number](found, weights)
    again = ALL[number]([found[k] for k in order], [weights[k] for k in order])
    assert_same(once, again)
    assert torch.equal(once.scores, again.scores) or torch.allclose(once.scores, again.scores, atol=1e-6)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), copies=st.integers(1, 3), number=st.integers(0, 3))
def test_equal_members_change_nothing(seed, copies, number):
    alone = random_result(seed, 12)
    alone = NMSUnion()([alone, Detections.empty(SIZE)])  # a detector's own suppression
    assert_same(ALL[number]([alone] * copies), alone)


def test_boxes_stay_within_what_was_found_and_the_best_are_kept():
    found = [random_result(seed) for seed in range(4)]
    low = torch.cat([each.boxes for each in found]).amin(dim=0)
    high = torch.cat([each.boxes for each in found]).amax(dim=0)
    for fusion in ALL:
        fused = fusion(found)
        assert (fused.boxes >= low - 1e-3).all() and (fused.boxes <= high + 1e-3).all()
        few = type(fusion)(detections=3)(found)
        assert torch.equal(few.boxes, fused.boxes[:3]) and torch.equal(few.scores, fused.scores[:3])


@pytest.mark.parametrize("fusion", ALL, ids=lambda fusion: fusion.name)
def test_nothing_found_by_anybody_is_nothing(fusion):
    assert len(fusion([Detections.empty(SIZE)] * 2)) == 0


def test_a_score_above_1_is_1():
    # A member of great weight that finds the object twice: (3 + 3) / 2 * 2 / 4 by the formula.
    first = result((0, 0, 10, 10, 1.0, 0), (0, 0, 10, 10, 1.0, 0))
    fused = WeightedBoxFusion()([first, result()], [3, 1])
    assert fused.scores.tolist() == [1.0]


def test_what_makes_no_sense_is_refused():
    found = [result(), result()]
    for weights, told in (([1.0], "1 weights for 2 members"), ([1.0, 0.0], "above 0"), ([1.0, np.nan], "above 0")):
        with pytest.raises(ConfigError, match=told):
            NMSUnion()(found, weights)
    with pytest.raises(ConfigError, match=r"threshold is 1\.5"):
        WeightedBoxFusion(threshold=1.5)
    with pytest.raises(ConfigError, match="detections is 0"):
        Averaging(detections=0)
    with pytest.raises(ConfigError, match="confidence is 'best'"):
        WeightedBoxFusion(confidence="best")
    with pytest.raises(ValueError, match="sizes"):
        NMSUnion()([result(), Detections.empty((5, 5))])
