"""Label images, written: the same values come back, and every pixel has one class."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sightline.data.coco_masks import encode
from sightline.data.findings import Findings
from sightline.data.formats import masks, masks_write
from sightline.data.formats.stems import RENAMED
from sightline.data.formats.writing import Output
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError


def thing(name: str, mask: ArrayLike, **more: Any) -> tuple[str, dict[str, Any]]:
    return name, {"segmentation": encode(np.asarray(mask, np.bool_))} | more


def tables_of(
    folder: Path, things: list[tuple[str, dict[str, Any]]], names: list[str], *, files: tuple[str, ...] = ("x.png",)
) -> Tables:
    """The same objects in each image of 1 x 4 pixels."""
    builder = TablesBuilder("made", folder, folder, object_place="object {}")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 1)).save(folder / file)
        row = builder.add_image(file)
        for name, extra in things:
            builder.add_object(row, names.index(name), (0, 0, 4, 1), row=0, extra=extra)
    return builder.build([{"id": i, "name": name} for i, name in enumerate(names, start=1)])


def written(folder: Path, splits: dict[str, Tables]) -> tuple[Path, Counter[str]]:
    target = folder / "written"
    target.mkdir()
    output = Output(target)
    masks_write.write(splits, output)
    return target, output.losses


def values_in(path: Path) -> NDArray[Any]:
    with Image.open(path) as picture:
        return np.asarray(picture)


def test_the_smaller_object_of_another_class_is_on_top(tmp_path: Path) -> None:
    things = [
        thing("cat", [[0, 1, 0, 0]]),
        thing("dog", [[1, 1, 0, 0]]),
        thing("dog", [[1, 0, 0, 0]]),
        thing("cat", [[1, 1, 1, 0]], iscrowd=1),
        ("cat", {}),
        ("dog", {"segmentation": {"size": [9, 9], "counts": [81]}}),
    ]
    folder, losses = written(tmp_path, {"train": tables_of(tmp_path, things, ["dog", "cat"])})
    assert values_in(folder / "masks" / "train" / "x.png").tolist() == [[0, 1, 1, 255]]
    assert (folder / "classes.txt").read_text() == "0 dog\n1 cat\n255 void\n"
    assert losses == {
        "object partly under one of another class": 2,
        "instances of one class joined": 2,
        "object without a mask left out": 1,
        "mask that cannot be decoded": 1,
    }


def test_crowds_are_below_all_else_and_objects_of_one_class_do_not_hurt_each_other(tmp_path: Path) -> None:
    things = [
        thing("cat", [[0, 0, 0, 1]], iscrowd=1),
        thing("dog", [[1, 1, 1, 1]]),
        thing("dog", [[1, 1, 0, 0]]),
    ]
    folder, losses = written(tmp_path, {"all": tables_of(tmp_path, things, ["dog", "cat"])})
    assert values_in(folder / "masks" / "all" / "x.png").tolist() == [[0, 0, 0, 0]]
    assert losses == {"object partly under one of another class": 1, "instances of one class joined": 1}


def test_classes_keep_the_values_that_they_had(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, [thing("9", [[1, 0, 0, 0]])], ["9", "sky"])
    numbered = tuple({**c, "value": value} for c, value in zip(tables.categories, (40, 3), strict=True))
    folder, _ = written(tmp_path, {"all": replace(tables, categories=numbered)})
    assert (folder / "classes.txt").read_text() == "3 sky\n40 9\n255 void\n"
    assert values_in(folder / "masks" / "all" / "x.png")[0, 0] == 40


@pytest.mark.parametrize(
    ("names", "pixels", "lines"),
    [
        (["a", "Void", "b"], [0, 255, 255, 255], "0 a\n1 b\n255 Void\n"),
        (["a", "background"], [0, 1, 1, 1], "0 a\n1 background\n"),
        (["background", "a", "ignore"], [1, 255, 255, 255], "0 background\n1 a\n255 ignore\n"),
        (["7", "a"], [1, 255, 255, 255], "0 7\n1 a\n255 void\n"),
    ],
)
def test_pixels_without_an_object(tmp_path: Path, names: list[str], pixels: list[int], lines: str) -> None:
    folder, losses = written(tmp_path, {"all": tables_of(tmp_path, [thing("a", [[1, 0, 0, 0]])], names)})
    assert values_in(folder / "masks" / "all" / "x.png").tolist() == [pixels]
    assert (folder / "classes.txt").read_text() == lines
    assert not losses


def test_names_that_are_numbers_are_the_values(tmp_path: Path) -> None:
    things = [thing("300", [[1, 1, 0, 0]]), thing("2", [[0, 0, 1, 0]]), thing("void", [[0, 0, 0, 1]], iscrowd=1)]
    folder, _ = written(tmp_path, {"all": tables_of(tmp_path, things, ["2", "300", "void"])})
    values = values_in(folder / "masks" / "all" / "x.png")
    assert values.dtype == np.dtype(np.uint16)
    assert values.tolist() == [[300, 300, 2, 255]]
    findings = Findings()
    again = masks.read(folder, "all", findings)
    assert again.objects.ignore.tolist() == [False, True, False]
    assert not findings.counts


def test_more_than_255_classes_leave_room_for_void(tmp_path: Path) -> None:
    names = [f"class {i}" for i in range(300)]
    folder, _ = written(tmp_path, {"all": tables_of(tmp_path, [thing("class 299", [[1, 0, 0, 0]])], names)})
    assert values_in(folder / "masks" / "all" / "x.png").tolist() == [[299, 300, 300, 300]]
    again = masks.read(folder, "all", Findings())
    assert [again.categories[i]["name"] for i in again.objects.labels] == ["class 299", "void"]
    assert again.objects.ignore.tolist() == [False, True]


def test_awkward_names_and_images_of_one_stem(tmp_path: Path) -> None:
    files = ("images/犬 1.x.png", "a/b c.png", "a/b c.bmp", ".hid/den.png")
    tables = tables_of(tmp_path, [thing("a", [[1, 1, 1, 1]])], ["a", "3 wheels"], files=files)
    folder, losses = written(tmp_path, {"train": tables, "val": tables})
    again = masks.read(folder, "val", Findings())
    names = ["_hid/den.png", "a/b c-2.bmp", "a/b c.png", "犬_1.x.png"]
    assert sorted(again.images.files.to_list()) == sorted(f"images/val/{name}" for name in ["犬 1.x.png", *names[:3]])
    assert [category["name"] for category in again.categories] == ["a", "3 wheels"]
    assert losses == {RENAMED: 4}


def test_an_image_listed_twice_is_written_once_where_its_masks_agree(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, [thing("a", [[1, 1, 1, 1]])], ["a"], files=("x.png", "x.png"))
    folder, losses = written(tmp_path, {"all": tables})
    assert [f.name for f in (folder / "masks" / "all").iterdir()] == ["x.png"]
    assert losses == {"image listed twice in one split": 1}


def test_what_was_read_is_written_alike(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, [thing("a", [[1, 1, 1, 1]])], ["a"], files=("deep/er/x.png", "y.png"))
    folder, _ = written(tmp_path, {"mine": tables})
    first = masks.read(folder, "mine", Findings())
    (tmp_path / "again").mkdir()
    again, losses = written(tmp_path / "again", {"mine": first})
    assert masks.read(again, "mine", Findings()).images.files.to_list() == first.images.files.to_list()
    assert not losses


@pytest.mark.parametrize("name", ["", " a", "a\nb", "a\r", "\ud800"])
def test_a_class_that_does_not_fit_on_a_line_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="does not fit on a line"):
        written(tmp_path, {"all": tables_of(tmp_path, [], [name])})


def round_trip(folder: Path, labels: NDArray[Any]) -> NDArray[Any]:
    source = folder / "source"
    for kind in ("images", "masks"):
        (source / kind).mkdir(parents=True)
    Image.new("RGB", labels.shape[::-1]).save(source / "images" / "x.png")
    Image.fromarray(labels).save(source / "masks" / "x.png")
    target, losses = written(folder, {"all": masks.read(source, "all", Findings())})
    assert not losses
    assert masks.find_splits(target).keys() == {"all"}
    return values_in(target / "masks" / "all" / "x.png")


wide = arrays(np.uint16, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 1, 255, 65535]))
narrow = arrays(np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.sampled_from([0, 5, 254, 255]))


@settings(max_examples=30, deadline=None)
@given(wide | narrow)
def test_any_values_come_back(tmp_path_factory: pytest.TempPathFactory, labels: NDArray[Any]) -> None:
    assert round_trip(tmp_path_factory.mktemp("any"), labels).tolist() == labels.tolist()


def test_real_label_images_come_back(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "datasets" / "camvid"
    small = tmp_path / "small"
    for kind in ("val", "valannot"):
        (small / kind).mkdir(parents=True)
        for path in sorted((source / kind).iterdir())[:5]:
            (small / kind / path.name).write_bytes(path.read_bytes())
    folder, losses = written(tmp_path, {"val": masks.read(small, "val", Findings())})
    for path in (small / "valannot").iterdir():
        assert np.array_equal(values_in(folder / "masks" / "val" / path.name), values_in(path))
    again, first = masks.read(folder, "val", Findings()), masks.read(small, "val", Findings())
    assert again.categories == first.categories
    assert again.objects.boxes.tolist() == first.objects.boxes.tolist()
    assert not losses
