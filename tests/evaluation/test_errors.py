import math

import hotcoco
import numpy as np
import pytest
import tide_slow
from splits_fabricated import found_from, split_from, truth_from

from sightline.evaluation.coco import evaluate_columns
from sightline.evaluation.columns import xywh
from sightline.evaluation.errors import KINDS, classify, errors_of
from sightline.structures import Classes

NAMES = ("cat", "dog", "emu")
FIXES = (*KINDS, "false positives", "false negatives")


def close(value, expected):
    return math.isnan(value) if expected is None else value == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("seed", range(25))
def test_kinds_are_those_of_a_plain_loop(seed):
    truth, found = split_from(seed)
    kind, about, missed = tide_slow.kinds_of(truth, found)
    ours = classify(truth, found)
    told = {-1: "right", -2: None, **dict(enumerate(KINDS))}
    assert [told[k] for k in ours.kind.tolist()] == [kind.get(d) for d in range(len(found))]
    assert ours.object_of.tolist() == [about.get(d, -1) for d in range(len(found))]
    assert np.flatnonzero(ours.missed).tolist() == missed


@pytest.mark.parametrize("seed", range(8))
def test_costs_are_those_of_a_plain_loop(seed):
    truth, found = split_from(100 + seed, images=6)
    ours = errors_of(truth, found, NAMES)
    for summary, size in [(ours.overall, None), *((s, s.name) for s in ours.by_size)]:
        expected = [tide_slow.mean_ap_after(truth, found, fix, len(NAMES), size) for fix in (None, *FIXES)]
        assert_costs(summary, expected)
    for label, summary in enumerate(ours.by_class):
        expected = [tide_slow.ap_after(truth, found, fix, lambda k, _, k0=label: k == k0) for fix in (None, *FIXES)]
        assert_costs(summary, expected)


def assert_costs(summary, expected):
    before, *after = expected
    assert close(summary.ap50, before)
    costs = [*summary.costs.values(), summary.false_positive_cost, summary.false_negative_cost]
    for name, cost, value in zip(FIXES, costs, after, strict=True):
        assert close(cost, None if value is None else value - before), (summary.name, name)


@pytest.mark.parametrize("seed", range(10))
def test_ap50_as_it_is_is_cocos(seed):
    truth, found = split_from(seed)
    result = evaluate_columns(truth, found, Classes(NAMES))
    ours = errors_of(truth, found, NAMES)
    assert ours.overall.ap50 == pytest.approx(result.ap50, abs=1e-10)
    assert [s.ap50 for s in ours.by_class] == pytest.approx([c.ap50 for c in result.per_class], abs=1e-10, nan_ok=True)


