"""Label images of semantic segmentation: layouts, classes, and what is wrong with a mask."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats import masks
from sightline.data.segmentation import decode_segmentation
from sightline.data.tables import Tables
from sightline.errors import DataError

LABELS = [[0, 0, 3], [0, 7, 3]]


def put(folder: Path, images: str, labels: str, stem: str, values: ArrayLike = LABELS, suffix: str = ".jpg") -> Path:
    """An image and its mask; gives the mask."""
    array = np.asarray(values)
    picture, mask = folder / images / f"{stem}{suffix}", folder / labels / f"{stem}.png"
    for path in (picture, mask):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", array.shape[::-1]).save(picture)
    Image.fromarray(array.astype(np.uint8 if array.max(initial=0) < 256 else np.uint16)).save(mask)
    return mask


def read(folder: Path, split: str, names: list[str] | None = None) -> Tables:
    """Read without a finding."""
    findings = Findings()
    tables = masks.read(folder, split, findings, names)
    assert not findings.counts
    return tables


def names_of(tables: Tables) -> list[str]:
    return [category["name"] for category in tables.categories]


def test_each_class_of_an_image_is_one_object(tmp_path: Path) -> None:
    mask = put(tmp_path, "train", "trainannot", "a b.犬")
    put(tmp_path, "val", "valannot", "c", [[9]])
    tables = read(tmp_path, "train")
    assert tuple(masks.find_splits(tmp_path)) == ("train", "val")
    assert names_of(tables) == names_of(read(tmp_path, "val")) == ["0", "3", "7", "9"]
    assert [category["value"] for category in tables.categories] == [0, 3, 7, 9]
    assert tables.images.files.to_list() == ["train/a b.犬.jpg"]
    assert tables.images.sizes.tolist() == [[2, 3]]
    assert tables.objects.boxes.tolist() == [[0, 0, 2, 2], [2, 0, 3, 2], [1, 1, 2, 2]]
    assert tables.objects.areas.tolist() == [3, 2, 1]
    assert tables.objects.labels.tolist() == [0, 1, 2]
    assert not tables.objects.ignore.any()
    assert tables.locate_object(1) == (str(mask), "value 3")
    found = decode_segmentation(tables.object_entry(0)["segmentation"], (2, 3)).tolist()
    assert found == [[True, True, False], [True, False, False]]


@pytest.mark.parametrize("kind", ["masks", "labels", "annotations"])
def test_images_beside_masks(tmp_path: Path, kind: str) -> None:
    put(tmp_path, "images/val", f"{kind}/val", "deep/er/x", suffix=".PNG")
    put(tmp_path, "images/train", f"{kind}/train", "y")
    assert tuple(masks.find_splits(tmp_path)) == ("train", "val")
    assert read(tmp_path, "val").images.files.to_list() == ["images/val/deep/er/x.PNG"]
    assert read(tmp_path, "val").images.ids.tolist() == [2]


def test_images_beside_masks_without_splits(tmp_path: Path) -> None:
    put(tmp_path, "images", "masks", "x")
    (tmp_path / "images" / ".DS_Store").write_bytes(b"")
    assert tuple(masks.find_splits(tmp_path)) == ("all",)
    assert read(tmp_path, "all").images.files.to_list() == ["images/x.jpg"]


def test_vocs_pictures_of_classes_count_where_there_are_no_boxes(tmp_path: Path) -> None:
    for stem in ("x", "y", "z"):
        put(tmp_path, "JPEGImages", "SegmentationClass", stem, [[0, 255], [15, 15]])
    lists = tmp_path / "ImageSets" / "Segmentation"
    lists.mkdir(parents=True)
    (lists / "val.txt").write_text("z\n\nx\n")
    tables = read(tmp_path, "val")
    assert tables.images.files.to_list() == ["JPEGImages/z.jpg", "JPEGImages/x.jpg"]
    assert names_of(tables) == ["0", "15", "void"]
    assert tables.objects.ignore.tolist() == [False, False, True] * 2
    (tmp_path / "Annotations").mkdir()
    assert masks.find_splits(tmp_path) == {}


@pytest.mark.parametrize("other", ["x.txt", "instances.json", "deep/x.xml"])
def test_folders_of_other_formats_are_not_taken(tmp_path: Path, other: str) -> None:
    put(tmp_path, "images", "labels", "x")
    (tmp_path / "labels" / other).parent.mkdir(exist_ok=True)
    (tmp_path / "labels" / other).write_text("")
    assert masks.find_splits(tmp_path) == {}


@pytest.mark.parametrize(
    "text", ["sky\n\nroad 2\nVOID\n", "2 VOID\n0 sky\r\n 1: road 2 ", "\ufeff0,sky\n1;road 2\n2=VOID"]
)
def test_a_list_names_the_classes_and_void_is_ignored(tmp_path: Path, text: str) -> None:
    put(tmp_path, "images", "masks", "x", [[0, 2]])
    (tmp_path / "classes.txt").write_bytes(text.encode())
    tables = read(tmp_path, "all")
    assert names_of(tables) == ["sky", "road 2", "VOID"]
    assert tables.objects.ignore.tolist() == [False, True]
    assert tables.object_entry(1)["iscrowd"] == 1


def test_names_that_are_given_count_more_than_the_list(tmp_path: Path) -> None:
    put(tmp_path, "images", "masks", "x", [[0, 1]])
    (tmp_path / "classes.txt").write_text("sky\nroad\n")
    assert names_of(read(tmp_path, "all", ["air", "ground", "water"])) == ["air", "ground", "water"]


def test_255_is_void_in_all_splits_or_a_class_of_its_own(tmp_path: Path) -> None:
    put(tmp_path, "train", "trainannot", "x", [[0, 1]])
    put(tmp_path, "val", "valannot", "y", [[0, 255]])
    assert names_of(read(tmp_path, "train", ["a", "b"])) == ["a", "b", "void"]
    assert names_of(read(tmp_path, "val", ["a", "b"])) == ["a", "b", "void"]
    assert names_of(read(tmp_path, "train", ["a", "Void"])) == ["a", "Void", "255"]
    (tmp_path / "classes.txt").write_text("0 a\n1 b\n255 white\n")
    tables = read(tmp_path, "val")
    assert (names_of(tables), tables.objects.ignore.tolist()) == (["a", "b", "white"], [False, False])


def test_sixteen_bits_and_a_single_pixel(tmp_path: Path) -> None:
    put(tmp_path, "images", "masks", "x", [[65535, 300], [300, 300]])
    put(tmp_path, "images", "masks", "y", [[4]])
    tables = read(tmp_path, "all")
    assert names_of(tables) == ["4", "300", "65535"]
    assert tables.objects.boxes.tolist() == [[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1]]
    assert tables.objects.labels.tolist() == [1, 2, 0]


def spoil_colours(mask: Path) -> None:
    Image.new("RGB", (3, 2)).save(mask)


def spoil_size(mask: Path) -> None:
    Image.new("L", (2, 3)).save(mask)


def spoil_bytes(mask: Path) -> None:
    mask.write_bytes(mask.read_bytes()[:50])


def spoil_image(mask: Path) -> None:
    (mask.parent.parent / "images" / f"{mask.stem}.jpg").write_bytes(b"no image")


def spoil_twin(mask: Path) -> None:
    Image.new("RGB", (3, 2)).save(mask.parent.parent / "images" / f"{mask.stem}.bmp")


def spoil_partner(mask: Path) -> None:
    (mask.parent.parent / "images" / f"{mask.stem}.jpg").unlink()


def spoil_sign(mask: Path) -> None:
    Image.fromarray(np.full((2, 3), 70000, np.int32)).save(mask, format="TIFF")


@pytest.mark.parametrize(
    ("spoil", "code", "what"),
    [
        (spoil_colours, "value-malformed", "not colours"),
        (spoil_size, "mask-size-differs", "the mask has 3 x 2 pixels, the image 2 x 3"),
        (spoil_bytes, "file-unreadable", "cannot be read"),
        (Path.unlink, "annotation-missing", "there is no mask"),
        (spoil_image, "image-damaged", "not an image"),
        (spoil_twin, "image-missing", "several images are named bad"),
        (spoil_partner, "image-missing", "there is no image bad"),
        (spoil_sign, "value-malformed", "0..65535"),
    ],
)
def test_a_defect_leaves_out_its_image_alone(tmp_path: Path, spoil: object, code: str, what: str) -> None:
    put(tmp_path, "images", "masks", "good")
    bad = put(tmp_path, "images", "masks", "bad")
    assert callable(spoil)
    spoil(bad)
    findings = Findings()
    tables = masks.read(tmp_path, "all", findings)
    assert tables.images.files.to_list() == ["images/good.jpg"]
    assert dict(findings.counts) == {code: 1}
    (finding,) = findings
    assert what in finding.what
    assert "bad" in finding.file


def test_values_that_no_list_names_are_left_out(tmp_path: Path) -> None:
    put(tmp_path, "images", "masks", "x", [[0, 5, 6]])
    (tmp_path / "classes.txt").write_text("a\nb\n")
    findings = Findings(thorough=True)
    tables = masks.read(tmp_path, "all", findings)
    assert tables.objects.labels.tolist() == [0]
    assert [f.code for f in findings] == ["class-unknown"] * 2
    assert "value 5 is no class of" in next(iter(findings)).what


@pytest.mark.parametrize("text", [b"0 a\n0 b\n", b"a\na\n", b"70000 a\n", b"\xff\xfe"])
def test_a_list_that_says_two_things_is_refused(tmp_path: Path, text: bytes) -> None:
    put(tmp_path, "images", "masks", "x")
    (tmp_path / "classes.txt").write_bytes(text)
    with pytest.raises(DataError, match=r"classes\.txt"):
        masks.read(tmp_path, "all", Findings())


def test_what_a_list_of_images_gets_wrong_is_noted(tmp_path: Path) -> None:
    put(tmp_path, "JPEGImages", "SegmentationClass", "x")
    (tmp_path / "ImageSets" / "Segmentation").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Segmentation" / "train.txt").write_text("x\n../y\nx\n\0\n")
    findings = Findings()
    assert len(masks.read(tmp_path, "train", findings).images) == 1
    assert dict(findings.counts) == {"image-listed-twice": 1, "annotation-missing": 2}


@settings(max_examples=30, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 200])))
def test_boxes_and_areas_against_a_slow_loop(
    tmp_path_factory: pytest.TempPathFactory, labels: NDArray[np.uint8]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    put(folder, "images", "masks", "x", labels, suffix=".png")
    tables = read(folder, "all")
    for row, value in enumerate(sorted(set(labels.ravel().tolist()))):
        spots = [(x, y) for y in range(labels.shape[0]) for x in range(labels.shape[1]) if labels[y, x] == value]
        columns, rows = [x for x, _ in spots], [y for _, y in spots]
        assert tables.objects.boxes[row].tolist() == [min(columns), min(rows), max(columns) + 1, max(rows) + 1]
        assert tables.objects.areas[row] == len(spots)
    assert len(tables.objects) == len(np.unique(labels))


def test_real_label_images(data_root: Path) -> None:
    folder = data_root / "datasets" / "camvid"
    assert tuple(masks.find_splits(folder)) == ("test", "train", "val")
    tables = read(folder, "val", [f"class {i}" for i in range(11)] + ["void"])
    assert (len(tables.images), len(tables.categories)) == (101, 12)
    assert tables.objects.ignore.sum() == (tables.objects.labels == 11).sum() > 0
    total = (tables.images.sizes[:, 0].astype(np.int64) * tables.images.sizes[:, 1]).sum()
    assert tables.objects.areas.sum() == total
