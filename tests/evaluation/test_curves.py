import math

import numpy as np
import pytest
import torch

from sightline.evaluation.columns import found_of, truth_of
from sightline.evaluation.curves import exact_curve, operating_point, operating_points
from sightline.evaluation.matching import match_columns
from sightline.structures import Classes, Detections, Target


def test_precision_and_recall_at_each_distinct_score():
    scores = np.array([0.5, 0.9, 0.7, 0.7])
    correct = np.array([False, True, False, True])
    recall, precision, at = exact_curve(scores, correct, objects=4)
    assert at.tolist() == [0.9, 0.7, 0.5]
    assert recall.tolist() == [0.25, 0.5, 0.5]
    assert precision == pytest.approx([1, 2 / 3, 0.5])


def test_the_best_threshold_is_that_of_a_slow_search():
    rng = np.random.default_rng(0)
    for _ in range(30):
        count, objects = int(rng.integers(1, 40)), 40
        scores, correct = rng.random(count).round(1), rng.random(count) < 0.5
        correct[0] = True
        point = operating_point("x", scores, correct, objects)
        best = max(2 * correct[scores >= t].sum() / ((scores >= t).sum() + objects) for t in np.unique(scores))
        assert point.f1 == pytest.approx(best)
        kept = scores >= point.threshold
        assert point.precision == pytest.approx(correct[kept].mean())
        assert point.recall == pytest.approx(correct[kept].sum() / objects)


def test_without_objects_or_right_detections_there_is_no_threshold():
    nothing = operating_point("x", np.zeros(0), np.zeros(0, dtype=bool), 0)
    assert all(math.isnan(v) for v in (nothing.threshold, nothing.precision, nothing.recall, nothing.f1))
    wrong = operating_point("x", np.array([0.5]), np.array([False]), 3)
    assert math.isnan(wrong.threshold)
    assert (wrong.recall, wrong.f1) == (0.0, 0.0)


def test_classes_have_their_own_points_and_ignored_detections_do_not_count():
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 90, 50]])
    target = Target(boxes, torch.tensor([0, 1, 1]), (100, 100), torch.tensor([False, False, True]))
    detections = Detections(boxes[[2, 0, 1]], torch.tensor([0.9, 0.8, 0.4]), torch.tensor([1, 0, 1]), (100, 100))
    truth, found = truth_of([target]), found_of([detections])
    overall, (first, second) = operating_points(truth, found, match_columns(truth, found), Classes(("a", "b")))
    assert (first.threshold, first.f1) == (pytest.approx(0.8), 1.0)
    assert (second.threshold, second.f1) == (pytest.approx(0.4), 1.0)
    assert (overall.threshold, overall.precision, overall.recall) == (pytest.approx(0.4), 1.0, 1.0)


def test_a_data_set_without_images_has_no_points():
    truth, found = truth_of([]), found_of([])
    overall, per_class = operating_points(truth, found, match_columns(truth, found), Classes(("a",)))
    assert math.isnan(overall.f1)
    assert math.isnan(per_class[0].f1)
