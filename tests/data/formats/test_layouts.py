"""Sets as labelling tools write them: in which form they are recognised, with which splits, and what is said if not."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats.layouts import recognise
from sightline.data.opening import open_split
from sightline.data.tables import Tables
from sightline.errors import DataError

YOLO = "0 0.5 0.5 0.5 0.5\n"
CSV = "filename,class,xmin,ymin,xmax,ymax\na.jpg,cat,5,5,15,15\n"


def image(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20)).save(path)


def text(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def xml(path: Path, name: str = "cat", root: str = "annotation", encoding: str = "utf-8") -> None:
    corners = "<xmin>6</xmin><ymin>6</ymin><xmax>15</xmax><ymax>15</ymax>"
    inner = f"<filename>{path.stem}.jpg</filename><object><name>{name}</name><bndbox>{corners}</bndbox></object>"
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'<?xml version="1.0" encoding="{encoding}"?>\n'
    path.write_text(f"{head}<{root}>{inner}</{root}>", encoding=encoding)


def coco(path: Path, file_name: str = "a.jpg", *, without: str = "", filler: int = 0) -> None:
    images = [{"id": i, "file_name": file_name, "width": 20, "height": 20} for i in range(1, 2 + filler)]
    boxes = [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 10, 10], "area": 100, "iscrowd": 0}]
    content = {"info": {}, "images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    text(path, json.dumps({key: value for key, value in content.items() if key != without}))


def tables(path: Path, split: str) -> tuple[Tables, dict[str, int]]:
    findings = Findings(thorough=True)
    return recognise(path).readers[split](findings), dict(findings.counts)


def check(path: Path, form: str, where: dict[str, str]) -> None:
    """The form, the splits, and the image and box of each; the path as users give it names the folder."""
    layout = recognise(path)
    assert (layout.form, list(layout.readers)) == (form, list(where))
    for split, file in where.items():
        read, counts = tables(path, split)
        assert [read.image_path(row) for row in range(len(read.images))] == [path / file]
        assert (read.objects.boxes.tolist(), counts) == ([[5, 5, 15, 15]], {})
        assert len(open_split(path, split).index.boxes) == 1


@pytest.mark.parametrize(
    ("annotations", "images"),
    [
        (".", "."),
        ("annotations", "images"),
        ("Annotations", "images"),
        ("annotations", "JPEGImages"),
        ("ANNOTATIONS", "jpegimages"),
        ("annots", "Images"),
        (".", "images"),
    ],
)
def test_voc_folders(tmp_path: Path, annotations: str, images: str) -> None:
    xml(tmp_path / annotations / "a.xml")
    image(tmp_path / images / "a.jpg")
    text(tmp_path / "predefined_classes.txt", "cat\n")  # of labelImg; no list of YOLO's
    check(tmp_path, "voc", {"all": f"{images}/a.jpg"})


def test_voc_in_another_encoding_and_beside_other_xml(tmp_path: Path) -> None:
    xml(tmp_path / "z.xml", encoding="utf-16")
    image(tmp_path / "z.jpg")
    assert recognise(tmp_path).form == "voc"
    xml(tmp_path / "z.xml", root="annotations")  # CVAT's
    with pytest.raises(DataError, match=r"1 \.xml file, but none that begins with Pascal VOC's <annotation>"):
        recognise(tmp_path)


@pytest.mark.parametrize("above", [".", "images"])
@pytest.mark.parametrize(("annotations", "images"), [(".", "."), ("Annotations", "JPEGImages"), ("labels", "images")])
def test_voc_in_a_folder_for_each_split(tmp_path: Path, above: str, annotations: str, images: str) -> None:
    for split, name in (("train", "cat"), ("valid", "dog"), ("Test", "ant")):
        xml(tmp_path / above / split / annotations / "a.xml", name)
        image(tmp_path / above / split / images / "a.jpg")
    (tmp_path / above / "other").mkdir()
    where = {
        split: f"{above}/{folder}/{images}/a.jpg"
        for split, folder in zip(("test", "train", "val"), ("Test", "train", "valid"), strict=True)
    }
    check(tmp_path, "voc", where)
    read = {split: tables(tmp_path, split)[0] for split in where}
    assert [[str(c["name"]) for c in read[split].categories] for split in where] == [["ant", "cat", "dog"]] * 3
    assert sorted(read[split].images.ids.tolist()[0] for split in where) == [1, 2, 3]


def test_voc_lists_of_any_letter_case(tmp_path: Path) -> None:
    for stem in ("a", "b"):
        xml(tmp_path / f"annotations/{stem}.xml")
        image(tmp_path / f"images/{stem}.jpg")
    text(tmp_path / "imagesets/main/train.txt", "b\n")
    check(tmp_path, "voc", {"train": "images/b.jpg"})


@pytest.mark.parametrize("classes", ["classes.txt", "obj.names"])
def test_yolo_labels_beside_images(tmp_path: Path, classes: str) -> None:
    image(tmp_path / "a.jpg")
    text(tmp_path / "a.txt", YOLO)
    with pytest.raises(DataError, match=r"YOLO's \.txt labels beside images, but no classes\.txt or data\.yaml"):
        recognise(tmp_path)
    text(tmp_path / classes, "cat\n")
    check(tmp_path, "yolo", {"all": "a.jpg"})
    (tmp_path / "a.txt").unlink()  # a list of classes alone is no set
    with pytest.raises(DataError, match="no annotations recognised"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("file", "name", "image_file", "split"),
    [
        ("result.json", "images/a.jpg", "images/a.jpg", "result"),
        ("result.json", "images\\a.jpg", "images/a.jpg", "result"),
        ("train.json", "a.jpg", "train/a.jpg", "train"),
        ("instances_val.json", "a.jpg", "a.jpg", "val"),
        ("instances_train2017.json", "a.jpg", "train2017/a.jpg", "train"),
        ("annotations/instances_default.json", "default\\a.jpg", "images/default/a.jpg", "default"),
        ("annotations/train.json", "x\\y.jpg", "images/x\\y.jpg", "train"),
        ("valid/_annotations.coco.json", "a.jpg", "valid/a.jpg", "val"),
    ],
)
def test_coco_files(tmp_path: Path, file: str, name: str, image_file: str, split: str) -> None:
    coco(tmp_path / file, name)
    image(tmp_path / image_file)
    check(tmp_path, "coco", {split: image_file})
    assert list(recognise(tmp_path / file).readers) == [split]


def test_roboflow_at_the_top_is_called_after_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "valid"
    coco(folder / "_annotations.coco.json")
    image(folder / "a.jpg")
    monkeypatch.chdir(folder)
    assert list(recognise(folder).readers) == list(recognise(Path()).readers) == ["val"]


def test_what_coco_has_besides_is_passed_over(tmp_path: Path) -> None:
    coco(tmp_path / "annotations/instances_train.json")
    image(tmp_path / "train/a.jpg")
    coco(tmp_path / "annotations/image_info_test-dev2017.json", without="annotations")
    coco(tmp_path / "annotations/captions_train2017.json", without="categories")
    coco(tmp_path / "more.json")
    check(tmp_path, "coco", {"train": "train/a.jpg"})


def test_the_three_lists_are_found_wherever_they_are(tmp_path: Path) -> None:
    coco(tmp_path / "long.json", filler=3000)  # the key 'annotations' is in the middle of 200 KB
    text(tmp_path / "words.json", json.dumps({"images": 1, "annotations": "x", "categories": ["images"]}))
    text(tmp_path / "empty.json", "")
    assert list(recognise(tmp_path).readers) == ["long"]
    (tmp_path / "long.json").unlink()
    reason = "empty.json is not COCO's JSON: it has no list 'images' and no list 'annotations' and no list 'categories'"
    with pytest.raises(DataError, match=reason):
        recognise(tmp_path)


def test_two_forms_in_one_folder_are_refused(tmp_path: Path) -> None:
    image(tmp_path / "a.jpg")
    xml(tmp_path / "a.xml")
    coco(tmp_path / "result.json")
    with pytest.raises(DataError, match=r"both coco and voc.*result\.json"):
        recognise(tmp_path)


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "the folder is empty"),
        ({"a.jpg": "", "b.PNG": "", "notes": ""}, "among 2 images, 1 file without ending in the folder itself"),
        ({"deep/er/a.xml": "", ".x.csv": ""}, "no annotations among nothing in deep/"),
        ({"a.xml": "<annotation/>", "b.xml": "<annotation/>"}, "2 .xml files of Pascal VOC, but no images beside them"),
        ({"boxes.csv": "image_id,w,h\n"}, r"boxes\.csv: found image_id, w, h; needed: filename \(or img_name"),
        ({"x/b.csv": "a,b,c,d,e,f,g\n"}, r"in x/: a \.csv file without .* found a, b, c, d, e, f \.\.\.; needed"),
        ({"images/a.jpg": "", "labels/t/a.txt": YOLO}, r"images/ and labels/, but no data\.yaml or classes\.txt"),
        ({"a.jpg": "", "a.txt": YOLO, "t.csv": "epoch,loss"}, r"without usable columns, t\.csv: found epoch, loss;"),
        ({"t.json": '{"shapes": []}'}, r"t\.json is not COCO's JSON"),
    ],
)
def test_what_was_seen_is_said(tmp_path: Path, files: dict[str, str], reason: str) -> None:
    for name, content in files.items():
        text(tmp_path / name, content)
    with pytest.raises(DataError, match=rf"no annotations recognised; likely cause: .*{reason}") as raised:
        recognise(tmp_path)
    assert "\n" not in str(raised.value)
    assert str(raised.value).index("likely cause") < str(raised.value).index("looked for these: COCO")


def test_coco_where_nobody_looks_is_named(tmp_path: Path) -> None:
    coco(tmp_path / "labels/boxes.json")
    with pytest.raises(DataError, match=r"in labels/: boxes\.json is COCO's JSON, but .*: give this file"):
        recognise(tmp_path)


@pytest.mark.parametrize("name", ["a.xml", "a.txt"])
def test_the_file_of_one_image_is_no_set(tmp_path: Path, name: str) -> None:
    text(tmp_path / name, "")
    with pytest.raises(DataError, match="not an annotation file; likely cause: a file of one image: give its folder"):
        recognise(tmp_path / name)


def test_one_split_alone_is_told_how_to_divide_it(tmp_path: Path) -> None:
    text(tmp_path / "train.csv", CSV)
    image(tmp_path / "a.jpg")
    hint = "`sightline data split` divides a set into train, val and test"
    with pytest.raises(DataError, match=rf"no split 'val'; cure: the splits there are: train; {hint}"):
        open_split(tmp_path, "val")
    shutil.copy(tmp_path / "train.csv", tmp_path / "test.csv")
    with pytest.raises(DataError, match=r"the splits there are: test, train$"):
        open_split(tmp_path, "val")


@pytest.mark.parametrize(
    ("name", "form", "splits"),
    [
        ("bccd", "voc", ("test", "train", "trainval", "val")),
        ("coco_tiny", "coco", ("train", "val")),
        ("coco_keypoints", "coco", None),
        ("camvid", "masks", ("test", "train", "val")),
    ],
)
def test_real_sets(data_root: Path, name: str, form: str, splits: tuple[str, ...] | None) -> None:
    layout = recognise(data_root / "datasets" / name)
    assert layout.form == form
    assert splits is None or tuple(layout.readers) == splits