@pytest.mark.parametrize("seed", range(20))
def test_counts_and_costs_are_hotcocos_where_its_rules_are_the_papers(seed):
    # Not of classification and localisation, where hotcoco, as TIDE's toolbox, lets claims of both kinds compete.
    truth, found = split_from(seed, images=15, ties=False, crowds=False)
    dataset = hotcoco.COCO.from_arrays(
        [{"id": image, "width": 400, "height": 400} for image in range(truth.count)],
        [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)],
        truth.images,
        truth.labels + 1,
        xywh(truth),
        area=truth.areas,
        iscrowd=truth.ignore,
    )
    rows = np.column_stack([found.images, xywh(found), found.scores, found.labels + 1])
    evaluator = hotcoco.COCOeval(dataset, dataset.load_res(rows), "bbox")
    evaluator.evaluate()
    theirs, ours = evaluator.tide_errors(), errors_of(truth, found, NAMES).overall
    names = dict(zip(("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), KINDS, strict=True))
    assert {names[name]: count for name, count in theirs["counts"].items()} == ours.counts
    for name in ("Both", "Dupe", "Bkg", "Miss"):
        assert ours.costs[names[name]] == pytest.approx(theirs["delta_ap"][name], abs=1e-9)
    assert ours.false_positive_cost == pytest.approx(theirs["delta_ap"]["FP"], abs=1e-9)
    assert ours.false_negative_cost == pytest.approx(theirs["delta_ap"]["FN"], abs=1e-9)


def test_one_error_of_each_kind():
    truth = truth_from(1, [(0, k, (100 * k, 0, 100 * k + 50, 50), False) for k in (0, 1, 2)])
    found = found_from(
        1,
        [
            (0, (0, 0, 50, 50), 0, 0.9),  # right
            (0, (0, 0, 50, 45), 0, 0.8),  # again
            (0, (100, 0, 150, 50), 0, 0.7),  # a dog called a cat
            (0, (200, 0, 250, 20), 2, 0.6),  # an emu, too low: IoU 0.4
            (0, (200, 0, 250, 20), 1, 0.5),  # the same and called a dog
            (0, (300, 300, 350, 350), 2, 0.4),  # nothing there
        ],
    )
    ours = errors_of(truth, found, NAMES)
    assert list(ours.overall.counts.values()) == [1, 1, 1, 1, 1, 0]
    assert [list(s.counts.values()) for s in ours.by_class] == [
        [1, 0, 0, 1, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0],
    ]
    # Cats are right at first sight. Dogs and emus are not found: their AP is all that there is to be had.
    assert [s.ap50 for s in ours.by_class] == pytest.approx([1, 0, 0])
    # The dog becomes right and better scored than the wrong one; the emu the same.
    assert ours.overall.costs["classification"] == pytest.approx(1 / 3)
    assert ours.overall.costs["localisation"] == pytest.approx(1 / 3)
    assert [ours.overall.costs[kind] for kind in ("both", "duplicate", "background", "missed")] == [0, 0, 0, 0]
    assert ours.overall.false_positive_cost == 0
    assert [s.name for s in ours.by_size] == ["small", "medium", "large"]
    assert [s.objects for s in ours.by_size] == [0, 3, 0]
    assert math.isnan(ours.by_size[0].costs["missed"])


def test_a_missed_object_stretches_the_curve():
    truth = truth_from(2, [(0, 0, (0, 0, 50, 50), False), (1, 0, (0, 0, 50, 50), False)])
    ours = errors_of(truth, found_from(2, [(0, (0, 0, 50, 50), 0, 0.9)]), ("cat",))
    assert ours.overall.ap50 == pytest.approx(51 / 101)
    assert ours.overall.costs["missed"] == pytest.approx(50 / 101)
    assert ours.overall.false_negative_cost == pytest.approx(50 / 101)


def test_of_two_claims_on_one_object_the_better_scored_stays():
    # Misnamed with 0.9, right with 0.3: put right, the first takes the object and the second goes.
    truth = truth_from(1, [(0, 0, (0, 0, 50, 50), False)])
    wrong_between = (0, (200, 200, 260, 260), 0, 0.5)
    found = found_from(1, [(0, (0, 0, 50, 50), 1, 0.9), wrong_between, (0, (0, 0, 50, 50), 0, 0.3)])
    ours = errors_of(truth, found, NAMES)
    assert ours.by_class[0].ap50 == pytest.approx(0.5)
    assert ours.by_class[0].costs["classification"] == pytest.approx(0.5)


def test_ignored_objects_and_what_lies_on_them_are_no_errors():
    truth = truth_from(1, [(0, 0, (0, 0, 100, 100), True)])
    found = found_from(1, [(0, (10, 10, 20, 20), 0, 0.9), (0, (30, 10, 50, 20), 0, 0.8)])
    ours = errors_of(truth, found, NAMES)
    assert set(ours.overall.counts.values()) == {0}
    assert ours.overall.objects == 0


def test_a_class_that_nothing_was_found_of_costs_by_being_missed():
    truth = truth_from(1, [(0, 0, (0, 0, 50, 50), False), (0, 1, (100, 0, 150, 50), False)])
    ours = errors_of(truth, found_from(1, [(0, (0, 0, 50, 50), 0, 0.9)]), NAMES)
    assert (ours.overall.ap50, ours.overall.costs["missed"]) == pytest.approx((0.5, 0.5))


@pytest.mark.parametrize(("images", "names"), [(0, ()), (0, NAMES), (3, NAMES)])
def test_nothing_is_legal(images, names):
    ours = errors_of(truth_from(images, []), found_from(images, []), names)
    assert math.isnan(ours.overall.ap50)
    assert math.isnan(ours.overall.costs["missed"])
    assert len(ours.by_class) == len(names)
    with pytest.raises(ValueError, match="targets but detections"):
        errors_of(truth_from(images, []), found_from(images + 1, []), names)


def test_pairs_are_made_in_portions(monkeypatch):
    truth, found = split_from(3)
    whole = classify(truth, found)
    monkeypatch.setattr("sightline.evaluation.overlaps._PAIRS_AT_ONCE", 7)
    parts = classify(truth, found)
    assert parts.kind.tolist() == whole.kind.tolist()
    assert parts.object_of.tolist() == whole.object_of.tolist()
