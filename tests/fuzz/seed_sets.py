"""Small sound sets in every format that is read: what the fuzzer starts from."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline.data.coco_masks import encode
from sightline.data.conversion import convert

HEIGHT, WIDTH = 16, 24
TRIANGLE = [2.0, 2.0, 12.5, 3.0, 7.0, 11.25]
SQUARE = [4, 4, 10, 4, 10, 10, 4, 10]


def picture(path: Path, seed: int) -> None:
    """A picture of noise; JPEG or PNG by its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def labels(path: Path, seed: int) -> None:
    """A label image of the values 0, 1, 2 and 255."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((HEIGHT, WIDTH), np.uint8)
    values[2:8, 3 + seed : 9 + seed] = 1
    values[9:14, 10:20] = 2
    values[0, :] = 255
    image = Image.fromarray(values, "P" if seed % 2 else "L")
    if seed % 2:
        image.putpalette(bytes(range(256)) * 3)
    image.save(path)


def entries(first: int, names: tuple[str, ...], *, keypoints: bool) -> dict[str, Any]:
    """A COCO set of some images, with every way to write a mask."""
    mask = np.zeros((HEIGHT, WIDTH), np.bool_)
    mask[3:9, 5:15] = True
    column = [0] * 0 + [16, 16, HEIGHT * WIDTH - 32]
    masks: list[Any] = [[TRIANGLE], [SQUARE, TRIANGLE], encode(mask), {"size": [HEIGHT, WIDTH], "counts": column}, None]
    boxes = [[2, 2, 10.5, 9.25], [4, 4, 8.5, 7], [5, 3, 10, 6], [1, 0, 1, 16], [0, 0, 24, 16]]
    annotations = []
    for i, (segmentation, box) in enumerate(zip(masks, boxes, strict=True)):
        entry = {"id": first + i, "image_id": first + i % 2, "category_id": (1, 7)[i % 2], "bbox": box}
        entry |= {"area": box[2] * box[3], "iscrowd": int(i == 3)}
        if segmentation is not None:
            entry["segmentation"] = segmentation
        if keypoints:
            entry |= {"keypoints": [5, 5, 2, 0, 0, 0, 7.5, 8, 1], "num_keypoints": 2}
        annotations.append(entry)
    images = [
        {"id": first + i, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 1}
        for i, name in enumerate(names)
    ]
    categories: list[dict[str, Any]] = [
        {"id": 1, "name": "cat", "supercategory": "animal"},
        {"id": 7, "name": "dog with spots", "supercategory": "animal"},
    ]
    if keypoints:
        categories[0] |= {"keypoints": ["nose", "tail", "ear"], "skeleton": [[1, 2]]}
        categories[1] |= {"keypoints": ["nose", "tail", "ear"], "skeleton": []}
    return {"info": {"year": 2020}, "images": images, "annotations": annotations, "categories": categories}


def _json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def coco(folder: Path, *, prefix: str = "instances", keypoints: bool = False) -> None:
    """COCO's own layout with two splits and captions."""
    for first, split in ((1, "train2017"), (31, "val2017")):
        names = (f"{first}.jpg", f"{first}b.png", f"{first}c.png")
        for i, name in enumerate(names):
            picture(folder / split / name, first + i)
        _json(folder / "annotations" / f"{prefix}_{split}.json", entries(first, names, keypoints=keypoints))
    captions = {"images": [], "annotations": [{"id": 1, "image_id": 1, "caption": "a cat"}]}
    _json(folder / "annotations" / "captions_train2017.json", captions)


def coco_keypoints(folder: Path) -> None:
    """COCO with keypoints."""
    coco(folder, prefix="person_keypoints", keypoints=True)


def roboflow_coco(folder: Path) -> None:
    """An annotation file within the folder of each split."""
    for first, split in ((1, "train"), (31, "valid")):
        names = (f"{first}.jpg", f"{first}b.png")
        for i, name in enumerate(names):
            picture(folder / split / name, first + i)
        _json(folder / split / "_annotations.coco.json", entries(first, names, keypoints=False))


def converted(form: str) -> Callable[[Path], None]:
    """The COCO set in another format."""

    def make(folder: Path) -> None:
        origin = folder.with_name(folder.name + "-coco")
        coco(origin)
        folder.rmdir()
        convert(origin, form, folder)

    return make


