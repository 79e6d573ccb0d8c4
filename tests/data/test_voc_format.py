"""Pascal VOC folders: which pixels a box covers, splits, and what is refused and where the error points."""

from pathlib import Path

import pytest
from opened import opened_voc
from PIL import Image

from sightline.data.dataset import open_dataset, splits
from sightline.errors import DataError

Box = tuple[float | str, float | str, float | str, float | str]


def an_object(name: str, box: Box, extra: str = "") -> str:
    corners = "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part>"
    return f"<object>{part}<name>{name}</name>{extra}<bndbox>{corners}</bndbox></object>"


def make(folder: Path, stem: str, *objects: str, size: str | None = None, suffix: str = "jpg") -> Path:
    (folder / "Annotations").mkdir(parents=True, exist_ok=True)
    (folder / "JPEGImages").mkdir(exist_ok=True)
    Image.new("RGB", (30, 20)).save(folder / "JPEGImages" / f"{stem}.{suffix}")
    size = "<size><width>30</width><height>20</height><depth>3</depth></size>" if size is None else size
    path = folder / "Annotations" / f"{stem}.xml"
    path.write_text(f"<annotation><filename>{stem}.{suffix}</filename>{size}{''.join(objects)}</annotation>")
    return path


def list_split(folder: Path, name: str, *lines: str) -> None:
    (folder / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
    (folder / "ImageSets" / "Main" / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))


def test_boxes_count_from_one_and_include_the_last_pixel(tmp_path: Path) -> None:
    make(tmp_path, "a", an_object("dog", (1, 1, 30, 20)), an_object("cat", (5, 6, 5, 6), "<difficult>1</difficult>"))
    read = opened_voc(tmp_path, "all")
    assert read.records[0].boxes.tolist() == [[0, 0, 30, 20], [4, 5, 5, 6]]
    assert read.records[0].labels.tolist() == [1, 0]
    assert read.records[0].ignore.tolist() == [False, True]
    assert read.records[0].areas.tolist() == [600, 1]
    assert (read.classes.names, read.classes.ids, dict(read.findings)) == (("cat", "dog"), (1, 2), {})


def test_a_zero_anywhere_in_the_folder_means_as_written_and_is_said(tmp_path: Path) -> None:
    make(tmp_path, "a", an_object("dog", (2, 3, 10, 12)), an_object("dog", (5, 5, 5, 9)))
    make(tmp_path, "b", an_object("dog", (4, 0, 8, 9)))
    list_split(tmp_path, "train", "a")
    list_split(tmp_path, "val", "b")
    read = opened_voc(tmp_path, "train")
    assert read.records[0].boxes.tolist() == [[2, 3, 10, 12]]
    assert read.findings == {"boxes-count-from-zero": 2, "box-no-area": 1}


def test_a_negative_coordinate_is_a_slip_and_no_convention(tmp_path: Path) -> None:
    make(tmp_path, "a", an_object("dog", (-4, 3, 10, 99)))
    read = opened_voc(tmp_path, "all")
    assert read.records[0].boxes.tolist() == [[0, 2, 10, 20]]
    assert read.findings == {"box-clipped": 1}


def test_classes_and_ids_agree_over_the_splits(tmp_path: Path) -> None:
    for stem, name in (("a", "dog"), ("b", "cat"), ("c", "ant")):
        make(tmp_path, stem, an_object(name, (1, 1, 5, 5)))
    list_split(tmp_path, "train", "b", "", "a")
    list_split(tmp_path, "val", "c")
    list_split(tmp_path, "dog_train", "a  1", "b -1")
    list_split(tmp_path, "small", "a")
    assert splits(tmp_path) == ("small", "train", "val")
    train, val = open_dataset(tmp_path, "train"), open_dataset(tmp_path, "val")
    assert train.classes == val.classes
    assert train.classes.names == ("ant", "cat", "dog")
    assert [(r.path.stem, r.image_id, r.labels.tolist()) for r in train.records] == [("b", 2, [1]), ("a", 1, [2])]
    assert val.records[0].image_id == 3


def test_ids_follow_the_order_of_stems(tmp_path: Path) -> None:
    for stem in ("a-b", "a", "b"):
        make(tmp_path, stem)
    assert [(r.path.stem, r.image_id) for r in opened_voc(tmp_path, "all").records] == [("a", 1), ("a-b", 2), ("b", 3)]


def test_without_lists_there_is_one_split(tmp_path: Path) -> None:
    make(tmp_path, "a")
    assert splits(tmp_path) == ("all",)
    assert len(open_dataset(tmp_path, "all")[0].target) == 0
    with pytest.raises(DataError, match=r"no split 'train'; cure: the splits there are: all"):
        open_dataset(tmp_path)


