"""Cases worked by hand, and the limits: nothing to find, nothing found, no images."""

import math

import pytest
import torch

from sightline.evaluation.coco import METRIC_NAMES, CocoResult, evaluate_columns
from sightline.evaluation.columns import found_of, truth_of
from sightline.structures import Classes, Detections, Target

SIZE = (200, 300)
CLASSES = Classes(("cat", "dog"), ids=(17, 3))


def target(*boxes, labels=None, ignore=None):
    count = len(boxes)
    return Target(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels or [0] * count, dtype=torch.int64),
        SIZE,
        torch.tensor(ignore or [False] * count, dtype=torch.bool),
    )


def judged(targets, detections, classes=CLASSES, image_ids=None) -> CocoResult:
    return evaluate_columns(truth_of(targets), found_of(detections), classes, image_ids)


def found(*boxes, scores, labels=None):
    return Detections(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(scores),
        torch.tensor(labels or [0] * len(boxes), dtype=torch.int64),
        SIZE,
    )


def test_a_perfect_result_has_ap_1():
    truth = [target((10, 10, 60, 60), (100, 50, 250, 190), labels=[0, 1])]
    result = judged(truth, [found(*truth[0].boxes.tolist(), scores=[0.9, 0.8], labels=[0, 1])], CLASSES)
    numbers = tuple(result.numbers[name] for name in ("AP", "AP50", "AP75", "AR100", "APm", "APl"))
    assert numbers == pytest.approx((1.0,) * 6)
    assert math.isnan(result.numbers["APs"])
    assert result.metrics()["APs"] is None


def test_an_overlap_of_0_7_is_right_at_the_thresholds_up_to_it():
    # 70 of 100 columns: IoU 0.7, which passes 0.50 to 0.70, five of ten thresholds.
    truth, detections = [target((0, 0, 100, 100))], [found((0, 0, 70, 100), scores=[0.5])]
    result = judged(truth, detections, CLASSES)
    assert (result.ap, result.ap50, result.numbers["AP75"]) == pytest.approx((0.5, 1.0, 0.0))


def test_a_wrong_detection_before_the_right_one_halves_precision():
    truth = [target((0, 0, 50, 50))]
    result = judged(truth, [found((100, 100, 150, 150), (0, 0, 50, 50), scores=[0.9, 0.8])], CLASSES)
    assert result.ap50 == pytest.approx(0.5)
    assert result.numbers["AR1"] == 0.0
    assert result.numbers["AR10"] == pytest.approx(1.0)


def test_half_the_objects_found_gives_51_of_101_recalls():
    truth = [target((0, 0, 50, 50), (100, 100, 150, 150))]
    result = judged(truth, [found((0, 0, 50, 50), scores=[0.9])], CLASSES)
    assert result.ap50 == pytest.approx(51 / 101)
    assert result.curves[0].precision[:51] == pytest.approx(1.0)
    assert result.curves[0].precision[51:].tolist() == [0.0] * 50
    assert result.curves[0].score[0] == pytest.approx(0.9)


def test_ignored_objects_neither_count_nor_cost():
    # The second detection lies wholly in an ignored region: neither right nor wrong.
    truth = [target((0, 0, 50, 50), (100, 0, 300, 200), ignore=[False, True])]
    detections = [found((120, 20, 140, 40), (0, 0, 50, 50), scores=[0.9, 0.8])]
    result = judged(truth, detections, CLASSES)
    assert result.ap == pytest.approx(1.0)
    assert result.per_class[0].objects == 1
    assert result.per_class[0].detections == 2


def test_sizes_are_told_by_the_areas_of_the_target():
    box = torch.tensor([[0.0, 0.0, 100.0, 100.0]])
    truth = [Target(box, torch.tensor([0]), SIZE, areas=torch.tensor([500.0]))]
    result = judged(truth, [found((0, 0, 100, 100), scores=[0.9])], CLASSES)
    assert result.numbers["APs"] == pytest.approx(1.0)
    assert math.isnan(result.numbers["APl"])


def test_a_class_without_objects_is_left_out_of_the_mean():
    truth = [target((0, 0, 50, 50))]
    result = judged(truth, [found((0, 0, 50, 50), (0, 0, 9, 9), scores=[0.9, 0.8], labels=[0, 1])], CLASSES)
    assert result.ap == pytest.approx(1.0)
    assert math.isnan(result.per_class[1].ap)
    assert (result.per_class[1].objects, result.per_class[1].detections) == (0, 1)
    assert len(result.curves[1].recall) == 0


@pytest.mark.parametrize(
    ("truth", "detections", "classes"),
    [
        ([], [], CLASSES),
        ([], [], Classes(())),
        ([target()], [Detections.empty(SIZE)], CLASSES),
        ([target()], [Detections.empty(SIZE)], Classes(())),
        ([target()], [found((0, 0, 5, 5), scores=[0.5])], CLASSES),
    ],
)
def test_nothing_to_find_is_not_a_number(truth, detections, classes):
    result = judged(truth, detections, classes)
    assert list(result.metrics()) == list(METRIC_NAMES["boxes"])
    assert set(result.metrics().values()) == {None}
    assert len(result.per_class) == len(result.curves) == len(classes)


def test_nothing_found_is_zero():
    result = judged([target((0, 0, 50, 50))], [Detections.empty(SIZE)], CLASSES)
    assert (result.ap, result.numbers["AR100"]) == (0.0, 0.0)


def test_nothing_is_printed(capfd):
    judged([target((0, 0, 50, 50))], [found((0, 0, 50, 50), scores=[0.9])], CLASSES)
    assert capfd.readouterr() == ("", "")


def test_image_ids_need_not_be_small_or_in_order():
    truth = [target((0, 0, 50, 50)), target((50, 50, 90, 90))]
    detections = [found((0, 0, 50, 50), scores=[0.9]), found((50, 50, 90, 90), scores=[0.8])]
    result = judged(truth, detections, CLASSES, [2**40, -5])
    assert result.ap == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("truth", "detections", "ids", "message"),
    [
        ([target()], [], None, "1 targets but detections of 0 images"),
        ([target()], [Detections.empty(SIZE)], [1, 2], "1 targets but 2 image ids"),
        ([target()] * 2, [Detections.empty(SIZE)] * 2, [1, 1], "unique"),
        ([target((0, 0, 5, 5), labels=[2])], [Detections.empty(SIZE)], None, "a target has label 2"),
        ([target()], [found((0, 0, 5, 5), scores=[0.5], labels=[7])], None, "a detection has label 7"),
    ],
)
def test_what_does_not_fit_is_refused(truth, detections, ids, message):
    with pytest.raises(ValueError, match=message):
        judged(truth, detections, CLASSES, ids)