_POSE = "0 0.5 0.5 0.4 0.5 0.3 0.3 2 0 0 0 0.6 0.5 1\n0 0.25 0.25 0.2 0.2 0.2 0.2 2 0.3 0.2 2 0.2 0.3 0\n"
_YAML = "path: .\ntrain: images/train\nval: images/val\nnames:\n  0: cat\n  1: dog\n"


def _yolo(folder: Path, text: str, yaml: str, images: str = "images/{}", truths: str = "labels/{}") -> None:
    for i, split in enumerate(("train", "val")):
        for name in ("a", "b"):
            picture(folder / images.format(split) / f"{name}.png", i)
        path = folder / truths.format(split) / "a.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "data.yaml").write_text(yaml)


def yolo_detect(folder: Path) -> None:
    """Boxes."""
    _yolo(folder, "0 0.5 0.5 0.25 0.5\n1 0.1 0.2 0.2 0.4\n", _YAML)


def yolo_segment(folder: Path) -> None:
    """Polygons."""
    _yolo(folder, "0 0.1 0.1 0.5 0.1 0.5 0.5\n1 0.2 0.2 0.6 0.2 0.6 0.6 0.2 0.6\n", _YAML)


def yolo_pose(folder: Path) -> None:
    """Keypoints with visibility."""
    _yolo(folder, _POSE, _YAML + "kpt_shape: [3, 3]\nflip_idx: [0, 2, 1]\n")


def roboflow_yolo(folder: Path) -> None:
    """Splits first, then images and labels; paths that lead up."""
    yaml = "train: ../train/images\nval: ../val/images\nnc: 2\nnames: ['cat', 'dog']\n"
    _yolo(folder, "0 0.5 0.5 0.25 0.5\n", yaml, "{}/images", "{}/labels")


def retinanet(folder: Path) -> None:
    """A table without names of columns, and a table of classes."""
    for name in ("a.jpg", "b.png", "c.png"):
        picture(folder / "images" / name, 1)
    (folder / "train.csv").write_text("images/a.jpg,1,2,10,12,cat\nimages/b.png,0,0,24,16,dog\nimages/c.png,,,,,\n")
    (folder / "classes.csv").write_text("cat,0\ndog,1\n")


def csv_splits(folder: Path) -> None:
    """A table with a column of splits and a side instead of a corner."""
    for name in ("a.jpg", "b.png"):
        picture(folder / name, 1)
    rows = (
        "filename;width;height;class;x;y;w;h;split;note",
        "a.jpg;24;16;cat;1;2;5;6;train;x",
        "b.png;24;16;1;0;0;9;9;val;",
    )
    (folder / "annotations.csv").write_text("\n".join(rows))


def camvid(folder: Path) -> None:
    """Label images in a folder beside each split."""
    for i, split in enumerate(("train", "val")):
        for name in ("a", "b"):
            picture(folder / split / f"{name}.png", i)
            labels(folder / f"{split}annot" / f"{name}.png", i)


def images_and_masks(folder: Path) -> None:
    """Label images with a list of classes."""
    for name in ("a", "b"):
        picture(folder / "images" / f"{name}.jpg", 1)
        labels(folder / "masks" / f"{name}.png", 1)
    (folder / "classes.txt").write_text("0 background\n1 cat\n2 dog\n255 void\n")


SETS: dict[str, Callable[[Path], None]] = {
    "coco": coco,
    "coco_keypoints": coco_keypoints,
    "roboflow_coco": roboflow_coco,
    "voc": converted("voc"),
    "yolo": converted("yolo"),
    "yolo_detect": yolo_detect,
    "yolo_segment": yolo_segment,
    "yolo_pose": yolo_pose,
    "roboflow_yolo": roboflow_yolo,
    "csv": converted("csv"),
    "retinanet": retinanet,
    "csv_splits": csv_splits,
    "masks": converted("masks"),
    "camvid": camvid,
    "images_and_masks": images_and_masks,
    "folders": converted("folders"),
}
"""Makers of sets by name; each fills an empty folder."""


def make_all(folder: Path) -> dict[str, Path]:
    """All sets below a folder, by name."""
    made = {}
    for name, make in SETS.items():
        place = folder / name
        place.mkdir(parents=True)
        make(place)
        made[name] = place
    return made
