import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from splits_fabricated import found_from, split_from, truth_from

from sightline.evaluation.matching import match, match_columns
from sightline.evaluation.voc import voc_matches
from sightline.structures import Detections, Target

SIZE = (400, 400)


def truth(boxes, labels=None, ignore=None):
    count = len(boxes)
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels or [0] * count, dtype=torch.int64),
        SIZE,
        torch.tensor(ignore or [False] * count, dtype=torch.bool),
    )


def found(boxes, labels=None):
    count = len(boxes)
    scores = torch.linspace(0.9, 0.1, count) if count else torch.zeros(0)
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return Detections(boxes, scores, torch.tensor(labels or [0] * count, dtype=torch.int64), SIZE)


def test_the_second_detection_of_an_object_is_wrong():
    matches = match([truth([(0, 0, 10, 10)])], [found([(0, 0, 10, 9), (0, 0, 10, 10)])])[0]
    assert matches.object_of.tolist() == [0, -1]
    assert matches.overlap.tolist() == pytest.approx([0.9, 0.0])
    assert matches.correct.tolist() == [True, False]
    assert matches.counted.all()
    assert matches.found.tolist() == [True]


def test_a_detection_takes_the_free_object_that_it_overlaps_most():
    objects = [(0, 0, 10, 10), (0, 0, 10, 12), (0, 0, 10, 20)]
    matches = match([truth(objects)], [found([(0, 0, 10, 12), (0, 0, 10, 12), (0, 0, 10, 12)])])[0]
    assert matches.object_of.tolist() == [1, 0, 2]


def test_classes_and_images_do_not_touch():
    box = (0, 0, 10, 10)
    matches = match([truth([box], [0]), truth([box], [1])], [found([box], [1]), found([box], [0])])
    assert [m.object_of.tolist() for m in matches] == [[-1], [-1]]


def test_ignored_objects_take_any_number_and_only_what_is_left():
    matches = match(
        [truth([(0, 0, 100, 100), (0, 0, 20, 20)], ignore=[True, False])],
        [found([(0, 0, 20, 20), (0, 0, 20, 20), (50, 50, 60, 60)])],
    )[0]
    assert matches.object_of.tolist() == [1, 0, 0]
    assert matches.correct.tolist() == [True, False, False]
    assert matches.counted.tolist() == [True, False, False]
    assert matches.found.tolist() == [False, True]


def test_beyond_100_detections_of_a_class_none_counts():
    matches = match([truth([(0, 0, 10, 10)])], [found([(50, 50, 60, 60)] * 100 + [(0, 0, 10, 10)])])[0]
    assert matches.counted.sum() == 100
    assert not matches.found.any()


def test_nothing_is_legal():
    assert match([], []) == ()
    nothing = match([truth([])], [found([])])[0]
    assert (len(nothing.object_of), len(nothing.found)) == (0, 0)
    assert match([truth([])], [found([(0, 0, 1, 1)])])[0].correct.tolist() == [False]
    assert match([truth([(0, 0, 1, 1)])], [found([])])[0].found.tolist() == [False]
    with pytest.raises(ValueError, match="1 targets"):
        match([truth([])], [])


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.75]))
def test_each_object_is_found_once_and_by_enough_overlap(seed, iou):
    rng = np.random.default_rng(seed)
    targets, detections = [], []
    for _ in range(3):
        corner, side = rng.integers(0, 20, (12, 2)), rng.integers(1, 20, (12, 2))
        boxes = np.concatenate([corner, corner + side], axis=1).tolist()
        labels = rng.integers(0, 2, 12).tolist()
        targets.append(truth(boxes[:5], labels[:5], (rng.random(5) < 0.3).tolist()))
        detections.append(found(boxes[5:], labels[5:]))
    for target, result, matches in zip(targets, detections, match(targets, detections, iou), strict=True):
        right = matches.object_of[matches.correct]
        assert len(set(right.tolist())) == len(right) == matches.found.sum()
        assert not (matches.found & target.ignore.numpy()).any()
        for row, index in enumerate(matches.object_of.tolist()):
            if index >= 0:
                assert result.labels[row] == target.labels[index]
                assert matches.overlap[row] >= iou


def matched_everywhere(truth, found):
    matches, (right, counted) = match_columns(truth, found), voc_matches(truth, found)
    return [part.tolist() for part in (matches.object_of, matches.overlap, matches.counted, right, counted)]


@pytest.mark.parametrize("seed", range(5))
def test_portions_make_no_difference(monkeypatch, seed):
    truth, found = split_from(seed)
    whole = matched_everywhere(truth, found)
    monkeypatch.setattr("sightline.evaluation.overlaps._PAIRS_AT_ONCE", 7)
    assert matched_everywhere(truth, found) == whole


def test_memory_does_not_grow_with_the_pairs(monkeypatch):
    # A million pairs of one class, of which few overlap: shelves in a shop.
    monkeypatch.setattr("sightline.evaluation.overlaps._PAIRS_AT_ONCE", 10_000)
    spots = [(20 * k, 0, 20 * k + 10, 10) for k in range(250)]
    truth = truth_from(40, [(image, 0, box, False) for image in range(40) for box in spots])
    found = found_from(40, [(image, box, 0, 0.5) for image in range(40) for box in spots[:100]])
    tracemalloc.start()
    try:
        assert match_columns(truth, found).correct.all()
        assert voc_matches(truth, found)[0].all()
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
