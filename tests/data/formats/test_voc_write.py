"""VOC folders, written: what is read again is what was written, and what VOC cannot hold is counted."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from sightline.data.coco_masks import encode
from sightline.data.findings import Findings
from sightline.data.formats import voc, voc_write
from sightline.data.formats.label_images import voc_colours
from sightline.data.formats.stems import RENAMED, Stems
from sightline.data.formats.writing import Output
from sightline.data.segmentation import decode_segmentation
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

HEIGHT, WIDTH = 20, 30
Thing = tuple[str, Sequence[float], dict[str, Any]]
"""Class, box, further keys."""


def tables_of(folder: Path, pictures: dict[str, list[Thing]], about: dict[str, Any] | None = None) -> Tables:
    builder = TablesBuilder("made", folder, folder, object_place="object {}")
    names = sorted({name for things in pictures.values() for name, _, _ in things})
    for file, things in pictures.items():
        path = folder / file
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT)).save(path, format="PNG")
        row = builder.add_image(file, size=(HEIGHT, WIDTH), extra=about)
        for i, (name, box, extra) in enumerate(things):
            builder.add_object(row, names.index(name), box, row=i, extra=extra)
    return builder.build([{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)])


def written(folder: Path, splits: dict[str, Tables]) -> tuple[Path, Counter[str]]:
    target = folder / "voc"
    target.mkdir()
    output = Output(target)
    voc_write.write(splits, output)
    return target, output.losses


def reread(folder: Path, split: str) -> Tables:
    findings = Findings()
    tables = voc.read(folder, split, findings)
    assert not findings.counts
    return tables


def block(x1: int, y1: int, x2: int, y2: int) -> NDArray[np.bool_]:
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[y1:y2, x1:x2] = True
    return mask


def with_mask(mask: NDArray[np.bool_], **more: Any) -> dict[str, Any]:
    return {"segmentation": encode(mask)} | more


def mask_in(tables: Tables, row: int) -> NDArray[np.bool_]:
    return decode_segmentation(tables.object_entry(row)["segmentation"], (HEIGHT, WIDTH)).numpy()


def test_pixels_count_from_one_in_the_file_and_come_back(tmp_path: Path) -> None:
    flags = {"difficult": 1, "truncated": 1, "occluded": 0, "pose": "Left <&>"}
    about = {"folder": "VOC 2007", "database": 'The "one" & only', "depth": "1", "segmented": "0"}
    things: list[Thing] = [("dog", (0, 0, 30, 20), {}), ("a & <b> 犬", (4.25, 5.5, 5.125, 9), flags)]
    folder, losses = written(tmp_path, {"train": tables_of(tmp_path, {"images/犬 x.y.jpg": things}, about)})
    root = ElementTree.parse(folder / "Annotations" / "犬 x.y.xml").getroot()
    corners = [[c.text for c in box] for box in root.iter("bndbox")]
    assert corners == [["1", "1", "30", "20"], ["5.25", "6.5", "5.125", "9"]]
    assert [root.findtext(f"size/{key}") for key in ("width", "height", "depth")] == ["30", "20", "1"]
    again = reread(folder, "train")
    assert again.objects.boxes.tolist() == [[0, 0, 30, 20], [4.25, 5.5, 5.125, 9]]
    assert [again.categories[i]["name"] for i in again.objects.labels] == ["dog", "a & <b> 犬"]
    assert {key: again.object_entry(1)[key] for key in flags} == flags
    assert {key: again.image_entry(0)[key] for key in about} == about
    assert again.images.files.to_list() == ["JPEGImages/犬 x.y.jpg"]
    assert not losses


def test_crowds_become_difficult_and_boxes_are_clipped_and_both_are_counted(tmp_path: Path) -> None:
    things: list[Thing] = [
        ("a", (-0.5, 2, 12, 33), {}),
        ("a", (1, 1, 30.004, 4), {}),
        ("a", (1, 1, 9, 9), {"iscrowd": 1}),
    ]
    folder, losses = written(tmp_path, {"train": tables_of(tmp_path, {"x.jpg": things})})
    again = reread(folder, "train")
    assert again.objects.boxes.tolist() == [[0, 2, 12, 20], [1, 1, 30, 4], [1, 1, 9, 9]]
    assert again.objects.ignore.tolist() == [False, False, True]
    assert losses == {"crowd written as difficult": 1, "box clipped to the image": 1}


def test_an_image_in_two_splits_is_one_file_unless_its_objects_differ(tmp_path: Path) -> None:
    one: list[Thing] = [("a", (1, 2, 3, 4), {})]
    other: list[Thing] = [("a", (5, 6, 7, 8), {})]
    splits = {
        "train": tables_of(tmp_path, {"x.jpg": one, "y.jpg": []}),
        "trainval": tables_of(tmp_path, {"x.jpg": one}),
        "val": tables_of(tmp_path, {"x.jpg": other}),
    }
    folder, losses = written(tmp_path, splits)
    assert sorted(f.name for f in (folder / "JPEGImages").iterdir()) == ["x-2.jpg", "x.jpg", "y.jpg"]
    assert voc.find_splits(folder) == ("train", "trainval", "val")
    assert reread(folder, "trainval").objects.boxes.tolist() == [[1, 2, 3, 4]]
    assert reread(folder, "val").objects.boxes.tolist() == [[5, 6, 7, 8]]
    assert losses == {RENAMED: 1}


def test_an_image_in_two_splits_is_two_files_where_only_its_masks_differ(tmp_path: Path) -> None:
    masks = [block(0, 0, 9, 9), block(0, 0, 9, 8)]
    things: list[list[Thing]] = [[("a", (0, 0, 9, 9), with_mask(mask))] for mask in masks]
    splits = {name: tables_of(tmp_path, {"x.jpg": own}) for name, own in zip(("train", "val"), things, strict=True)}
    folder, _ = written(tmp_path, splits)
    assert [(mask_in(reread(folder, name), 0) == mask).all() for name, mask in zip(splits, masks, strict=True)] == [
        True,
        True,
    ]


def test_images_of_one_stem_get_stems_of_their_own(tmp_path: Path) -> None:
    files = ["a.jpg", "a.png", "b/a.jpg", "b__A.jpg", "deep/er/.hidden.jpg", "photo 1.jpg", " blank .jpg"]
    files = ["\ufeffmark.jpg", *files]
    pictures: dict[str, list[Thing]] = {file: [("c", (i, 0, i + 1, 1), {})] for i, file in enumerate(files)}
    folder, losses = written(tmp_path, {"small": tables_of(tmp_path, pictures)})
    again = reread(folder, "small")
    names = [
        "_mark.jpg",
        "a.jpg",
        "a-2.png",
        "b__a.jpg",
        "b__A-2.jpg",
        "deep__er___hidden.jpg",
        "photo_1.jpg",
        "blank.jpg",
    ]
    assert again.images.files.to_list() == [f"JPEGImages/{name}" for name in names]
    assert again.objects.boxes[:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 7]
    assert losses == {RENAMED: 7}


def test_masks_come_back_where_nothing_lies_on_them(tmp_path: Path) -> None:
    low, high, ring = block(0, 0, 10, 10), block(5, 5, 20, 12), block(22, 2, 29, 9)
    ring[5, 25] = False
    things: list[Thing] = [
        ("b", (0, 0, 10, 10), with_mask(low)),
        ("a", (0, 0, 1, 1), {}),
        ("a", (5, 5, 20, 12), with_mask(high)),
        ("a", (22, 2, 29, 9), with_mask(ring, iscrowd=1)),
    ]
    folder, losses = written(tmp_path, {"train": tables_of(tmp_path, {"x.jpg": things, "plain.jpg": []})})
    again = reread(folder, "train")
    assert (mask_in(again, 2) == high).all()
    assert (mask_in(again, 3) == ring).all()
    assert (mask_in(again, 0) == (low & ~high)).all()
    classes = Image.open(folder / "SegmentationClass" / "x.png")
    assert classes.mode == "P"
    values = np.asarray(classes)
    assert [values[0, 0], values[11, 19], values[2, 22], values[19, 0]] == [2, 1, 255, 0]
    assert (folder / "ImageSets" / "Segmentation" / "train.txt").read_text() == "x\n"
    assert losses == {
        "pixels of masks under a later object": 25,
        "object without a mask beside masked ones: its mask is empty": 1,
        "crowd written as difficult": 1,
    }


@pytest.mark.parametrize(("count", "kept"), [(254, True), (255, False)])
def test_a_palette_holds_254_objects(tmp_path: Path, count: int, kept: bool) -> None:
    things: list[Thing] = [("a", (i % 30, i // 30, i % 30 + 1, i // 30 + 1), {}) for i in range(count)]
    things = [(n, box, with_mask(block(*(int(v) for v in box)))) for n, box, _ in things]
    folder, losses = written(tmp_path, {"all": tables_of(tmp_path, {"x.jpg": things})})
    again = reread(folder, "all")
    assert again.objects.masked.all() == kept
    assert losses == ({} if kept else {"mask left out: more than 254 objects in the image": 255})
    if kept:
        assert (mask_in(again, 253) == block(253 % 30, 8, 253 % 30 + 1, 9)).all()


def test_a_mask_that_cannot_be_decoded_is_counted(tmp_path: Path) -> None:
    wrong = {"segmentation": {"size": [3, 3], "counts": [9]}}
    folder, losses = written(tmp_path, {"all": tables_of(tmp_path, {"x.jpg": [("a", (1, 1, 5, 5), wrong)]})})
    assert not (folder / "SegmentationObject").exists()
    assert losses == {"mask that cannot be decoded": 1}


@pytest.mark.parametrize("name", ["", " dog", "dog\t", "a\x00b", "a\x1fb", "two\nlines", "\ud800", "\ufffe"])
def test_a_class_that_xml_cannot_hold_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="cannot hold the name of class"):
        written(tmp_path, {"all": tables_of(tmp_path, {"x.jpg": [(name, (1, 1, 5, 5), {})]})})


def test_a_file_that_does_not_end_as_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.data: the image's name does not end"):
        written(tmp_path, {"all": tables_of(tmp_path, {"x.data": []})})


def test_illegal_characters_of_other_texts_are_counted(tmp_path: Path) -> None:
    tables = tables_of(tmp_path, {"x.jpg": [("a", (1, 1, 5, 5), {"pose": "up\x07"})]}, {"database": ["no text"]})
    folder, losses = written(tmp_path, {"all": tables})
    assert reread(folder, "all").object_entry(0)["pose"] == "up"
    assert losses == {"text with characters that XML cannot hold": 1}


sides = st.tuples(st.floats(0, 1), st.floats(0, 1)).map(sorted)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(sides, sides), min_size=1, max_size=4))
def test_any_box_inside_comes_back(tmp_path_factory: pytest.TempPathFactory, fractions: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("any")
    boxes = [(x1 * WIDTH, y1 * HEIGHT, x2 * WIDTH, y2 * HEIGHT) for (x1, x2), (y1, y2) in fractions]
    target, losses = written(folder, {"all": tables_of(folder, {"x.jpg": [("a", box, {}) for box in boxes]})})
    again = reread(target, "all")
    assert np.abs(again.objects.boxes - np.asarray(boxes)).max() < 1e-8
    assert not losses


def test_real_boxes_come_back(data_root: Path, tmp_path: Path) -> None:
    source = data_root / "datasets" / "bccd"
    first = reread(source, "val")
    folder, losses = written(tmp_path, {"val": first})
    again = reread(folder, "val")
    assert again.images.files.to_list() == first.images.files.to_list()
    assert again.objects.boxes.tolist() == first.objects.boxes.tolist()
    assert again.objects.labels.tolist() == first.objects.labels.tolist()
    for row in range(len(first.objects)):
        assert again.object_entry(row) | {"image_id": 0} == first.object_entry(row) | {"image_id": 0}
    assert not losses


def test_the_colours_are_vocs() -> None:
    colours = voc_colours().tolist()
    known = {0: [0, 0, 0], 1: [128, 0, 0], 2: [0, 128, 0], 7: [128, 128, 128], 8: [64, 0, 0], 15: [192, 128, 128]}
    assert {value: colours[value] for value in known} == known
    assert (colours[20], colours[255]) == ([0, 64, 128], [224, 224, 192])
    assert len({tuple(colour) for colour in colours}) == 256


@given(st.lists(st.text(min_size=1, max_size=6).filter(lambda t: t not in (".", "..") and "/" not in t), max_size=8))
def test_names_are_one_line_each_and_no_two_have_one_stem(texts: list[str]) -> None:
    stems = Stems(Counter(), flat=True)
    names = [stems.name(f"{text}.png", key=i) for i, text in enumerate(texts)]
    parts = [name.removesuffix(".png") for name in names]
    assert "\n".join(parts).splitlines() == [part.strip() for part in parts if part]
    assert len({part.casefold() for part in parts}) == len(parts)
    assert [stems.name("other.png", key=i) for i in range(len(texts))] == names
