"""Penn-Fudan and Oxford-IIIT Pet in small, as COCO."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data.catalogue import adapters
from sightline.data.catalogue.adapters import adapt_pennfudan, adapt_pets, name_classes
from sightline.data.dataset import Dataset, open_dataset
from sightline.data.findings import Findings
from sightline.data.formats import masks
from sightline.data.segmentation import decode_segmentation
from sightline.errors import DataError


def pennfudan(folder: Path, count: int = 10) -> Path:
    """Person 1 is the upper left of each image, person 3 two parts of the right; there is no person 2."""
    for name in ("PNGImages", "PedMasks"):
        (folder / name).mkdir(parents=True)
    for number in range(count):
        stem = f"FudanPed{number:05d}"
        Image.new("RGB", (30, 20 + number)).save(folder / "PNGImages" / f"{stem}.png")
        mask = np.zeros((20 + number, 30), np.uint8)
        mask[2:12, 3:9] = 1
        mask[5:8, 20:22] = mask[10:15, 24:30] = 3
        image = Image.fromarray(mask)
        if number % 2:  # palette images, as some of the published ones
            image = image.convert("P")
            image.putpalette([0, 0, 0, 255, 0, 0, 9, 9, 9, 0, 255, 0])
        image.save(folder / "PedMasks" / f"{stem}_mask.png")
    return folder


def test_persons_have_the_boxes_and_masks_of_their_values(tmp_path: Path) -> None:
    folder = pennfudan(tmp_path / "set")
    assert not adapt_pennfudan(folder)
    seen = set()
    for split, count in (("train", 8), ("val", 2)):
        document = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
        assert [category["name"] for category in document["categories"]] == ["person"]
        assert len(document["images"]) == count
        seen |= {image["file_name"] for image in document["images"]}
        by_id = {image["id"]: image for image in document["images"]}
        for first, second in zip(document["annotations"][::2], document["annotations"][1::2], strict=True):
            image = by_id[first["image_id"]]
            assert (first["bbox"], first["area"]) == ([3, 2, 6, 10], 60)
            assert (second["bbox"], second["area"]) == ([20, 5, 10, 10], 6 + 30)
            marked = decode_segmentation(second["segmentation"], (image["height"], image["width"]))
            wanted = torch.zeros(image["height"], 30, dtype=torch.bool)
            wanted[5:8, 20:22] = wanted[10:15, 24:30] = True
            assert torch.equal(marked, wanted)
        dataset = open_dataset(folder, split)
        assert isinstance(dataset, Dataset)
        assert len(dataset) == count
        assert dataset.target(0).boxes.tolist() == [[3, 2, 9, 12], [20, 5, 30, 15]]
    assert len(seen) == 10


def test_the_split_is_the_same_for_ever(tmp_path: Path) -> None:
    folder = pennfudan(tmp_path / "set")
    adapt_pennfudan(folder)
    document = json.loads((folder / "annotations" / "instances_val.json").read_text())
    # printf sightline/FudanPed0000N | sha256sum, for all ten: these two are the smallest.
    assert [image["file_name"][-9:] for image in document["images"]] == ["00001.png", "00008.png"]


def test_damaged_penn_fudan_is_said(tmp_path: Path) -> None:
    folder = pennfudan(tmp_path / "set", 2)
    mask = folder / "PedMasks" / "FudanPed00001_mask.png"
    Image.new("L", (30, 20)).save(mask)
    with pytest.raises(DataError, match=r"00001_mask\.png: has the size \(20, 30\) where the image has \(21, 30\)"):
        adapt_pennfudan(folder)
    Image.new("RGB", (30, 21)).save(mask)
    with pytest.raises(DataError, match="one byte a pixel"):
        adapt_pennfudan(folder)
    mask.unlink()
    with pytest.raises(DataError, match="mask cannot be read"):
        adapt_pennfudan(folder)
    with pytest.raises(DataError, match="no image was found"):
        adapt_pennfudan(tmp_path)


XML = "<annotation><size><width>40</width></size>{}</annotation>"
BOX = "<object><name>cat</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def pets(folder: Path, first_box: tuple[int, ...] = (1, 3, 20, 15)) -> Path:
    """Ten images of three breeds: one without a box, one that is no image, one box beyond its image."""
    (folder / "annotations" / "xmls").mkdir(parents=True)
    (folder / "images").mkdir()
    lines, breeds = [], (("Abyssinian", 1), ("american_bulldog", 2), ("Siamese", 33))
    for number in range(10):
        breed, label = breeds[number % 3]
        stem = f"{breed}_{number}"
        lines.append(f"{stem} {label} 1 1")
        if number == 8:
            (folder / "images" / f"{stem}.jpg").write_bytes(b"no image")
        else:
            Image.new("RGB", (40, 30)).save(folder / "images" / f"{stem}.jpg")
        box = {0: first_box, 9: (50, 50, 60, 60)}.get(number, (11, 5, 99, 25))
        if number != 7:
            (folder / "annotations" / "xmls" / f"{stem}.xml").write_text(XML.format(BOX.format(*box)))
    (folder / "annotations" / "trainval.txt").write_text("#Image CLASS-ID SPECIES BREED ID\n" + "\n".join(lines))
    (folder / "annotations" / "test.txt").write_text("Siamese_99 33 1 1\n")
    return folder


def heads(folder: Path) -> dict[str, list[tuple[int, list[float]]]]:
    """Category and box of each head by image, of both splits."""
    found: dict[str, list[tuple[int, list[float]]]] = {}
    for split in ("train", "val"):
        document = json.loads((folder / "annotations" / f"instances_{split}.json").read_text())
        names = {image["id"]: image["file_name"] for image in document["images"]}
        found |= {name: [] for name in names.values()}
        for one in document["annotations"]:
            found[names[one["image_id"]]].append((one["category_id"], one["bbox"]))
    return found


def test_heads_of_pets_by_breed(tmp_path: Path) -> None:
    folder = pets(tmp_path / "set")
    assert adapt_pets(folder) == {adapters.NO_BOX: 1, adapters.NO_IMAGE: 1, adapters.NO_AREA: 1}
    found = heads(folder)
    assert len(found) == 8
    assert found["Abyssinian_0.jpg"] == [(1, [0, 2, 20, 13])]  # VOC counts from 1, and the last pixel is inside
    assert found["american_bulldog_1.jpg"] == [(2, [10, 4, 30, 21])]  # clipped to 40 pixels of width
    assert found["Abyssinian_9.jpg"] == []
    dataset = open_dataset(folder, "train")
    assert (dataset.classes.names, dataset.classes.ids) == (("Abyssinian", "american_bulldog", "Siamese"), (1, 2, 33))
    assert len(dataset) + len(open_dataset(folder, "val")) == 8


def test_pets_that_count_from_zero_are_read_as_written(tmp_path: Path) -> None:
    folder = pets(tmp_path / "set", (0, 3, 20, 15))
    adapt_pets(folder)
    assert heads(folder)["Abyssinian_0.jpg"] == [(1, [0, 3, 20, 12])]
    assert heads(folder)["american_bulldog_1.jpg"] == [(2, [11, 5, 29, 20])]


def test_damaged_pets_are_said(tmp_path: Path) -> None:
    folder = pets(tmp_path / "set")
    xml = folder / "annotations" / "xmls" / "Abyssinian_0.xml"
    for text, message in (
        ("<annotation>", "cannot be read"),
        (XML.format(BOX.format("a", 1, 2, 3)), "cannot be read"),
        (XML.format(BOX.format("", 1, 2, 3)), "cannot be read"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>', "declarations are refused"),
    ):
        xml.write_text(text)
        with pytest.raises(DataError, match=message) as caught:
            adapt_pets(folder)
        assert caught.value.place == str(xml)
    (folder / "annotations" / "trainval.txt").unlink()
    with pytest.raises(DataError, match="list of images"):
        adapt_pets(folder)


def test_the_values_of_label_images_get_names(tmp_path: Path) -> None:
    for name in ("train", "trainannot"):
        (tmp_path / name).mkdir()
    Image.new("RGB", (4, 3)).save(tmp_path / "train" / "a.jpg")
    labels = Image.new("L", (4, 3), 0)
    labels.putpixel((1, 1), 2)
    labels.putpixel((2, 1), 1)
    labels.save(tmp_path / "trainannot" / "a.png")
    name_classes(tmp_path, ("sky", "road"))
    tables = masks.read(tmp_path, "train", Findings())
    assert [category["name"] for category in tables.categories] == ["sky", "road", "void"]
    assert tables.objects.ignore.tolist() == [False, False, True]
