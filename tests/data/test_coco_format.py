"""COCO's JSON: what is read, what is repaired, what is refused and where the error points."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from opened import opened_coco
from PIL import Image

from sightline.data.dataset import open_dataset, splits
from sightline.data.formats import coco_write
from sightline.errors import DataError
from sightline.structures import Classes

SQUARE = [1, 1, 5, 1, 5, 5, 1, 5]


def content() -> dict[str, Any]:
    return {
        "images": [
            {"id": 70, "file_name": "b.png", "height": 20, "width": 30},
            {"id": 7, "file_name": "a.png", "height": 20, "width": 30},
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 90, "bbox": [1, 2, 3, 4.5], "area": 5.5, "iscrowd": 0},
            {"id": 2, "image_id": 7, "category_id": 3, "bbox": [0, 0, 30, 20], "iscrowd": 1},
        ],
        "categories": [{"id": 90, "name": "zebra"}, {"id": 3, "name": "cat"}],
    }


def make(
    folder: Path, data: Any, file: str = "annotations/instances_train2017.json", images: str = "train2017"
) -> Path:
    (folder / images).mkdir(parents=True, exist_ok=True)
    for name in ("a.png", "b.png"):
        Image.new("RGB", (30, 20)).save(folder / images / name)
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def test_ids_with_holes_become_labels_in_order_of_id(tmp_path: Path) -> None:
    read = opened_coco(make(tmp_path, content()))
    assert read.classes == Classes(("cat", "zebra"), (3, 90))
    first, second = read.records
    assert (first.image_id, len(first), first.boxes.shape, first.keypoints) == (70, 0, (0, 4), None)
    assert second.boxes.tolist() == [[1, 2, 4, 6.5], [0, 0, 30, 20]]
    assert second.labels.tolist() == [1, 0]
    assert second.ignore.tolist() == [False, True]
    assert second.areas.tolist() == [5.5, 600]
    assert not read.findings


def test_repairs_are_counted_by_reason(tmp_path: Path) -> None:
    data = content()
    boxes = [
        [-2, 3, 10, 5],
        [29.996, 0, 0.0099, 3],
        [3, 3, 0, 5],
        [9, 9, -3, 4],
        [40, 3, 5, 5],
        [0, 0, 30.004, 20],
        [9, 9, 1e-9, 2],
    ]
    data["annotations"] = [
        {"id": i, "image_id": 7, "category_id": 3, "bbox": box, "segmentation": [SQUARE, [1, 2, 3, 4]]}
        for i, box in enumerate(boxes)
    ]
    del data["images"][1]["width"]
    read = opened_coco(make(tmp_path, data))
    assert read.findings == {
        "box-clipped": 1,
        "box-no-area": 2,
        "box-reversed": 1,
        "box-outside": 1,
        "polygon-short": 7,
        "image-size-missing": 1,
    }
    assert len(read.records[1]) == 3
    assert read.records[1].boxes[0].tolist() == [0, 3, 8, 8]
    assert read.records[1].segmentation == ([SQUARE],) * 3


def test_keypoints_of_all_objects_have_one_shape(tmp_path: Path) -> None:
    data = content()
    data["categories"][0]["keypoints"] = ["head", "tail"]
    data["annotations"][0]["keypoints"] = [1, 2, 2, 0, 0, 0]
    read = opened_coco(make(tmp_path, data))
    assert read.keypoint_names == ("head", "tail")
    assert read.records[0].keypoints is not None
    assert read.records[0].keypoints.shape == (0, 2, 3)
    assert read.records[1].keypoints is not None
    assert read.records[1].keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]


def change(*place: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    def act(data: dict[str, Any]) -> None:
        for key in place[:-1]:
            data = data[key]
        data[place[-1]] = value

    return act


def without(*place: Any) -> Callable[[dict[str, Any]], None]:
    def act(data: dict[str, Any]) -> None:
        for key in place[:-1]:
            data = data[key]
        del data[place[-1]]

    return act


DEFECTS = [
    (without("categories"), "top level", "'categories' is missing"),
    (change("images", value={}), "images", "must be a list"),
    (change("annotations", 1, value=3), "annotations[1]", "must be an object"),
    (without("annotations", 1, "bbox"), "annotations[1]", "'bbox' is missing"),
    (change("annotations", 1, "bbox", value=[1, 2, 3]), "annotations[1].bbox", "list of 4 numbers"),
    (change("annotations", 0, "bbox", value=[1, 2, float("nan"), 4]), "annotations[0].bbox", "finite"),
    (change("annotations", 0, "bbox", value=[1, 2, float("inf"), 4]), "annotations[0].bbox", "finite"),
    (change("annotations", 0, "bbox", value=[1, 2, "3", 4]), "annotations[0].bbox", "finite"),
    (change("annotations", 0, "bbox", value=[1, 2, 10**400, 4]), "annotations[0].bbox", "finite"),
    (change("annotations", 0, "area", value=-1), "annotations[0].area", "at least 0"),
    (change("annotations", 0, "iscrowd", value=2), "annotations[0].iscrowd", "0 or 1"),
    (
        change("annotations", 0, "segmentation", value="x"),
        "annotations[0].segmentation",
        "list of polygons or run lengths",
    ),
    (change("annotations", 0, "keypoints", value=[1, 2, 2]), "annotations[0].keypoints", "no category names any"),
    (change("annotations", 1, "image_id", value=8), "annotations[1].image_id", "no image with id 8"),
    (change("annotations", 1, "category_id", value=8), "annotations[1].category_id", "no category with id 8"),
    (change("images", 1, "id", value=70), "images[1].id", "used by images[0]"),
    (change("images", 1, "id", value="7"), "images[1].id", "whole number"),
    (change("images", 1, "file_name", value="c.png"), "images[1].file_name", "there is no file"),
    (change("images", 0, "file_name", value="c.png"), "images[0].file_name", "there is no file"),
    (change("images", 1, "height", value=10**30), "images[1].height", "whole number"),
    (change("images", 1, "height", value=-4), "images[1]", "at least 1"),
    (change("categories", 1, "id", value=90), "categories[1].id", "used by categories[0]"),
    (change("categories", 1, "name", value="zebra"), "categories[1].name", "used by categories[0]"),
    (change("categories", 1, "name", value=""), "categories[1].name", "must be a text"),
    (change("categories", 1, "keypoints", value=[1]), "categories[1].keypoints", "list of names"),
]


@pytest.mark.parametrize(("spoil", "place", "message"), DEFECTS)
def test_a_defect_is_named_with_its_place(tmp_path: Path, spoil: Any, place: str, message: str) -> None:
    data = content()
    spoil(data)
    path = make(tmp_path, data)
    with pytest.raises(DataError) as caught:
        opened_coco(path)
    assert caught.value.place == f"{path}, {place}"
    assert message in caught.value.what
    assert caught.value.cure


@pytest.mark.parametrize(
    ("raw", "place", "message"),
    [
        (b'{"images": [', "line 1, column 13", "not valid JSON"),
        (b"\xff\xfe{}", "line 1, column 1", "not valid JSON"),
        (b'{"a":\n' + b"[" * 200_000, "line 2, column 1", "not valid JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "line 1, column 7", "not valid JSON"),
        (b"[]", "top level", "starts with an object"),
    ],
)
def test_what_is_no_json_is_named(tmp_path: Path, raw: bytes, place: str, message: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        opened_coco(path)
    assert caught.value.place == f"{path}, {place}"


def test_a_set_without_objects_is_legal(tmp_path: Path) -> None:
    read = opened_coco(make(tmp_path, content() | {"annotations": []}))
    assert [len(record) for record in read.records] == [0, 0]


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    data = content()
    data["annotations"][0]["keypoints"] = [1, 2, 2]
    data["annotations"][0]["segmentation"] = [SQUARE]
    path = make(tmp_path, {})
    coco_write.write(
        path,
        coco_write.categories_of(Classes(("cat", "zebra"), (3, 90)), ["nose"]),
        data["images"],
        data["annotations"],
    )
    read = opened_coco(path)
    assert read.classes == Classes(("cat", "zebra"), (3, 90))
    assert read.keypoint_names == ("nose",)
    assert read.records[1].segmentation == ([SQUARE], None)
    assert read.records[1].keypoints is not None
    assert np.array_equal(read.records[1].keypoints[0], [[1, 2, 2]])


def test_a_failed_write_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.json"
    coco_write.write(path, coco_write.categories_of(Classes(("cat",))), [], [])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        coco_write.write(path, coco_write.categories_of(Classes(("cat",))), [{"id": float("nan")}], [])
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize(
    ("file", "images", "split"),
    [
        ("annotations/instances_train2017.json", "train2017", "train"),
        ("annotations/instances_val2014.json", "images/val2014", "val"),
        ("annotations/instances_test.json", "test", "test"),
        ("annotations/train.json", "images/train", "train"),
        ("annotations/my_boxes.json", "images", "my_boxes"),
        ("annotations/my_boxes.json", ".", "my_boxes"),
        ("valid/_annotations.coco.json", "valid", "val"),
    ],
)
def test_layouts(tmp_path: Path, file: str, images: str, split: str) -> None:
    path = make(tmp_path, content(), file, images)
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations" / "captions_train2017.json").write_text("{}")
    assert splits(tmp_path) == (split,)
    assert splits(path) == (split,)
    opened = open_dataset(tmp_path, split)
    assert (opened.name, opened.split, len(opened)) == (tmp_path.name, split, 2)
    assert open_dataset(path).split == split


def test_two_years_of_one_split_keep_their_own_names(tmp_path: Path) -> None:
    for year in ("2014", "2017"):
        make(tmp_path, content(), f"annotations/instances_val{year}.json")
    assert splits(tmp_path) == ("instances_val2014", "instances_val2017")
