"""A data set as a sequence of samples: sizes, classes, masks, workers; and real sets against slow counts."""

import hashlib
import json
import pickle
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data.dataset import Dataset, open_dataset, splits
from sightline.errors import DataError
from sightline.structures import Classes, Target

POLYGON = [2, 2, 10, 2, 10, 8, 2, 8]


def make(folder: Path, annotated: tuple[int, int] = (20, 30), stored: tuple[int, int] = (20, 30), **more: Any) -> Path:
    """A set of one photograph with one cat at (2, 2, 10, 8)."""
    exif = Image.Exif()
    exif[0x0112] = more.pop("orientation", 1)
    folder.mkdir(exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (*stored, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "a.jpg", exif=exif)
    image = {"id": 5, "file_name": "a.jpg", "height": annotated[0], "width": annotated[1]}
    cat = {"id": 1, "image_id": 5, "category_id": 1, "bbox": [2, 2, 8, 6], "segmentation": [POLYGON]} | more
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    path = folder / "set.json"
    path.write_text(json.dumps({"images": [image], "annotations": [cat], "categories": categories}))
    return path


def same(first: Target, second: Target) -> bool:
    pairs = [(getattr(first, name), getattr(second, name)) for name in ("boxes", "labels", "ignore", "areas")]
    return first.size == second.size and all(torch.equal(a, b) for a, b in pairs)


def test_a_sample_is_the_picture_with_its_truth(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    sample = dataset[0]
    assert sample.image.shape == (3, 20, 30)
    assert sample.target.boxes.tolist() == [[2, 2, 10, 8]]
    assert (sample.image_id, sample.path, sample.target.masks) == (5, str(tmp_path / "a.jpg"), None)
    assert same(sample.target, dataset.target(0))
    assert same(sample.target, dataset[-1].target)
    assert len(list(dataset)) == 1
    with pytest.raises(IndexError):
        dataset[1]


def test_samples_do_not_share_memory_with_the_set(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    dataset[0].target.boxes.zero_()
    assert dataset[0].target.boxes.tolist() == [[2, 2, 10, 8]]


def test_a_slice_is_a_data_set(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    assert isinstance(dataset[:1], Dataset)
    assert (len(dataset[:1]), len(dataset[1:]), dataset[:1].classes) == (1, 0, dataset.classes)


@pytest.mark.parametrize("stored", [(21, 31), (19, 29), (20, 45)])
def test_the_size_of_the_file_wins_where_the_boxes_fit(tmp_path: Path, stored: tuple[int, int]) -> None:
    dataset = open_dataset(make(tmp_path, annotated=(20, 30), stored=stored))
    assert dataset[0].target.size == dataset.target(0).size == stored


@pytest.mark.parametrize(
    ("annotated", "stored", "orientation", "cause"),
    [
        ((20, 30), (20, 30), 6, "EXIF orientation"),
        ((20, 30), (30, 20), 1, "swaps height and width"),
        ((20, 30), (200, 300), 1, "resized"),
        ((20, 30), (20, 9), 1, "resized or replaced"),
    ],
)
def test_boxes_of_another_picture_are_refused(
    tmp_path: Path, annotated: tuple[int, int], stored: tuple[int, int], orientation: int, cause: str
) -> None:
    dataset = open_dataset(make(tmp_path, annotated, stored, orientation=orientation))
    for read in (dataset.__getitem__, dataset.target):
        with pytest.raises(DataError, match=cause) as caught:
            read(0)
        assert caught.value.place == str(tmp_path / "a.jpg")


def test_a_turned_picture_annotated_as_it_is_seen(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path, annotated=(30, 20), stored=(20, 30), orientation=6))
    assert dataset[0].image.shape == (3, 30, 20)
    assert dataset.target(0).size == (30, 20)


def test_masks_come_when_asked_for(tmp_path: Path) -> None:
    sample = replace(open_dataset(make(tmp_path)), masks=True)[0]
    assert sample.target.masks is not None
    assert sample.target.masks.shape == (1, 20, 30)
    expected = torch.zeros(20, 30, dtype=torch.bool)
    expected[2:8, 2:10] = True
    assert torch.equal(sample.target.masks[0], expected)


def test_missing_and_damaged_masks_are_named(tmp_path: Path) -> None:
    without = open_dataset(make(tmp_path / "a", segmentation=[]))
    with pytest.raises(DataError, match=r"an object of image a\.jpg has none"):
        replace(without, masks=True)
    damaged = open_dataset(make(tmp_path / "b", segmentation=[[1, 2, 3, 4, 5, 6, 7]]))
    with pytest.raises(DataError, match=r"a\.jpg, segmentation of object 0: .*x, y pairs"):
        replace(damaged, masks=True).target(0)
    with pytest.raises(DataError, match=r"annotations\[0\]\.segmentation: must be a list of polygons"):
        open_dataset(make(tmp_path / "c", segmentation="x"))


def test_labels_follow_the_names_of_a_model(tmp_path: Path) -> None:
    path = make(tmp_path, category_id=2)
    dataset = open_dataset(path, classes=Classes(("dog", "bird"), (18, 16)))
    assert dataset.classes.ids == (18, 16)
    assert dataset.target(0).labels.tolist() == [0]
    with pytest.raises(DataError, match="unknown class 'dog'; likely cause: the model knows only cat"):
        open_dataset(path, classes=Classes(("cat",)))


def test_what_cannot_be_opened_is_explained(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    for name, message in (("", "no annotations recognised.*looked for"), ("gone", "no such"), ("a.txt", "not an ann")):
        with pytest.raises(DataError, match=message):
            open_dataset(tmp_path / name)
    make(tmp_path / "annotations").rename(tmp_path / "annotations" / "val.json")
    with pytest.raises(DataError, match="no split 'train'; cure: the splits there are: val"):
        open_dataset(tmp_path)
    for name in ("Annotations", "JPEGImages"):
        (tmp_path / name).mkdir(exist_ok=True)
    with pytest.raises(DataError, match="both coco and voc"):
        splits(tmp_path)
    empty = tmp_path / "empty.json"
    empty.write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(DataError, match="has no images"):
        open_dataset(empty)


def test_a_data_set_survives_pickling(tmp_path: Path) -> None:
    dataset = open_dataset(make(tmp_path))
    again = pickle.loads(pickle.dumps(dataset))
    assert (again.classes, again.name, again.findings) == (dataset.classes, dataset.name, dataset.findings)
    assert torch.equal(again[0].image, dataset[0].image)
    assert same(again[0].target, dataset[0].target)


def fingerprint(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        digest.update(str(path).encode())
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


def test_the_folder_is_only_read(tmp_path: Path) -> None:
    dataset_file = make(tmp_path / "set")
    before = fingerprint(tmp_path)
    dataset = replace(open_dataset(dataset_file), masks=True)
    list(dataset)
    assert fingerprint(tmp_path) == before


@pytest.mark.parametrize(("split", "images"), [("train", 205), ("val", 87), ("test", 72)])
def test_bccd_against_a_count_by_text(data_root: Path, split: str, images: int) -> None:
    folder = data_root / "datasets" / "bccd"
    dataset = open_dataset(folder, split)
    assert len(dataset) == images
    expected: Counter[str] = Counter()
    for stem in (folder / "ImageSets" / "Main" / f"{split}.txt").read_text().split():
        expected.update(re.findall(r"<name>(\w+)</name>", (folder / "Annotations" / f"{stem}.xml").read_text()))
    labels = np.concatenate([record.labels for record in dataset.records])
    assert dataset.classes.names == ("Platelets", "RBC", "WBC")
    counted = Counter(dataset.classes.names[label] for label in labels)
    dropped = sum(number for reason, number in dataset.findings.items() if "dropped" in reason)
    assert sum((expected - counted).values()) == dropped
    assert counted <= expected


def test_coco_tiny_opens_with_all_its_objects(data_root: Path) -> None:
    folder = data_root / "datasets" / "coco_tiny"
    for split, objects, crowds in (("train", 705, 6), ("val", 815, 11)):
        dataset = open_dataset(folder, split)
        assert (len(dataset), len(dataset.classes), dataset.classes.ids[-1]) == (80, 80, 90)
        assert sum(len(record) for record in dataset.records) == objects
        assert sum(int(record.ignore.sum()) for record in dataset.records) == crowds
        assert not dataset.findings
        assert all(same(dataset[i].target, dataset.target(i)) for i in range(5))


def test_boxes_in_another_convention_are_refused_and_not_dropped(tmp_path: Path) -> None:
    path = make(tmp_path)
    data = json.loads(path.read_text())
    cat = {"image_id": 5, "category_id": 1, "bbox": [12, 8, 28, 18]}
    data["annotations"] = [cat | {"id": number} for number in range(4)]
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=r"belong: 100% of the boxes .*cure: write x, y, width"):
        open_dataset(path)
