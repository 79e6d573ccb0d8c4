"""What opening refuses, conversion and splitting refuse too; what VOC files say besides comes back."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sightline.data import index_cache
from sightline.data.conversion import convert, read_splits
from sightline.data.dataset import Dataset, open_dataset
from sightline.data.findings import Findings
from sightline.data.formats import voc
from sightline.data.split_set import SplitWishes, split_set
from sightline.errors import ConfigError, DataError
from sightline.files import CACHE_VARIABLE

PARTS = {"train": 0.5, "val": 0.5}


def coco(folder: Path, boxes: list[list[float]], size: tuple[int, int] = (40, 60), **extra: Any) -> Path:
    """A set of four images of 40 x 60 pixels (H x W), annotated as of ``size``."""
    (folder / "images").mkdir(parents=True)
    images = []
    for number in range(4):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": size[0], "width": size[1]})
    annotations = [{"id": i, "image_id": i % 4, "category_id": 1, "bbox": box} | extra for i, box in enumerate(boxes)]
    (folder / "annotations").mkdir()
    path = folder / "annotations" / "instances_train.json"
    categories = [{"id": 1, "name": "cat"}]
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path


@pytest.mark.parametrize(
    ("boxes", "size", "message"),
    [([[30, 20, 55, 38]] * 4, (40, 60), "x, y, width, height belong"), ([[1, 1, 9, 9]] * 4, (60, 40), "swaps height")],
)
def test_conversion_and_splitting_refuse_what_training_refuses(
    tmp_path: Path, boxes: list[list[float]], size: tuple[int, int], message: str
) -> None:
    coco(tmp_path / "set", boxes, size)
    for act in (
        lambda: convert(tmp_path / "set", "yolo", tmp_path / "out"),
        lambda: split_set(tmp_path / "set", tmp_path / "out", SplitWishes(PARTS)),
        lambda: list(open_dataset(tmp_path / "set")),
    ):
        with pytest.raises(DataError, match=message):
            act()
        assert not (tmp_path / "out").exists()


def test_nothing_is_written_into_the_set_itself(tmp_path: Path) -> None:
    coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    with pytest.raises(ConfigError, match="only read"):
        convert(tmp_path / "set", "yolo", tmp_path / "set" / "out")
    with pytest.raises(ConfigError, match="only read"):
        split_set(tmp_path / "set", tmp_path / "set" / "out", SplitWishes(PARTS))


def test_numbers_that_json_does_not_have_are_told_when_splitting(tmp_path: Path) -> None:
    coco(tmp_path / "set", [[1, 1, 9, 9]] * 4, score=float("nan"))
    done = split_set(tmp_path / "set", tmp_path / "out", SplitWishes(PARTS))
    assert sum(number for what, number in done.remarks.items() if "NaN" in what or "finite" in what) == 4


def test_a_set_without_sizes_and_with_a_bad_header_opens_and_names_the_file(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    content = json.loads(path.read_text())
    for image in content["images"]:
        del image["height"], image["width"]
    path.write_text(json.dumps(content))
    (tmp_path / "set" / "images" / "2.png").write_bytes(b"no image")
    data = open_dataset(tmp_path / "set")
    assert [len(record) for record in data.records] == [1, 1, 1, 1]
    shrinking = Dataset(data.root, data.split, data.classes, data.records, shorter_side=min)
    with pytest.raises(DataError, match=r"2\.png"):
        shrinking[2]


def test_animations_are_said_at_opening(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    frames = [Image.new("RGB", (60, 40), colour) for colour in ("red", "green", "blue")]
    frames[0].save(tmp_path / "set" / "images" / "a.gif", save_all=True, append_images=frames[1:])
    path.write_text(path.read_text().replace('"0.png"', '"a.gif"'))
    assert open_dataset(tmp_path / "set").findings["animation or stack of pictures: the first one counts"] == 1


def test_the_cache_knows_the_code_that_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(index_cache, "SMALLEST", 0)
    open_dataset(path)
    assert len(list((tmp_path / "cache" / "index").iterdir())) == 1
    monkeypatch.setattr(index_cache, "_code", lambda: "another release")
    open_dataset(path)
    assert len(list((tmp_path / "cache" / "index").iterdir())) == 2


def test_the_cache_does_not_keep_another_folder_of_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(index_cache, "SMALLEST", 0)
    assert open_dataset(path).records[0].path.parent.name == "images"
    shutil.copytree(tmp_path / "set" / "images", tmp_path / "set" / "train")
    assert open_dataset(path).records[0].path.parent.name == "train"


XML = """<annotation><filename>a.png</filename><owner><name>me</name></owner>
<source><database>mine</database><image>flickr</image></source><size><width>60</width><height>40</height></size>
<object><name>cat</name><difficult>{}</difficult><part><name>head</name><bndbox><xmin>3</xmin></bndbox></part>
<bndbox><xmin>2</xmin><ymin>3</ymin><xmax>20</xmax><ymax>30</ymax></bndbox></object></annotation>"""


def a_voc(folder: Path, difficult: str = "0") -> Path:
    for name in ("Annotations", "JPEGImages"):
        (folder / name).mkdir(parents=True)
    Image.new("RGB", (60, 40)).save(folder / "JPEGImages" / "a.png")
    (folder / "Annotations" / "a.xml").write_text(XML.format(difficult))
    return folder


def test_what_else_a_voc_file_says_comes_back(tmp_path: Path) -> None:
    done = convert(a_voc(tmp_path / "set"), "voc", tmp_path / "out")
    assert (done.lost, done.changed) == ({}, {})
    text = (tmp_path / "out" / "Annotations" / "a.xml").read_text()
    for part in ("<owner>", "<image>flickr</image>", "<database>mine</database>", "<part>", "<name>head</name>"):
        assert part in text
    assert "<xmin>3</xmin>" in text
    lost = convert(tmp_path / "set", "csv", tmp_path / "csv").lost
    assert lost["other keys of annotations"] == 1
    through_coco = convert(tmp_path / "set", "coco", tmp_path / "coco")
    assert through_coco.lost == {}
    convert(tmp_path / "coco", "voc", tmp_path / "again")
    assert "<name>head</name>" in (tmp_path / "again" / "Annotations" / "a.xml").read_text()


@pytest.mark.parametrize(
    ("text", "ignored"),
    [("0", 0), ("1", 1), ("FALSE", 0), ("True", 1), ("no", 0), ("0.0", 0), ("Unspecified", 0), ("", 0), (" 1 ", 1)],
)
def test_flags_in_all_their_spellings(tmp_path: Path, text: str, ignored: int) -> None:
    tables = voc.read(a_voc(tmp_path, text), "all", Findings())
    assert tables.objects.ignore.tolist() == [bool(ignored)]


def test_a_flag_that_is_neither_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"object\[0\]\.difficult: must be 0 or 1, got 'maybe'"):
        open_dataset(a_voc(tmp_path, "maybe"), "all")


def test_the_order_of_classes_is_told_where_it_is_lost(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    text = path.read_text().replace('{"id": 1, "name": "cat"}', '{"id": 1, "name": "cat"}, {"id": 2, "name": "ant"}')
    path.write_text(text)
    assert "order of classes, which is alphabetical there" in convert(tmp_path / "set", "voc", tmp_path / "voc").lost
    assert (
        "order of classes, which is alphabetical there" not in convert(tmp_path / "set", "csv", tmp_path / "csv").lost
    )


def test_a_coco_set_keeps_its_sub_folders(tmp_path: Path) -> None:
    path = coco(tmp_path / "set", [[1, 1, 9, 9]] * 4)
    for name, number in (("train", 0), ("val", 1)):
        (tmp_path / "set" / "images" / name).mkdir()
        (tmp_path / "set" / "images" / f"{number}.png").replace(tmp_path / "set" / "images" / name / "x.png")
    path.write_text(path.read_text().replace('"0.png"', '"train/x.png"').replace('"1.png"', '"val/x.png"'))
    done = convert(tmp_path / "set", "coco", tmp_path / "out")
    assert (done.lost, done.changed) == ({}, Counter())
    tables = read_splits(tmp_path / "out")[1]["train"]
    assert tables.images.files.to_list() == ["train/x.png", "val/x.png", "2.png", "3.png"]
