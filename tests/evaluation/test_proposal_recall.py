import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from sightline.evaluation.proposal_recall import (
    COCO_THRESHOLDS,
    average_recall,
    counts_up_to,
    matched_overlaps,
    proposal_recall,
    recall_at,
)
from sightline.structures import Classes, Target


def boxes(*rows: tuple[float, float, float, float]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def target(rows: torch.Tensor, labels: list[int] | None = None, ignore: list[bool] | None = None) -> Target:
    labels = [0] * len(rows) if labels is None else labels
    ignored = None if ignore is None else torch.tensor(ignore)
    return Target(rows, torch.tensor(labels, dtype=torch.int64), (100, 100), ignored)


def slow_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / union


def slow_matched(pairs: np.ndarray) -> list[float]:
    """The definition: again and again the greatest of the whole matrix."""
    left, found = pairs.copy(), [0.0] * len(pairs)
    for _ in range(min(pairs.shape)):
        row, column = np.unravel_index(left.argmax(), left.shape)
        if left[row, column] <= 0:
            break
        found[row] = float(left[row, column])
        left[row, :] = left[:, column] = -1.0
    return found


def test_an_example_worked_by_hand():
    # Object A is 10 x 10, B beside it. The first proposal has IoU 0.8 with A and 0 with B, the second is B itself,
    # the third has IoU 0.5 with A, which the first one has taken.
    truth = target(boxes((0, 0, 10, 10), (20, 0, 30, 10)), [0, 1])
    proposals = boxes((0, 0, 10, 8), (20, 0, 30, 10), (0, 0, 10, 5))
    found = proposal_recall([truth], [proposals], (1, 2, 3))
    np.testing.assert_allclose(found.overlaps, [[0.8, 0.0], [0.8, 1.0], [0.8, 1.0]], atol=1e-7)
    assert found.recall((0.5, 0.7, 0.9), 1).tolist() == [0.5, 0.5, 0.0]
    assert found.recall((0.5, 0.7, 0.9, 1.0), 2).tolist() == [1.0, 1.0, 0.5, 0.5]
    # 2 (0.8 - 0.5) = 0.6 and 2 (1 - 0.5) = 1: their mean. Seven of COCO's ten thresholds are at most 0.8.
    assert found.average_recall(2) == pytest.approx(0.8)
    assert found.coco_average_recall(2) == pytest.approx((0.7 + 1.0) / 2)
    assert found.made == (1.0, 2.0, 3.0) and found.images == 1


def test_a_proposal_finds_one_object_only():
    # Both objects overlap the one proposal: 10 of 20 and 10 of 10.
    truth = target(boxes((0, 0, 10, 10), (0, 0, 10, 20)))
    found = proposal_recall([truth], [boxes((0, 0, 10, 10))], (10,))
    assert found.overlaps.tolist() == [[1.0, 0.0]]
    # The second best goes to the object that lost.
    found = proposal_recall([truth], [boxes((0, 0, 10, 10), (0, 0, 10, 15))], (10,))
    np.testing.assert_allclose(found.overlaps, [[1.0, 0.75]])


def test_the_pairing_is_that_of_the_slow_loop():
    rng = np.random.default_rng(0)
    for rows, columns in [(0, 3), (3, 0), (1, 1), (7, 7), (20, 5), (5, 40), (40, 40)]:
        for _ in range(20):
            pairs = rng.random((rows, columns)).round(1)  # many ties
            pairs[rng.random(pairs.shape) < 0.4] = 0
            assert matched_overlaps(pairs).tolist() == slow_matched(pairs)


def test_the_pairing_is_no_better_than_the_best_and_at_least_half_of_it():
    rng = np.random.default_rng(1)
    for _ in range(50):
        pairs = rng.random((6, 9)) ** 3
        rows, columns = linear_sum_assignment(pairs, maximize=True)
        best, greedy = pairs[rows, columns].sum(), matched_overlaps(pairs).sum()
        assert best / 2 <= greedy <= best + 1e-12
        assert (matched_overlaps(pairs) <= pairs.max(axis=1)).all()


def test_recall_of_random_boxes_is_that_of_the_slow_loop():
    generator = torch.Generator().manual_seed(0)
    targets, proposals, overlaps = [], [], []
    for _ in range(4):
        made = torch.rand(23, 4, generator=generator) * 60
        made[:, 2:] += made[:, :2] + 1
        targets.append(target(made[:5], ignore=[False, False, True, False, False]))
        proposals.append(made[5:])
        real = [box for place, box in enumerate(made[:5].tolist()) if place != 2]
        pairs = np.array([[slow_iou(box, other) for other in made[5:15].tolist()] for box in real])
        overlaps += slow_matched(pairs)
    found = proposal_recall(targets, proposals, (10,))
    np.testing.assert_allclose(found.overlaps[0], overlaps, atol=1e-6)
    for threshold in (0.1, 0.3, 0.5):
        assert found.recall((threshold,))[0] == sum(overlap >= threshold for overlap in overlaps) / len(overlaps)


def test_average_recall_is_twice_the_area_under_the_curve():
    overlaps = np.random.default_rng(0).random(50)
    steps = np.linspace(0.5, 1, 20_001)
    area = np.trapezoid(recall_at(overlaps, steps), steps)
    assert average_recall(overlaps) == pytest.approx(2 * area, abs=1e-4)
    # An IoU of exactly a threshold counts, whatever the rounding of the threshold.
    assert recall_at(np.array([0.6, 0.85]), COCO_THRESHOLDS).sum() == pytest.approx((3 + 8) / 2)


def test_what_does_not_count_and_what_is_not_there():
    truth = target(boxes((0, 0, 10, 10), (20, 20, 40, 40)), [0, 1], [False, True])
    nothing = target(boxes())
    found = proposal_recall([truth, nothing], [boxes(), boxes((1, 1, 5, 5))], (1, 10))
    assert found.overlaps.tolist() == [[0.0], [0.0]]
    assert found.made == (0.5, 0.5)
    document = found.to_dict(Classes(("cat", "dog")))
    assert (document["objects"], document["images"]) == (1, 2)
    assert document["by_class"]["cat"] == {"objects": 1, "recall_50": 0.0, "recall_70": 0.0, "AR": 0.0}
    assert document["by_class"]["dog"] == {"objects": 0, "recall_50": None, "recall_70": None, "AR": None}
    assert document["by_size"]["small"]["objects"] == 1
    empty = proposal_recall([nothing], [boxes()], (1,))
    assert math.isnan(empty.average_recall()) and math.isnan(empty.recall((0.5,))[0])
    with pytest.raises(ValueError, match="2 images for 1"):
        proposal_recall([nothing], [boxes(), boxes()], (1,))
    for counts in ((), (0, 1), (10, 1), (1, 1)):
        with pytest.raises(ValueError, match="increase"):
            proposal_recall([nothing], [boxes()], counts)


def test_the_counts_end_at_what_was_asked_for():
    assert counts_up_to(1) == (1,)
    assert counts_up_to(300) == (1, 3, 10, 30, 100, 300)
    assert counts_up_to(2000) == (1, 3, 10, 30, 100, 300, 1000, 2000)
