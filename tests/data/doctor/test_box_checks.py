"""Checks of boxes and masks, case by case and against loops."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline.data.box_conventions import read_boxes
from sightline.data.doctor.box_checks import check_boxes, check_duplicates
from sightline.data.doctor.mask_checks import check_keypoints, check_masks
from sightline.data.findings import Finding
from sightline.data.tables import Tables, TablesBuilder

SIZE = (100, 200)


def tables_of(
    boxes: Sequence[Sequence[float]],
    form: str = "coco",
    labels: Sequence[int] | None = None,
    extras: Sequence[dict[str, Any]] | None = None,
) -> Tables:
    builder = TablesBuilder(form, Path("set"), Path("set"), object_place="object[{}]")
    row = builder.add_image("a.jpg", size=SIZE)
    for i, box in enumerate(boxes):
        builder.add_object(row, labels[i] if labels else 0, box, row=i, extra=extras[i] if extras else None)
    names = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    return builder.build(names, keypoint_names=("nose",) if extras and "keypoints" in extras[0] else ())


def found(tables: Tables) -> list[tuple[str, int | None]]:
    reading = read_boxes(tables, np.asarray([SIZE], np.int32))
    several = (
        check_boxes(tables, reading),
        check_duplicates(tables, reading),
        check_masks(tables, reading),
        check_keypoints(tables, reading),
    )
    return [(f.code, f.row) for findings in several for f in findings]


SOUND = [(10.0, 20.0, 60.0, 90.0), (100.0, 5.0, 190.0, 40.0), (5.0, 60.0, 199.0, 99.0), (50.0, 10.0, 90.0, 95.0)]


@pytest.mark.parametrize(
    ("form", "boxes", "code"),
    [
        ("coco", SOUND, ""),
        ("coco", [(x1, y1, x1 + x2, y1 + y2) for x1, y1, x2, y2 in SOUND], "boxes-are-corners"),
        ("voc", [(x1, y1, x2 - x1, y2 - y1) for x1, y1, x2, y2 in SOUND], "boxes-are-sizes"),
        ("voc", [(x1 / 200, y1 / 100, x2 / 200, y2 / 100) for x1, y1, x2, y2 in SOUND], "boxes-are-normalised"),
        ("yolo", [(x1 * 2, y1 / 2, x2 * 2, y2 / 2) for x1, y1, x2, y2 in SOUND], "boxes-wrong-side"),
        ("yolo", [(x1 * 200, y1 * 100, x2 * 200, y2 * 100) for x1, y1, x2, y2 in SOUND], "boxes-are-pixels"),
        # Other formats' conventions make no sense where they cannot have come from.
        ("masks", [(x1 * 200, y1 * 100, x2 * 200, y2 * 100) for x1, y1, x2, y2 in SOUND], ""),
        # Too few, or as bad otherwise.
        ("yolo", [(500, 500, 900, 900), (600, 500, 900, 900)], ""),
        ("coco", [(190.0, 90.0, 290.0, 180.0)] * 4, ""),
    ],
)
def test_the_convention_of_a_set(form: str, boxes: Sequence[Sequence[float]], code: str) -> None:
    tables = tables_of(boxes, form)
    reading = read_boxes(tables, np.asarray([SIZE], np.int32))
    assert reading.code == code
    if code:
        assert reading.boxes == pytest.approx(np.asarray(SOUND))
        assert found(tables)[0] == (code, 0) and len(found(tables)) == 1


def test_one_wild_box_among_many_is_not_a_convention_and_does_not_hide_one() -> None:
    many = [(x + i % 7, y, x2 + i % 7, y2) for i, (x, y, x2, y2) in enumerate(SOUND[:2] * 40)]
    tables = tables_of([*many, (500, 500, 900, 900)], "voc", labels=[i % 2 for i in range(81)])
    assert ("box-outside", 80) in found(tables) and not read_boxes(tables, np.asarray([SIZE], np.int32)).code
    shares = [(x1 / 200, y1 / 100, x2 / 200, y2 / 100) for x1, y1, x2, y2 in many]
    reading = read_boxes(tables_of([*shares, (20, 20, 40, 40)], "voc"), np.asarray([SIZE], np.int32))
    assert reading.code == "boxes-are-normalised"


def test_boxes_of_images_of_unknown_size_are_left_alone() -> None:
    tables = tables_of([(0, 0, 9000, 9000)] * 4)
    reading = read_boxes(tables, np.zeros((1, 2), np.int32))
    assert (reading.code, list(check_boxes(tables, reading))) == ("", [])


def test_duplicates_against_a_loop() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 400, (1300, 2))
    boxes = np.concatenate([corners, corners + rng.integers(20, 60, (1300, 2))], axis=1).astype(np.float64)
    boxes[1200] = boxes[7] + (0, 0, 0.4, 0)
    boxes[1201] = boxes[7]
    labels = rng.integers(0, 2, 1300)
    labels[[7, 1200, 1201]] = 1
    tables = tables_of(boxes.tolist(), labels=labels.tolist())

    def overlap(a: Any, b: Any) -> float:
        shared = max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
        return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)

    expected = []
    plain = boxes.tolist()
    for later in range(1300):
        near = [i for i in range(later) if labels[i] == labels[later] and abs(plain[i][0] - plain[later][0]) < 5]
        if any(overlap(plain[first], plain[later]) >= 0.95 for first in near):
            expected.append(later)
    told: list[Finding] = sorted(
        check_duplicates(tables, read_boxes(tables, np.asarray([(9000, 9000)], np.int32))), key=lambda f: f.row or 0
    )
    assert [f.row for f in told] == expected and {1200, 1201} <= set(expected)
    assert {f.what for f in told if f.row in (1200, 1201)} == {"the same class and box as object[7]"}


@pytest.mark.parametrize(
    ("extras", "twice"),
    [
        ([{}, {}], True),
        ([{"iscrowd": 1}, {}], False),
        ([{"difficult": 1}, {}], False),
        ([{"segmentation": [[10, 20, 60, 20, 60, 90, 10, 90]], "area": 3500}, {"area": 100}], True),
        (
            [
                {"segmentation": [[10, 20, 60, 20, 60, 90, 10, 90]], "area": 3500},
                {"segmentation": [[10, 20, 60, 20, 60, 90]], "area": 1750},
            ],
            False,
        ),
    ],
)
def test_what_is_one_annotation_twice(extras: list[dict[str, Any]], twice: bool) -> None:
    tables = tables_of([SOUND[0], SOUND[0]], extras=extras)
    assert (("annotation-duplicate", 1) in found(tables)) == twice


@pytest.mark.parametrize(
    ("segmentation", "codes"),
    [
        ([[10, 20, 60, 20, 60, 90, 10, 90]], []),
        ([[11, 22, 58, 20, 60, 88, 10, 90]], []),
        ([[10, 20, 64, 20, 64, 90, 10, 90]], ["mask-box-differs"]),
        ([[10, 20, 60, 20, 60, 90, 10, 90], [1, 2, 3, 4]], []),
        ([[10.1, 20, 10.1, 90, 10.1, 50]], ["mask-empty"]),
        ([[10, 20, 1e7, 90, 10, 90]], ["mask-malformed"]),
        ([[10, 20, 60, 20, 60, 90, 10]], ["mask-malformed"]),
        ({"size": [200, 100], "counts": [20000]}, ["mask-size-differs"]),
        ({"size": [100, 200], "counts": [20000]}, ["mask-empty"]),
        ({"size": [100, 200], "counts": [5, 5]}, ["mask-malformed"]),
        ({"size": [100, 200], "counts": [-5, 20005]}, ["mask-malformed"]),
        ({"size": [100, 200], "counts": "\u00e9"}, ["mask-malformed"]),
    ],
)
def test_masks(segmentation: Any, codes: list[str]) -> None:
    assert [code for code, _ in found(tables_of([SOUND[0]], extras=[{"segmentation": segmentation}]))] == codes


def test_crowds_and_keypoints() -> None:
    extras: list[dict[str, Any]] = [{"iscrowd": 1, "keypoints": [201.5, 5, 1]}, {"keypoints": [200.9, -0.9, 2]}]
    tables = tables_of(SOUND[:2], extras=[*extras])
    assert found(tables) == [("crowd-without-rle", 0), ("keypoint-outside", 0)]
    assert found(tables_of(SOUND[:1], "csv", extras=[{"iscrowd": 1}])) == []
