"""Tables of formats other than COCO, and the texts of entries."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sightline.data.details import Details
from sightline.data.findings import Findings
from sightline.data.formats import coco
from sightline.data.tables import Tables, TablesBuilder, is_ignored
from sightline.errors import DataError

CATEGORIES = [{"id": 4, "name": "cat"}, {"id": 9, "name": "dog"}]


def built(*, sources: bool = False) -> Tables:
    builder = TablesBuilder("made", Path("labels"), Path("pictures"), object_place="object[{}]", category_ids=(4, 9))
    builder.add_image("a.png", size=(20, 30), source="a.xml" if sources else "")
    builder.add_image("b.png", number=40, row=7, extra={"depth": 3}, source="b.xml" if sources else "")
    builder.add_image("c.png")
    builder.add_object(1, 1, (1, 2, 4.5, 6), row=3, extra={"difficult": 1, "keypoints": [1, 2, 2]})
    builder.add_object(0, 0, (5, 5, 5, 1), row=0, extra={"area": 7.5, "segmentation": [[0, 0, 1, 0, 1, 1]], "id": 33})
    builder.add_object(1, 0, (-3, 0, 9, 9), row=4, extra={"iscrowd": 1})
    return builder.build(CATEGORIES, {"info": 1}, ("nose", "tail"))


def test_what_was_added_stands_in_the_tables() -> None:
    tables = built()
    assert tables.images.files.to_list() == ["a.png", "b.png", "c.png"]
    assert tables.images.ids.tolist() == [1, 40, 3]
    assert tables.images.sizes.tolist() == [[20, 30], [0, 0], [0, 0]]
    objects = tables.objects
    assert objects.images.tolist() == [1, 0, 1] and objects.labels.tolist() == [1, 0, 0]
    assert objects.boxes.tolist() == [[1, 2, 4.5, 6], [5, 5, 5, 1], [-3, 0, 9, 9]]
    assert objects.ignore.tolist() == [True, False, True]
    assert objects.masked.tolist() == [False, True, False]
    assert objects.ids.tolist() == [1, 33, 3]
    assert np.isnan(objects.areas).tolist() == [True, False, True] and objects.areas[1] == 7.5
    assert objects.keypoints is not None
    assert objects.keypoints.tolist() == [[[1, 2, 2], [0, 0, 0]], [[0] * 3] * 2, [[0] * 3] * 2]


def test_entries_are_cocos() -> None:
    tables = built()
    assert tables.image_entry(1) == {"id": 40, "file_name": "b.png", "depth": 3}
    assert tables.object_entry(0) == {
        **{"id": 1, "image_id": 40, "category_id": 9, "bbox": [1, 2, 3.5, 4], "iscrowd": 0},
        **{"difficult": 1, "keypoints": [1, 2, 2]},
    }
    assert tables.object_entry(1)["id"] == 33
    assert tables.image_path(2) == Path("pictures/c.png")


@pytest.mark.parametrize(
    ("sources", "image", "thing"),
    [(False, ("labels", "image 7"), ("labels", "object[4]")), (True, ("b.xml", ""), ("b.xml", "object[4]"))],
)
def test_places_name_file_and_number(sources: bool, image: tuple[str, str], thing: tuple[str, str]) -> None:
    tables = built(sources=sources)
    assert (tables.locate_image(1), tables.locate_object(2)) == (image, thing)


def test_objects_stand_by_image_in_their_order() -> None:
    order, first = built().objects_by_image()
    assert order.tolist() == [1, 0, 2] and first.tolist() == [0, 1, 3, 3]


def test_tables_without_anything() -> None:
    tables = TablesBuilder("made", Path("x"), Path("x"), object_place="{}").build([])
    assert (len(tables.images), len(tables.objects), tables.objects.keypoints) == (0, 0, None)
    assert tables.objects.boxes.shape == (0, 4)
    assert [part.tolist() for part in tables.objects_by_image()] == [[], [0]]


@pytest.mark.parametrize(
    ("entry", "ignored"),
    [
        ({}, False),
        ({"iscrowd": 1}, True),
        ({"difficult": 1}, True),
        ({"difficult": True}, True),
        ({"difficult": "2"}, False),
    ],
)
def test_crowds_and_difficult_objects_are_ignored(entry: dict[str, object], ignored: bool) -> None:
    assert is_ignored(entry) is ignored


def coco_file(folder: Path) -> Path:
    content = {
        "images": [{"id": 1, "file_name": "ä.png", "height": 2, "width": 2}],
        "annotations": [
            {"id": i, "image_id": 1, "category_id": 1, "bbox": [0, 0, 1, i], "note": "ß" * i} for i in (1, 2)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }
    path = folder / "set.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return path


def test_entries_of_a_file_are_read_where_they_stand(tmp_path: Path) -> None:
    tables = coco.read(coco_file(tmp_path), Findings())
    assert tables.image_entry(0)["file_name"] == "ä.png"
    assert [tables.object_entry(row)["note"] for row in (0, 1)] == ["ß", "ßß"]
    texts = [json.loads(text) for text in tables.details.each(tables.objects.spans)]
    assert texts == [tables.object_entry(row) for row in (0, 1)]


@pytest.mark.parametrize("change", ["longer", "same length", "gone"])
def test_a_file_that_changed_since_is_refused(tmp_path: Path, change: str) -> None:
    path = coco_file(tmp_path)
    tables = coco.read(path, Findings())
    status = path.stat()
    if change == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes() + b" " * (change == "longer"))
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9 * (change == "same length")))
    with pytest.raises(DataError, match="open the set again"):
        tables.object_entry(0)
    with pytest.raises(DataError, match="open the set again"):
        list(tables.details.each(tables.objects.spans))


def test_texts_in_memory() -> None:
    details = Details.in_memory(b'{"a": 1}{"b": [2]}')
    assert (details.read(0, 8), details.read(8, 10), details.text(8, 10)) == ({"a": 1}, {"b": [2]}, b'{"b": [2]}')