@pytest.mark.parametrize("size", ["", "<size><width>0</width><height>0</height></size>", "<size/>"])
def test_a_missing_size_is_read_from_the_file(tmp_path: Path, size: str) -> None:
    make(tmp_path, "a", an_object("dog", (3, 3, 31, 9)), size=size)
    read = opened_voc(tmp_path, "all")
    assert read.records[0].size == (20, 30)
    assert read.findings == {"image-size-missing": 1, "box-on-border": 1}


def test_the_image_is_found_by_stem_and_then_by_name(tmp_path: Path) -> None:
    path = make(tmp_path, "a", suffix="png")
    path.write_text(path.read_text().replace("a.png", "unknown.jpg"))
    assert opened_voc(tmp_path, "all").records[0].path.name == "a.png"
    make(tmp_path, "a", suffix="JPG")
    assert opened_voc(tmp_path, "all").records[0].path.name == "a.JPG"
    path.write_text(path.read_text().replace("a.JPG", "unknown.jpg"))
    with pytest.raises(DataError, match="several images are named a"):
        opened_voc(tmp_path, "all")


DOG = (1, 2, 3, 4)
DEFECTS = [
    (an_object("", DOG), "object[1]", "<name> is missing or empty"),
    ("<object><name>dog</name></object>", "object[1]", "<bndbox> is missing"),
    (an_object("dog", (1, "", 3, 4)), "object[1].bndbox", "<ymin> is missing or empty"),
    (an_object("dog", (1, "two", 3, 4)), "object[1].bndbox.ymin", "finite number, got 'two'"),
    (an_object("dog", (1, "nan", 3, 4)), "object[1].bndbox.ymin", "finite number"),
    (an_object("dog", (1, 2, "inf", 4)), "object[1].bndbox.xmax", "finite number"),
]


@pytest.mark.parametrize(("element", "place", "message"), DEFECTS)
def test_a_defect_is_named_with_its_place(tmp_path: Path, element: str, place: str, message: str) -> None:
    path = make(tmp_path, "a", an_object("dog", DOG), element)
    with pytest.raises(DataError) as caught:
        opened_voc(tmp_path, "all")
    assert caught.value.place == f"{path}, {place}"
    assert message in caught.value.what


BOMB = '<!DOCTYPE a [<!ENTITY x "ha"><!ENTITY y "&x;&x;&x;">]>'
OUTER = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>'
FILES = [
    (b"<annotation><object>", "not valid XML"),
    (b"", "not valid XML"),
    (b"<html/>", "starts with <annotation>"),
    (f"{BOMB}<annotation><filename>&y;</filename></annotation>".encode(), "document type declarations are refused"),
    (f"{OUTER}<annotation><filename>&x;</filename></annotation>".encode("utf-16"), "document type"),
    (b'<?xml version="1.0" encoding="martian"?><annotation/>', "XML|cannot be read"),
    (b"<annotation><size><width>2.5</width><height>2</height></size></annotation>", "whole numbers"),
    (b"<annotation><size><width>-2</width><height>2</height></size></annotation>", "whole numbers"),
    (b"<a>" * 100_000, "XML"),
]


@pytest.mark.parametrize(("raw", "message"), FILES)
def test_what_is_no_annotation_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    path = make(tmp_path, "a")
    path.write_bytes(raw)
    with pytest.raises(DataError, match=message) as caught:
        opened_voc(tmp_path, "all")
    assert str(caught.value.place).startswith(str(path))


def test_missing_files_are_named(tmp_path: Path) -> None:
    path = make(tmp_path, "a")
    (tmp_path / "JPEGImages" / "a.jpg").unlink()
    with pytest.raises(DataError, match=r"there is no image a\.jpg") as caught:
        open_dataset(tmp_path, "all")
    assert caught.value.place == str(path)
    list_split(tmp_path, "train", "a", "b")
    with pytest.raises(DataError, match=r"train\.txt, entry 2: Annotations/b\.xml is missing"):
        open_dataset(tmp_path)
    list_split(tmp_path, "train")
    with pytest.raises(DataError, match="has no images"):
        open_dataset(tmp_path)


def test_an_image_that_is_listed_twice_counts_once(tmp_path: Path) -> None:
    make(tmp_path, "a")
    list_split(tmp_path, "train", "a", "a")
    read = opened_voc(tmp_path, "train")
    assert (len(read.records), read.findings) == (1, {"image-listed-twice": 1})
