"""YOLO sets, written and read again: numbers, names, masks, keypoints, and what is counted as lost."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats import coco, yolo, yolo_write
from sightline.data.formats.writing import Output
from sightline.data.mask_files import encode
from sightline.data.segmentation import decode_segmentation
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

NAMES = ("no", "zwei, drei", "猫: #1", "7", "a 'b' \"c\"", "null")
Objects = list[tuple[int, tuple[float, ...], dict[str, Any]]]


def made(
    root: Path,
    images: dict[str, tuple[tuple[int, int], Objects]],
    *,
    names: tuple[str, ...] = NAMES,
    points: tuple[str, ...] = (),
    sized: bool = True,
) -> Tables:
    builder = TablesBuilder("test", root, root, object_place="{}")
    for name, (size, objects) in images.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size[::-1]).save(root / name)
        row = builder.add_image(name, size=size if sized else None)
        for number, (label, box, extra) in enumerate(objects):
            builder.add_object(row, label, box, row=number, extra=extra)
    keys = {"keypoints": list(points), "skeleton": []} if points else {}
    categories = [{"id": i, "name": name, "supercategory": ""} | keys for i, name in enumerate(names, start=1)]
    return builder.build(categories, keypoint_names=points)


def again(folder: Path, splits: dict[str, Tables], task: yolo_write.Task = "auto") -> tuple[dict[str, Tables], Output]:
    folder.mkdir()
    output = Output(folder)
    yolo_write.write(splits, output, task=task)
    findings = Findings()
    read = {split: yolo.read(folder, split, findings) for split in yolo.find_splits(folder)}
    assert not findings.counts
    return read, output


def by_file(tables: Tables) -> dict[str, list[tuple[str, list[float]]]]:
    order, first = tables.objects_by_image()
    found = {}
    for row, file in enumerate(tables.images.files.to_list()):
        objects = order[first[row] : first[row + 1]].tolist()
        labels = [str(tables.categories[tables.objects.labels[i]]["name"]) for i in objects]
        found[file.split("/")[-1]] = list(zip(labels, tables.objects.boxes[objects].tolist(), strict=True))
    return found


def test_boxes_names_and_files_come_back(tmp_path: Path) -> None:
    images: dict[str, tuple[tuple[int, int], Objects]] = {
        "b.c.d e,f.png": (
            (20, 30),
            [(3, (0, 0, 30, 20), {}), (0, (1.25, 2.5, 3.75, 19.5), {}), (2, (29, 19, 30, 20), {})],
        ),
        "sub/images/猫.png": ((1, 1), [(5, (0, 0, 1, 1), {})]),
        "empty.png": ((7, 5), []),
    }
    train, val = made(tmp_path / "a", images), made(tmp_path / "b", {"empty.png": ((3, 3), [(1, (1, 1, 2, 2), {})])})
    read, output = again(tmp_path / "out", {"train": train, "val": val})
    assert list(read) == ["train", "val"]
    assert by_file(read["train"]) == by_file(train)
    assert by_file(read["val"]) == by_file(val)
    assert [str(c["name"]) for c in read["train"].categories] == list(NAMES)
    assert (tmp_path / "out/labels/train/sub/猫.txt").is_file()
    assert (tmp_path / "out/labels/train/empty.txt").read_text() == ""
    assert dict(output.losses) == {}
    content = yaml.safe_load((tmp_path / "out/data.yaml").read_text(encoding="utf-8"))
    assert content == {"train": "images/train", "val": "images/val", "nc": 6, "names": dict(enumerate(NAMES))}


def test_images_of_one_stem_get_labels_of_their_own(tmp_path: Path) -> None:
    images = {name: ((9, 9), [(i, (i, i, 8, 8), {})]) for i, name in enumerate(("a.png", "a.bmp", "train/a.png"))}
    read, _ = again(tmp_path / "out", {"train": made(tmp_path / "in", images)})
    assert sorted(boxes[0][0] for boxes in by_file(read["train"]).values()) == sorted(NAMES[:3])


def test_sizes_come_from_the_files_where_there_are_none(tmp_path: Path) -> None:
    tables = made(tmp_path / "in", {"a.png": ((10, 40), [(0, (10, 5, 20, 10), {})])}, sized=False)
    read, _ = again(tmp_path / "out", {"train": tables})
    assert by_file(read["train"]) == by_file(tables)


def test_splits_of_other_names_are_keys_and_some_names_are_refused(tmp_path: Path) -> None:
    tables = made(tmp_path / "in", {"a.png": ((9, 9), [])})
    read, _ = again(tmp_path / "out", {"all": tables, "no": tables})
    assert list(read) == ["all", "no"]
    for name in ("names", "path", "a/b", ".."):
        with pytest.raises(DataError, match="another name"):
            yolo_write.write({name: tables}, Output(tmp_path))


def test_boxes_are_clipped_and_dropped_by_reason(tmp_path: Path) -> None:
    boxes = [(-4, -4, 5, 5), (4, 4, 4, 9), (20, 20, 30, 30), (8, 8, 2, 2), (1, 1, 3, 3), (1, 1, 4, 4), (2, 2, 5, 10.5)]
    flags: list[dict[str, Any]] = [{}] * 4 + [{"iscrowd": 1}, {"difficult": 1}, {}]
    objects: Objects = [(0, box, extra) for box, extra in zip(boxes, flags, strict=True)]
    read, output = again(tmp_path / "out", {"train": made(tmp_path / "in", {"a.png": ((10, 10), objects)})})
    assert read["train"].objects.boxes.tolist() == [[0, 0, 5, 5], [1, 1, 4, 4], [2, 2, 5, 10]]
    assert dict(output.losses) == {
        "box clipped to the image": 1,
        "box clipped to the image by a pixel or less": 1,
        "box without area dropped": 1,
        "box outside the image dropped": 1,
        "reversed box dropped": 1,
        yolo_write.CROWD: 1,
        yolo_write.DIFFICULT: 1,
    }


def test_keypoints_come_back(tmp_path: Path) -> None:
    points = ("nose", "left_eye", "right_eye")
    objects: Objects = [
        (0, (0, 0, 30, 20), {"keypoints": [3.3, 4.4, 2, 0, 0, 0, 30, 20, 1]}),
        (0, (1, 1, 9, 9), {"keypoints": [31, 4, 2, 5, 6, 0, 7, -1, 1], "segmentation": [[1, 1, 9, 1, 9, 9]]}),
        (0, (2, 2, 9, 9), {}),
    ]
    tables = made(tmp_path / "in", {"a.png": ((20, 30), objects)}, points=points)
    read, output = again(tmp_path / "out", {"train": tables})
    keypoints = read["train"].objects.keypoints
    assert keypoints is not None
    expected = [[3.3, 4.4, 2, 0, 0, 0, 30, 20, 1], [0, 0, 0, 5, 6, 0, 0, 0, 0], [0] * 9]
    assert np.allclose(keypoints.reshape(3, 9), expected, atol=1e-5)
    assert (read["train"].keypoint_names, read["train"].header) == (points, {"flip_idx": [0, 2, 1]})
    assert dict(output.losses) == {yolo_write.NO_MASK: 1, yolo_write.OUTSIDE_POINT: 2}
    boxes, output = again(tmp_path / "boxes", {"train": tables}, task="detect")
    assert boxes["train"].objects.keypoints is None
    assert dict(output.losses) == {yolo_write.NO_MASK: 1, yolo_write.NO_KEYPOINTS: 2}


def test_without_left_and_right_nothing_is_said_of_mirrors(tmp_path: Path) -> None:
    tables = made(tmp_path / "in", {"a.png": ((9, 9), [])}, points=("tip", "tail"))
    again(tmp_path / "out", {"train": tables})
    assert "flip_idx" not in yaml.safe_load((tmp_path / "out/data.yaml").read_text(encoding="utf-8"))


def mask_of(tables: Tables, row: int) -> np.ndarray[Any, Any]:
    size = tables.images.sizes[tables.objects.images[row]].tolist()
    return decode_segmentation(tables.object_entry(row)["segmentation"], (size[0], size[1])).numpy()


def test_masks_come_back(tmp_path: Path) -> None:
    ring = np.zeros((20, 30), np.bool_)
    ring[2:12, 3:17] = True
    ring[5:8, 6:9] = False
    ring[18, 29] = True
    two = [[1, 1, 9, 1, 9, 9, 1, 9], [15, 3, 25, 3, 20, 12]]
    overlapping = [[1, 1, 11, 1, 11, 11, 1, 11], [6, 6, 16, 6, 16, 16, 6, 16]]
    leaving = [[20.0, 5, 40, 5, 40, 15, 20, 15]]
    objects: Objects = [
        (0, (1, 1, 9, 9), {"segmentation": [[1.3, 1.1, 9.7, 1.1, 9.7, 9.9]]}),
        (1, (3, 2, 30, 19), {"segmentation": encode(ring)}),
        (2, (1, 1, 25, 12), {"segmentation": two}),
        (3, (1, 1, 16, 16), {"segmentation": overlapping}),
        (4, (20, 5, 30, 15), {"segmentation": leaving}),
        (5, (4, 4, 8, 9), {}),
        (5, (4, 4, 8, 8), {"segmentation": [[50, 50, 60, 50, 60, 60]]}),
    ]
    tables = made(tmp_path / "in", {"a.png": ((20, 30), objects)})
    read, output = again(tmp_path / "out", {"train": tables})
    for row in range(5):
        assert (mask_of(read["train"], row) == mask_of(tables, row)).all(), row
    assert read["train"].object_entry(5)["segmentation"] == [[4, 4, 8, 4, 8, 9, 4, 9]]
    assert read["train"].objects.boxes[6].tolist() == [4, 4, 8, 8]
    assert dict(output.losses) == {yolo_write.JOINED: 2, yolo_write.BOX_AS_POLYGON: 2}


def test_a_box_that_is_not_its_masks_is_counted(tmp_path: Path) -> None:
    objects: Objects = [(0, (0, 0, 9, 9), {"segmentation": [[2, 2, 6, 2, 6, 6]]})]
    read, output = again(tmp_path / "out", {"train": made(tmp_path / "in", {"a.png": ((9, 9), objects)})})
    assert read["train"].objects.boxes.tolist() == [[2, 2, 6, 6]]
    assert output.losses[yolo_write.MOVED_BOX] == 1


def test_cocos_masks_come_back(tmp_path: Path, data_root: Path) -> None:
    annotations = data_root / "datasets/coco_tiny/annotations/instances_val2017.json"
    source = coco.read(annotations, Findings())
    folder = tmp_path / "out"
    folder.mkdir()
    output = Output(folder, "copy")
    yolo_write.write({"val": source}, output)
    read = yolo.read(folder, "val", Findings())
    places = {file.split("/")[-1]: row for row, file in enumerate(read.images.files.to_list())}
    order, first = source.objects_by_image()
    mine, starts = read.objects_by_image()
    overlaps: list[float] = []
    for row, file in enumerate(source.images.files.to_list()):
        theirs = [i for i in order[first[row] : first[row + 1]].tolist() if not source.objects.ignore[i]]
        place = places[file.split("/")[-1]]
        for a, b in zip(theirs, mine[starts[place] : starts[place + 1]].tolist(), strict=True):
            was, now = mask_of(source, a), mask_of(read, b)
            overlaps.append(float((was & now).sum() / (was | now).sum()))
    assert len(overlaps) == 804
    assert min(overlaps) > 0.98
    assert sum(overlap == 1 for overlap in overlaps) >= 790
    assert output.losses[yolo_write.CROWD] == 11


boxes = st.tuples(st.floats(0, 0.99), st.floats(0, 0.99), st.floats(0.002, 1), st.floats(0.002, 1))


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 5), boxes), max_size=8), st.integers(1, 300), st.integers(1, 300))
def test_any_boxes_come_back(
    tmp_path_factory: pytest.TempPathFactory, objects: list[tuple[int, tuple[float, ...]]], height: int, width: int
) -> None:
    folder = tmp_path_factory.mktemp("set")
    placed: Objects = []
    for label, (x, y, w, h) in objects:
        right, bottom = min(x + w, 1.0), min(y + h, 1.0)
        placed.append((label, (x * width, y * height, right * width, bottom * height), {}))
    tables = made(folder / "in", {"a.png": ((height, width), placed)})
    read, _ = again(folder / "out", {"train": tables})
    assert read["train"].objects.labels.tolist() == tables.objects.labels.tolist()
    assert np.abs(read["train"].objects.boxes - tables.objects.boxes).max(initial=0) < 2e-6
