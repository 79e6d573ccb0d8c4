"""COCO's ids, classes and captions: what is noted, what is put right, and what is left out."""

import json
from pathlib import Path
from typing import Any

import pytest

from sightline.data.findings import Findings
from sightline.data.formats import coco
from sightline.data.tables import Tables
from sightline.errors import DataError


def write(folder: Path, **lists: Any) -> Path:
    content: dict[str, Any] = {
        "images": [{"id": i, "file_name": f"{i}.png", "height": 20, "width": 30} for i in (1, 2)],
        "annotations": [entry(1, 1, 1), entry(2, 2, 2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    path = folder / "set.json"
    path.write_text(json.dumps(content | lists))
    return path


def entry(number: int, image: int, category: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "image_id": image, "category_id": category, "bbox": [1, 2, 3, 4]} | more


def read(path: Path) -> tuple[Tables, list[tuple[str, str]]]:
    findings = Findings(thorough=True)
    return coco.read(path, findings), [(finding.code, finding.where) for finding in findings]


@pytest.mark.parametrize(
    ("used", "listed", "shift"),
    [
        ([0, 1], [1, 2], 1),
        ([1, 2], [0, 1], -1),
        ([0, 1, 2], [1, 2, 3], 1),
        ([0, 2], [1, 2, 3], 1),
        ([1, 2], [1, 2], 0),
        ([0], [1], 0),  # a single class that is not listed may as well be another one
        ([0, 5], [1, 2], 0),
        ([1, 3], [1, 2], 0),  # neither of both ways fits: 2 and 4, or 0 and 2
        ([1, 2, 3], [1, 2], 0),
    ],
)
def test_class_ids_that_are_all_one_beside_are_read_as_meant(
    tmp_path: Path, used: list[int], listed: list[int], shift: int
) -> None:
    used = [*used, *used]
    objects = [entry(i, 1, number) for i, number in enumerate(used)]
    categories = [{"id": number, "name": f"class {number}"} for number in listed]
    tables, found = read(write(tmp_path, annotations=objects, categories=categories))
    meant = [number + shift for number in used]
    assert [listed[label] for label in tables.objects.labels.tolist()] == [n for n in meant if n in listed]
    codes = [code for code, _ in found]
    assert codes.count("class-ids-off-by-one") == (shift != 0)
    assert codes.count("class-unknown") == sum(number not in listed for number in meant)


def test_objects_of_unknown_images_and_classes_are_left_out(tmp_path: Path) -> None:
    objects = [entry(1, 7, 1), entry(2, 1, 1), entry(3, 2, 99), entry(4, 2, 2)]
    tables, found = read(write(tmp_path, annotations=objects))
    assert tables.objects.ids.tolist() == [2, 4] and tables.objects.rows.tolist() == [1, 3]
    assert sorted(found) == [
        ("class-unknown", "annotations[2].category_id"),
        ("image-id-unknown", "annotations[0].image_id"),
    ]


def test_an_image_id_that_comes_again_belongs_to_the_first(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": name, "height": 2, "width": 2} for name in ("a.png", "b.png")]
    tables, found = read(write(tmp_path, images=images, annotations=[entry(1, 1, 1)]))
    assert tables.objects.images.tolist() == [0]
    assert found == [("image-id-duplicate", "images[1].id")]


def test_annotation_ids_that_come_again_or_are_missing(tmp_path: Path) -> None:
    without = {key: value for key, value in entry(0, 1, 1).items() if key != "id"}
    path = write(tmp_path, annotations=[entry(5, 1, 1), entry(5, 2, 1), without, without, entry(6, 1, 1, id=None)])
    findings = Findings(thorough=True)
    tables = coco.read(path, findings)
    assert tables.objects.ids.tolist() == [5, 5, -1, -1, -1]
    assert findings.counts["annotation-id-missing"] == 3
    assert [(f.code, f.where) for f in findings] == [("annotation-id-duplicate", "annotations[1].id")]


def test_ids_far_apart_and_out_of_order(tmp_path: Path) -> None:
    numbers = [2**62, -(2**40), 0, 77]
    images = [{"id": number, "file_name": f"{number}.png"} for number in numbers]
    tables, found = read(
        write(tmp_path, images=images, annotations=[entry(i, n, 2) for i, n in enumerate(numbers[::-1])])
    )
    assert tables.images.ids.tolist() == numbers and tables.objects.images.tolist() == [3, 2, 1, 0]
    assert not found and tables.images.sizes.tolist() == [[0, 0]] * 4


def test_captions_among_the_annotations_are_told_and_left_out(tmp_path: Path) -> None:
    caption = {"id": 9, "image_id": 1, "caption": "a cat"}
    tables, found = read(write(tmp_path, annotations=[caption, entry(1, 1, 1, caption="kept"), caption]))
    assert tables.objects.ids.tolist() == [1] and tables.object_entry(0)["caption"] == "kept"
    assert found == [("caption-ignored", "annotations[0]"), ("caption-ignored", "annotations[2]")]


@pytest.mark.parametrize("key", ["images", "annotations", "categories"])
def test_a_list_that_is_missing_or_none(tmp_path: Path, key: str) -> None:
    path = write(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in content.items() if name != key}))
    with pytest.raises(DataError, match=f"the list '{key}' is missing"):
        read(path)
    with pytest.raises(DataError, match="must be a list"):
        read(write(tmp_path, **{key: {"a": 1}}))
    with pytest.raises(DataError, match="must be a list"):
        read(write(tmp_path, **{key: 5}))


def test_a_key_at_the_top_that_comes_twice(tmp_path: Path) -> None:
    path = write(tmp_path)
    path.write_text('{"images": [{"id": 8, "file_name": "old.png"}], ' + path.read_text()[1:])
    tables, found = read(path)
    assert tables.images.ids.tolist() == [1, 2] and ("json-duplicate-key", "images") in found


def test_bytes_that_are_no_utf8_are_refused_at_once(tmp_path: Path) -> None:
    path = write(tmp_path, annotations=[entry(1, 1, 1, note="MARK")])
    path.write_bytes(path.read_bytes().replace(b"MARK", b"\xcc\xff"))
    for thorough in (False, True):
        with pytest.raises(DataError, match="not valid JSON"):
            coco.read(path, Findings(thorough=thorough))


@pytest.mark.parametrize("depth", [2000, 200_000])
@pytest.mark.parametrize("place", ["images", "annotations", "categories", "top"])
def test_values_nested_beyond_measure_are_refused(tmp_path: Path, place: str, depth: int) -> None:
    path = write(tmp_path)
    nested = '"x": ' + "[" * depth + "]" * depth
    mark = {"images": '{"id": 1, "file_name"', "annotations": '{"id": 1, "image_id"', "categories": '{"id": 1, "name"'}
    old = mark.get(place, "{")
    path.write_text(path.read_text().replace(old, "{" + nested + ", " + old[1:], 1))
    with pytest.raises(DataError, match="not valid JSON"):
        coco.read(path, Findings())


def test_the_first_image_may_have_any_name(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "x" * 5000}, {"id": 2, "file_name": "/".join("y" * 3000)}]
    tables, _ = read(write(tmp_path, images=images))
    assert tables.image_root == tmp_path
