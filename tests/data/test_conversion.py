"""From every format to every other: whatever is different afterwards was announced."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from compare_sets import differences, unannounced
from PIL import Image

from sightline.data.coco_masks import encode
from sightline.data.conversion import convert, features, plan, read_splits
from sightline.data.formats import writing
from sightline.data.formats.writers import WRITERS
from sightline.errors import ConfigError, DataError, SightlineError

SIZE = (40, 60)
FORMATS = sorted(WRITERS)


def noise(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)).save(path)


def ring() -> dict[str, Any]:
    mask = np.zeros(SIZE, np.bool_)
    mask[5:30, 20:50], mask[12:20, 30:40] = True, False
    return encode(mask)


SQUARE = [2.5, 3, 12.5, 3, 12.5, 13, 2.5, 13]
PLAIN = {"bbox": [2, 3, 10, 10], "area": 100, "iscrowd": 0}
OBJECTS: dict[str, list[dict[str, Any]]] = {
    "plain": [PLAIN],
    "fractions": [PLAIN | {"bbox": [2.25, 3.5, 10.125, 10.3], "area": 10.125 * 10.3}],
    "polygon": [PLAIN | {"segmentation": [SQUARE], "bbox": [2.5, 3, 10, 10]}],
    "parts": [PLAIN | {"segmentation": [SQUARE, [20, 20, 30, 20, 30, 30]], "bbox": [2.5, 3, 27.5, 27], "area": 150}],
    "ring": [{"bbox": [20, 5, 30, 25], "area": 670, "segmentation": ring()}],
    "crowd": [PLAIN, {"bbox": [20, 5, 30, 25], "area": 670, "segmentation": ring(), "iscrowd": 1}],
    "difficult": [PLAIN | {"difficult": 1}, {"bbox": [20, 20, 9, 9], "truncated": 1, "pose": "Left", "occluded": 1}],
    "keypoints": [PLAIN | {"keypoints": [5.5, 5, 2, 0, 0, 0, 9, 9, 1], "num_keypoints": 2}, {"bbox": [20, 20, 9, 9]}],
    "far keypoints": [PLAIN | {"keypoints": [70, 5, 2, 0, 0, 0, 9, -9, 1], "num_keypoints": 2}],
    "awkward boxes": [
        *({"bbox": box} for box in ([-5, -5, 20, 20], [50, 30, 30, 30], [9, 9, 0, 5], [20, 20, -5, 3], [90, 90, 5, 5])),
        PLAIN,
    ],
    "extras": [PLAIN | {"caption": "a cat", "score": 0.5, "attributes": {"colour": "red"}}],
    "alike": [PLAIN, PLAIN, PLAIN | {"category_id": 9}],
    "odd area": [PLAIN | {"area": 61.5}],
    "overlap": [
        {"bbox": [2.5, 3, 10, 10], "segmentation": [SQUARE]},
        {"bbox": [5, 5, 20, 20], "segmentation": [[5, 5, 25, 5, 25, 25, 5, 25]], "category_id": 9},
    ],
}


def coco(folder: Path, objects: list[dict[str, Any]]) -> Path:
    """Two splits; the first has the objects, one image of each has none."""
    points = {"keypoints": ["nose", "ear", "tail"], "skeleton": []} if any("keypoints" in o for o in objects) else {}
    categories = [{"id": 5, "name": "cat", "supercategory": "pet", **points}]
    categories += [{"id": 9, "name": "dog", **points}, {"id": 11, "name": "none", **points}]
    for seed, split in ((0, "train"), (50, "val")):
        images = [
            {"id": 70 + i + seed, "file_name": f"{name}.png", "height": SIZE[0], "width": SIZE[1], "license": 3}
            for i, name in enumerate(("b", "a", "sub/a"))
        ]
        for i, image in enumerate(images):
            noise(folder / f"{split}2017" / str(image["file_name"]), seed + i)
        entries = objects if split == "train" else [PLAIN]
        annotations = [
            {"id": 900 + seed + i, "image_id": images[i % 2]["id"], "category_id": 5} | entry
            for i, entry in enumerate(entries)
        ]
        place = folder / "annotations" / f"instances_{split}2017.json"
        place.parent.mkdir(exist_ok=True)
        content = {"info": {"year": 1}, "images": images, "annotations": annotations, "categories": categories}
        place.write_text(json.dumps(content))
    return folder


def check(source: Path, target: str, out: Path) -> Counter[str]:
    """Converts; whatever is different and was not announced fails. What was announced comes back."""
    planned = plan(source, target)
    done = convert(source, target, out)
    assert (done.lost, done.splits, done.form) == (planned.lost, planned.splits, planned.form)
    _, before = read_splits(source)
    _, after = read_splits(out)
    announced = Counter(done.lost) + done.changed
    found = differences(before, after)
    assert not unannounced(found, announced), (found, announced)
    return announced


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("kind", sorted(OBJECTS))
def test_whatever_is_different_was_announced(tmp_path: Path, kind: str, target: str) -> None:
    announced = check(coco(tmp_path / "set", OBJECTS[kind]), target, tmp_path / "out")
    if target == "coco":
        assert not announced


@pytest.mark.parametrize("second", FORMATS)
@pytest.mark.parametrize("first", FORMATS)
def test_from_every_format_to_every_other(tmp_path: Path, first: str, second: str) -> None:
    objects = [*OBJECTS["polygon"], *OBJECTS["ring"], *OBJECTS["difficult"], *OBJECTS["fractions"]]
    convert(coco(tmp_path / "set", objects), first, tmp_path / "first")
    check(tmp_path / "first", second, tmp_path / "second")


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_keeps_all_that_it_can_hold_the_second_time(tmp_path: Path, form: str) -> None:
    convert(coco(tmp_path / "set", OBJECTS["polygon"]), form, tmp_path / "first")
    convert(tmp_path / "first", form, tmp_path / "second")
    found = differences(*(read_splits(tmp_path / name)[1] for name in ("first", "second")))
    assert not found


def test_differences_are_seen() -> None:
    """The comparison itself: see tests of it below, one change at a time."""
    assert unannounced(Counter({"boxes": 1}), {}) == {"boxes": 1}
    assert not unannounced(Counter({"boxes": 1}), {"box clipped to the image": 3})


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("boxes", {"bbox": [2, 3, 10, 10.5]}),
        ("labels", {"category_id": 9}),
        ("annotation ids", {"id": 1}),
        ("crowds", {"iscrowd": 1}),
        ("difficult", {"difficult": 1}),
        ("areas", {"area": 50}),
        ("masks", {"segmentation": [SQUARE]}),
        ("objects", None),
    ],
)
def test_the_comparison_sees_every_kind(tmp_path: Path, kind: str, change: dict[str, Any] | None) -> None:
    one = coco(tmp_path / "one", [PLAIN])
    two = coco(tmp_path / "two", [PLAIN | change] if change is not None else [PLAIN, PLAIN, PLAIN])
    found = differences(read_splits(one)[1], read_splits(two)[1])
    assert kind in found and found.keys() <= {kind, "areas"}


def small(source: Path, form: str, target: Path, count: int) -> Path:
    """A real set cut to a few images of each split."""
    if form == "coco":
        for path in sorted((source / "annotations").glob("*.json")):
            content = json.loads(path.read_text())
            content["images"] = content["images"][:count]
            ids = {image["id"] for image in content["images"]}
            content["annotations"] = [entry for entry in content["annotations"] if entry["image_id"] in ids]
            (target / "annotations").mkdir(parents=True, exist_ok=True)
            (target / "annotations" / path.name).write_text(json.dumps(content))
            folder = path.stem.rpartition("_")[2]
            for image in content["images"]:
                (target / folder).mkdir(exist_ok=True)
                shutil.copyfile(source / folder / image["file_name"], target / folder / image["file_name"])
    elif form == "voc":
        for path in sorted((source / "ImageSets" / "Main").glob("*.txt")):
            stems = path.read_text().split()[:count]
            for stem in stems:
                _copy(source, target, f"Annotations/{stem}.xml", f"JPEGImages/{stem}.jpg")
            (target / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
            (target / "ImageSets" / "Main" / path.name).write_text("\n".join(stems))
    else:
        _copy(source, target, *(["classes.txt"] if (source / "classes.txt").exists() else []))
        for folder in sorted(p for p in source.iterdir() if (source / f"{p.name}annot").is_dir()):
            for path in sorted(folder.glob("*.*"))[:count]:
                _copy(source, target, f"{folder.name}/{path.name}", f"{folder.name}annot/{path.stem}.png")
    return target


def _copy(source: Path, target: Path, *names: str) -> None:
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize(
    ("name", "form"), [("bccd", "voc"), ("coco_tiny", "coco"), ("coco_keypoints", "coco"), ("camvid", "masks")]
)
def test_real_sets(tmp_path: Path, data_root: Path, name: str, form: str, target: str) -> None:
    source = data_root / "datasets" / name
    if not source.is_dir():
        pytest.skip(f"needs the set {name}")
    try:
        check(small(source, form, tmp_path / "set", 3), target, tmp_path / "out")
    except DataError as error:
        assert target == "folders", error  # a class whose name cannot be a folder's, or a single class


def test_features_are_counted_as_cases(tmp_path: Path) -> None:
    objects = [*OBJECTS["keypoints"], *OBJECTS["ring"], *OBJECTS["crowd"], *OBJECTS["difficult"], *OBJECTS["extras"]]
    _, splits = read_splits(coco(tmp_path, objects))
    held = features(splits["train"])
    counts = {writing.BOXES: 8, writing.MASKS: 2, writing.MASK_RUNS: 2, writing.KEYPOINTS: 1, writing.CROWDS: 1}
    counts |= {writing.DIFFICULT: 1, writing.FLAGS: 1, writing.ANNOTATION_EXTRAS: 1, writing.EMPTY_IMAGES: 1}
    counts |= {writing.IMAGE_IDS: 3, writing.ANNOTATION_IDS: 8, writing.CATEGORY_IDS: 3, writing.IMAGE_EXTRAS: 3}
    counts |= {writing.UNUSED_CLASSES: 2, writing.HEADER: 1, writing.CLASS_PER_OBJECT: 2}
    assert {name: held[name] for name in counts} == counts


def test_captions_go_with_coco_and_are_told_of_elsewhere(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", [PLAIN])
    text = json.dumps({"images": [], "annotations": [{"id": i, "image_id": 70, "caption": "x"} for i in range(4)]})
    (source / "annotations" / "captions_train2017.json").write_text(text)
    assert plan(source, "csv").lost[writing.CAPTIONS] == 4
    convert(source, "coco", tmp_path / "out")
    assert (tmp_path / "out" / "annotations" / "captions_train2017.json").read_text() == text


def test_splits_can_be_chosen(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", [PLAIN])
    assert list(convert(source, "voc", tmp_path / "out", splits=("val",)).splits) == ["val"]
    assert list(read_splits(tmp_path / "out")[1]) == ["val"]
    with pytest.raises(DataError, match=r"no split 'test'.*the splits there are: train, val"):
        plan(source, "voc", ("test",))


def test_links_share_the_images_and_copies_do_not(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", [PLAIN])
    image = source / "train2017" / "b.png"
    for mode, shared in (("link", True), ("copy", False)):
        convert(source, "coco", tmp_path / mode, images=mode)
        assert (tmp_path / mode / "train2017" / "b.png").samefile(image) is shared


@pytest.mark.parametrize("target", FORMATS)
def test_a_failure_leaves_nothing_behind(tmp_path: Path, target: str) -> None:
    source = coco(tmp_path / "set", [PLAIN])
    (source / "val2017" / "a.png").unlink()
    if target != "folders":  # which has no place for this image: it has no object
        with pytest.raises(SightlineError, match=r"a\.png"):
            convert(source, target, tmp_path / "out")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["set"]


def test_what_is_there_is_not_replaced(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", [PLAIN])
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="already"):
        convert(source, "voc", tmp_path / "out")
    with pytest.raises(ConfigError, match=r"unknown format 'kitti'.*coco, voc, yolo"):
        plan(source, "kitti")


@pytest.mark.parametrize("name", ["a\0b", "</a>", "a\\b", "..", "x" * 300, "line\nbreak"])
@pytest.mark.parametrize("target", FORMATS)
def test_splits_that_no_file_can_be_named_after(tmp_path: Path, name: str, target: str) -> None:
    noise(tmp_path / "set" / "a.png", 0)
    (tmp_path / "set" / "a.csv").write_bytes(
        f'filename;xmin;ymin;xmax;ymax;class;split\na.png;1;1;5;5;cat;"{name}"'.encode()
    )
    with pytest.raises(DataError):
        convert(tmp_path / "set", target, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_json_does_not_know_become_null_and_are_counted(tmp_path: Path, value: str) -> None:
    source = coco(tmp_path / "set", [PLAIN | {"score": "MARK"}, PLAIN])
    path = source / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace('"MARK"', f"[1, {value}]").replace('{"year": 1}', f'{{"year": {value}}}'))
    done = convert(source, "coco", tmp_path / "out")
    assert done.changed == {"number that JSON does not know (NaN, infinity) written as null": 2}
    written = json.loads((tmp_path / "out" / "annotations" / "instances_train2017.json").read_text())
    assert written["annotations"][0]["score"] == [1, None] and written["info"] == {"year": None}
    assert json.loads((tmp_path / "out" / "annotations" / "instances_val2017.json").read_text())["info"]


def test_sizes_that_no_image_has_are_refused(tmp_path: Path) -> None:
    source = coco(tmp_path / "set", OBJECTS["polygon"])
    path = source / "annotations" / "instances_train2017.json"
    path.write_text(path.read_text().replace('"height": 40', '"height": 2000000000'))
    for target in ("masks", "voc", "yolo", "csv"):
        with pytest.raises(DataError, match="more than"):
            convert(source, target, tmp_path / "out")


@pytest.mark.parametrize("target", FORMATS)
def test_a_polygon_that_is_none_is_no_crash(tmp_path: Path, target: str) -> None:
    objects = [PLAIN | {"segmentation": value} for value in ([None], [[1, 2, 3, 4, 5, 6], None], [5], ["x"])]
    source = coco(tmp_path / "set", objects)
    try:
        convert(source, target, tmp_path / "out")
    except DataError:
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["x" * 300 + ".png", "a\0.png", "/".join("y" * 3000) + ".png", "\ud800.png"])
@pytest.mark.parametrize("target", FORMATS)
def test_images_that_no_file_can_be_are_answers(tmp_path: Path, name: str, target: str) -> None:
    source = coco(tmp_path / "set", [PLAIN])
    path = source / "annotations" / "instances_train2017.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = name
    path.write_text(json.dumps(content))
    with pytest.raises(DataError):
        convert(source, target, tmp_path / "out")
    assert not (tmp_path / "out").exists()
