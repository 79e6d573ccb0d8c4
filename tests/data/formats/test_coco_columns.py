"""COCO's entries in columns: the fast way by types and the checked way give the same, on sound and unsound files."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sightline.data.findings import Findings
from sightline.data.formats import coco, json_stream
from sightline.data.formats.coco_columns import ColumnReader
from sightline.data.tables import Tables
from sightline.errors import DataError

COORDINATES = st.one_of(st.integers(-5, 60), st.floats(-5, 60, allow_nan=False), st.just(1e29))
POLYGONS = st.lists(st.lists(COORDINATES, min_size=4, max_size=8), max_size=2)
RUNS = st.fixed_dictionaries(
    {"size": st.just([20, 30]), "counts": st.one_of(st.just("abc"), st.lists(st.integers(0, 600), max_size=3))}
)
POINTS = st.lists(st.tuples(COORDINATES, COORDINATES, st.sampled_from([0, 1, 2])), max_size=2).map(
    lambda points: [value for point in points for value in point]
)
ANNOTATIONS = st.fixed_dictionaries(
    {
        "image_id": st.integers(1, 3),
        "category_id": st.sampled_from([1, 2, 7]),
        "bbox": st.lists(COORDINATES, min_size=4, max_size=4),
    },
    optional={
        "id": st.one_of(st.none(), st.integers(-5, 2**40)),
        "area": st.one_of(st.none(), st.floats(0, 1e6), st.integers(0, 500)),
        "iscrowd": st.sampled_from([None, 0, 1]),
        "difficult": st.sampled_from([0, 1, True, False]),
        "segmentation": st.one_of(st.none(), st.just([]), POLYGONS, RUNS),
        "keypoints": st.one_of(st.none(), POINTS),
        "more": st.one_of(st.none(), st.just({"a": [[1, 2]]}), st.just("]}")),
    },
)
IMAGES = st.fixed_dictionaries(
    {"id": st.integers(1, 3), "file_name": st.sampled_from(["a.png", "é.png", "b/c.jpg"])},
    optional={"height": st.sampled_from([None, 0, 20]), "width": st.sampled_from([None, 0, 30])},
)
NASTY = st.sampled_from(
    [
        None,
        True,
        "",
        "x",
        "\x00",
        -1,
        2**63,
        -(2**63),
        2**31,
        10**400,
        1.5,
        1e30,
        1e308,
        float("nan"),
        float("inf"),
        [],
        {},
        [1],
        [1, 2, 3, 4, 5],
        [None] * 4,
        [True] * 4,
        ["1"] * 4,
        [[]],
        [[1, 2]],
        [[1, None, 3]],
        [[10**400] * 6],
        [[float("nan")] * 6],
        {"size": [20], "counts": "a"},
        {"size": [20, 30]},
        {"size": [2**64, 1], "counts": [1]},
        [1, 2, 3],
        [1, 2, 0.5],
        "\ud800",
    ]
)
KEYS = ("id", "image_id", "category_id", "bbox", "area", "iscrowd", "difficult", "segmentation", "keypoints")
SPOILS = st.one_of(
    st.none(),
    st.tuples(st.just("annotations"), st.integers(0, 5), st.sampled_from(KEYS), NASTY),
    st.tuples(st.just("images"), st.integers(0, 2), st.sampled_from(["id", "file_name", "height", "width"]), NASTY),
)
COLUMNS = ("images", "labels", "boxes", "ignore", "areas", "ids", "masked", "spans", "rows", "keypoints")


def write(path: Path, images: list[Any], annotations: list[Any], spoil: Any) -> Path:
    content: dict[str, Any] = {"images": images, "annotations": annotations}
    content["categories"] = [{"id": 1, "name": "a", "keypoints": ["x", "y"]}, {"id": 2, "name": "b"}]
    if spoil is not None:
        name, place, key, value = spoil
        if place < len(content[name]):
            content[name][place][key] = value
    path.write_text(json.dumps(content))
    return path


def read(path: Path, *, thorough: bool, checked: bool) -> tuple[Tables | str, list[dict[str, object]], dict[str, int]]:
    """The tables or the error, with findings; ``checked`` forces the slow way."""
    findings = Findings(thorough=thorough)
    with pytest.MonkeyPatch.context() as patch:
        if checked:
            patch.setattr(ColumnReader, "_typed", lambda *_: None)
        try:
            found: Tables | str = coco.read(path, findings)
        except DataError as error:
            found = str(error)
    return found, [finding.to_dict() for finding in findings], dict(findings.counts)


def assert_same(first: Tables | str, second: Tables | str) -> None:
    if isinstance(first, str) or isinstance(second, str):
        assert first == second
        return
    assert first.images.files.to_list() == second.images.files.to_list()
    for name in ("ids", "sizes", "spans", "rows"):
        np.testing.assert_array_equal(getattr(first.images, name), getattr(second.images, name), err_msg=name)
    for name in COLUMNS:
        one, other = getattr(first.objects, name), getattr(second.objects, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype, name
            np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("window", [60, 1 << 20])
@given(images=st.lists(IMAGES, min_size=1, max_size=3), annotations=st.lists(ANNOTATIONS, max_size=6), spoil=SPOILS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=250)
def test_both_ways_give_the_same(
    tmp_path: Path, window: int, images: list[Any], annotations: list[Any], spoil: Any
) -> None:
    path = write(tmp_path / "set.json", images, annotations, spoil)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "WINDOW", window)
        fast, found, counts = read(path, thorough=True, checked=False)
        slow, checked, checked_counts = read(path, thorough=True, checked=True)
        brief, _, brief_counts = read(path, thorough=False, checked=False)
    assert_same(fast, slow)
    assert (found, counts) == (checked, checked_counts)
    if spoil is None or spoil[2] != "segmentation":  # the inside of a bad mask is looked at by the thorough alone
        assert_same(brief, slow)
        assert brief_counts == counts


def sound(count: int, **more: Any) -> list[dict[str, Any]]:
    return [{"id": i, "image_id": 1, "category_id": 1 + i % 2, "bbox": [1, 2, 3, 4]} | more for i in range(count)]


IMAGE = {"id": 1, "file_name": "a.png", "height": 20, "width": 30}


def test_sound_files_take_the_fast_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the slow way was taken")

    monkeypatch.setattr(ColumnReader, "_checked_rows", refuse)
    monkeypatch.setattr(ColumnReader, "_add_checked_images", refuse)
    entries = sound(
        3, area=4.5, iscrowd=0, segmentation=[[1, 1, 5, 1, 5, 5]], keypoints=[1, 2, 2, 0, 0, 0], caption="x"
    )
    path = write(tmp_path / "set.json", [IMAGE], entries, None)
    for thorough in (False, True):
        assert len(coco.read(path, Findings(thorough=thorough)).objects) == 3


def test_one_bad_entry_is_left_out_and_the_rest_kept_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "WINDOW", 150)
    path = write(tmp_path / "set.json", [IMAGE], sound(9), ("annotations", 4, "bbox", [1, 2, 3]))
    findings = Findings()
    tables = coco.read(path, findings)
    assert tables.objects.rows.tolist() == [0, 1, 2, 3, 5, 6, 7, 8]
    assert [finding.where for finding in findings] == ["annotations[4].bbox"]
    assert [tables.object_entry(row)["id"] for row in range(8)] == [0, 1, 2, 3, 5, 6, 7, 8]


def test_keys_that_come_twice_are_noted_where_they_are(tmp_path: Path) -> None:
    text = json.dumps(
        {"images": [IMAGE], "annotations": sound(2), "categories": [{"id": i, "name": f"{i}"} for i in (1, 2)]}
    )
    path = tmp_path / "set.json"
    path.write_text(text.replace('"id": 1, "image_id"', '"id": 5, "id": 1, "image_id"'))
    findings = Findings(thorough=True)
    assert coco.read(path, findings).objects.ids.tolist() == [0, 1]
    assert [(finding.code, finding.where) for finding in findings] == [("json-duplicate-key", "annotations[1].id")]
