"""What an evaluation says of its errors, in agreement with what it says of its quality."""

import json
from dataclasses import replace

import numpy as np
import pytest
from splits_fabricated import found_from, split_from, truth_from

from sightline.evaluation.bootstrap import Resampled
from sightline.evaluation.evaluation import judge_columns
from sightline.structures import Classes

CLASSES = Classes(("cat", "dog", "emu"))


@pytest.mark.parametrize("seed", range(6))
def test_equal_scores_are_taken_in_the_order_of_image_ids(seed):
    truth, found = split_from(seed, ties=True)
    ids = np.random.default_rng(seed).permutation(100)[: truth.count]
    evaluation = judge_columns(truth, found, CLASSES, tuple(ids.tolist()))
    assert evaluation.errors.overall.ap50 == pytest.approx(evaluation.result.ap50, abs=1e-10)
    once = Resampled(truth, found, len(CLASSES), evaluation.turns).average_precisions(np.ones(truth.count, np.int64))
    assert np.nanmean(once) == pytest.approx(evaluation.result.ap, abs=1e-10)


def test_the_order_of_image_ids_matters_among_equal_scores():
    truth = truth_from(2, [(1, 0, (0, 0, 50, 50), False)])
    found = found_from(2, [(0, (0, 0, 50, 50), 0, 0.5), (1, (0, 0, 50, 50), 0, 0.5)])
    costs = [judge_columns(truth, found, CLASSES, ids).errors.overall.costs["background"] for ids in ((1, 2), (2, 1))]
    assert costs == [0.5, 0.0]


@pytest.mark.parametrize("seed", range(4))
def test_all_of_it_is_plain_json(seed):
    truth, found = split_from(seed)
    document = judge_columns(truth, found, CLASSES, tuple(range(truth.count))).to_dict()
    json.dumps(document, allow_nan=False)
    errors, confusion, calibration = (document[name] for name in ("errors", "confusion", "calibration"))
    assert "TIDE" in errors["protocol"]
    assert [part["name"] for part in errors["by_class"]] == list(CLASSES.names)
    objects = sum(cell["count"] for cell in confusion["cells"] if cell["object"] is not None)
    assert objects == document["objects"]
    assert sum(part["detections"] for part in calibration["bins"]) == calibration["detections"] > 0


def test_nothing_at_all_is_plain_json_too():
    for images in (0, 2):
        empty = judge_columns(truth_from(images, []), found_from(images, []), CLASSES, tuple(range(images)))
        json.dumps(empty.to_dict(), allow_nan=False)
        assert empty.shown_threshold == 0.5


def test_scores_that_are_no_shares_of_1_are_not_called_calibrated():
    truth, found = split_from(0)
    evaluation = judge_columns(truth, replace(found, scores=found.scores * 7), CLASSES, tuple(range(truth.count)))
    assert evaluation.reliability is None
    assert evaluation.to_dict()["calibration"] is None


def test_confusion_is_that_of_the_operating_point():
    truth, found = split_from(1)
    evaluation = judge_columns(truth, found, CLASSES, tuple(range(truth.count)))
    assert evaluation.confusion.threshold == evaluation.operating_point.threshold
