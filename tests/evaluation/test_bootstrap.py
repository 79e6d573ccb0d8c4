import math
from dataclasses import replace

import numpy as np
import pytest
from splits_fabricated import found_from, split_from, truth_from

from sightline.evaluation.bootstrap import LEAST_IMAGES, Resampled, compare
from sightline.evaluation.coco import evaluate_columns
from sightline.evaluation.columns import Found, detections_of, found_of, targets_of, truth_of
from sightline.structures import Classes

NAMES = ("cat", "dog", "emu")


def judged(truth, found, images):
    """AP50 and AP of each class by COCO's evaluator on images that may be there several times, under new ids."""
    targets, detections = targets_of(truth), detections_of(found, truth.sizes)
    drawn = truth_of([targets[i] for i in images]), found_of([detections[i] for i in images])
    return evaluate_columns(*drawn, Classes(NAMES))


@pytest.mark.parametrize("seed", range(12))
def test_all_images_once_is_cocos_average_precision(seed):
    truth, found = split_from(seed, ties=seed % 2 == 0)
    precisions = Resampled(truth, found, len(NAMES)).average_precisions(np.ones(truth.count, np.int64))
    result = judged(truth, found, range(truth.count))
    assert precisions.mean(axis=0) == pytest.approx([c.ap for c in result.per_class], abs=1e-10, nan_ok=True)
    assert precisions[0] == pytest.approx([c.ap50 for c in result.per_class], abs=1e-10, nan_ok=True)
    assert precisions[5] == pytest.approx([c.ap75 for c in result.per_class], abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("seed", range(12))
def test_a_resample_is_what_judging_the_repeated_images_again_gives(seed):
    truth, found = split_from(seed, ties=False)
    model = Resampled(truth, found, len(NAMES))
    rng = np.random.default_rng(seed)
    for _ in range(4):
        images = np.sort(rng.integers(0, truth.count, truth.count))
        precisions = model.average_precisions(np.bincount(images, minlength=truth.count))
        result = judged(truth, found, images)
        assert precisions.mean(axis=0) == pytest.approx([c.ap for c in result.per_class], abs=1e-10, nan_ok=True)
        assert precisions[0] == pytest.approx([c.ap50 for c in result.per_class], abs=1e-10, nan_ok=True)


def test_equal_scores_of_several_images_are_repeated_image_by_image():
    # One class and one detection an image, all with the same score: the order among them is all that there is.
    truth = truth_from(4, [(k, 0, (0, 0, 50, 50), False) for k in range(4)])
    boxes = [(0, 0, 50, 50), (90, 90, 99, 99), (0, 0, 50, 50), (90, 90, 99, 99)]
    found = found_from(4, [(k, box, 0, 0.5) for k, box in enumerate(boxes)])
    images = [0, 1, 1, 2, 3, 3, 3]
    weighted = Resampled(truth, found, 3).average_precisions(np.bincount(images))
    assert weighted[0, 0] == pytest.approx(judged(truth, found, images).ap50, abs=1e-10)


def better_and_worse(seed=0, images=60):
    """Detections, and the same with a fifth of the right ones shifted away."""
    truth, found = split_from(seed, images=images, ties=False, crowds=False)
    rng = np.random.default_rng(seed)
    boxes = found.boxes + 300 * (rng.random(len(found)) < 0.2)[:, None]
    return truth, found, Found(found.count, found.images, found.labels, boxes, found.scores)


def test_the_better_of_two_is_found_and_says_in_how_many_resamples():
    truth, good, bad = better_and_worse()
    found = compare(truth, good, bad, NAMES, resamples=200)
    ap, ap50 = found.overall
    assert (ap.name, ap50.name) == ("AP", "AP50")
    assert 0 < ap.low < ap.difference < ap.high
    assert ap.verdict == "A is better"
    assert ap.a_better > 0.97
    assert compare(truth, bad, good, NAMES, resamples=200).overall[0].verdict == "B is better"
    assert (found.images, found.unit, found.resamples) == (60, "image", 200)
    assert "percentile" in found.method
    expected = judged(truth, good, range(60)).ap - judged(truth, bad, range(60)).ap
    assert ap.difference == pytest.approx(expected, abs=1e-10)


def test_a_difference_that_other_images_may_turn_round_is_not_significant():
    truth, good, _ = better_and_worse(images=30)
    one, other = (
        replace(good, boxes=good.boxes + 300 * (np.random.default_rng(seed).random(len(good)) < 0.1)[:, None])
        for seed in (1, 2)
    )
    for pair in ((one, other), (other, one)):
        ap = compare(truth, *pair, NAMES, resamples=200).overall[0]
        assert ap.difference != 0
        assert ap.low < 0 < ap.high
        assert ap.verdict == "no significant difference"


def test_a_model_does_not_differ_from_itself():
    truth, good, _ = better_and_worse()
    for found in (*(same := compare(truth, good, good, NAMES, resamples=50)).overall, *same.per_class):
        assert (found.low, found.high, found.a_better, found.b_better) == (0, 0, 0, 0)
        assert found.verdict == "no significant difference"


def test_the_interval_is_that_of_a_plain_loop():
    truth, good, bad = better_and_worse(images=15)
    ours = compare(truth, good, bad, NAMES, resamples=25, seed=7)
    rng, drawn = np.random.default_rng(7), []
    for _ in range(25):
        images = np.sort(rng.integers(0, 15, 15))
        drawn.append(judged(truth, good, images).ap - judged(truth, bad, images).ap)
    assert (ours.overall[0].low, ours.overall[0].high) == pytest.approx(np.percentile(drawn, [2.5, 97.5]), abs=1e-10)
    assert ours.overall[0].a_better == np.mean(np.asarray(drawn) > 0)


def test_the_seed_decides():
    truth, good, bad = better_and_worse(images=20)
    one, two, three = (compare(truth, good, bad, NAMES, resamples=40, seed=seed) for seed in (1, 1, 2))
    assert one.overall == two.overall != three.overall


def test_what_is_not_there_is_not_compared():
    truth, found = truth_from(3, [(0, 0, (0, 0, 50, 50), False)]), found_from(3, [(0, (0, 0, 50, 50), 0, 0.9)])
    ours = compare(truth, found, found_from(3, []), NAMES, resamples=100)
    cat, dog, _ = ours.per_class
    # The only image with a cat is in about 70 of 100 resamples.
    assert 50 < cat.resamples < 90
    assert (cat.difference, cat.low, cat.high) == pytest.approx((1, 1, 1))
    assert (cat.images, cat.verdict) == (1, "too few images to tell")
    assert (dog.resamples, dog.verdict) == (0, "nothing to compare")
    empty = compare(truth_from(0, []), found_from(0, []), found_from(0, []), (), resamples=2)
    assert math.isnan(empty.overall[0].a)
    with pytest.raises(ValueError, match="at least 1 resample"):
        compare(truth, found, found, NAMES, resamples=0)


def test_a_few_images_give_no_verdict_however_clear_the_interval():
    """Half as many again as promised seem to differ of twenty images: of fewer the interval is not to be trusted."""
    for images, verdict in ((LEAST_IMAGES - 1, "too few images to tell"), (LEAST_IMAGES, "A is better")):
        boxes = [(k, 0, (0, 0, 50, 50), False) for k in range(images)]
        truth = truth_from(images, boxes)
        right = found_from(images, [(k, (0, 0, 50, 50), 0, 0.9) for k in range(images)])
        found = compare(truth, right, found_from(images, []), NAMES, resamples=20).overall[0]
        assert found.low > 0 and found.verdict == verdict
    assert found.in_words("ours", "theirs") == "ours is better"
    few = replace(found, images=8)
    assert few.in_words("ours", "theirs") == "too few images to tell (8; at least 20)"
    assert few.to_dict()["images"] == 8
