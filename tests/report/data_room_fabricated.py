"""A small set on disk with everything in it that pages about data can show, right and wrong."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from sightline.data.findings import Finding, Findings
from sightline.data.formats.layouts import recognise
from sightline.data.tables import Tables

EVIL = '猫 <b> "'
RLE = {"size": [40, 60], "counts": [100, 200, 2100]}
ANNOTATIONS: list[dict[str, Any]] = [
    {"image_id": 1, "category_id": 1, "bbox": [10, 5, 20, 30], "segmentation": [[10, 5, 30, 5, 30, 35, 10, 35]]},
    {"image_id": 1, "category_id": 2, "bbox": [0, 0, 3, 40], "segmentation": RLE, "iscrowd": 1},
    {"image_id": 2, "category_id": 1, "bbox": [500, 10, 20, 20]},
    {"image_id": 2, "category_id": 1, "bbox": [30, 10, 0, 20]},
    {"image_id": 3, "category_id": 3, "bbox": [5, 5, 30, 30], "keypoints": [10, 10, 2, 20, 20, 1, 0, 0, 0]},
]
CATEGORIES: list[dict[str, Any]] = [
    {"id": 1, "name": EVIL},
    {"id": 2, "name": "dog"},
    {"id": 3, "name": "person", "keypoints": ["nose", "eye", "ear"], "skeleton": [[1, 2], [2, 3], [3, 9]]},
]
OUTSIDE = Finding("box-outside", "the box <is> outside", "set.json", "annotations[2].bbox", split="train", row=2)


def write_set(folder: Path) -> Path:
    """Three pictures that can be read and one that cannot."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "train").mkdir()
    images = []
    for number in (1, 2, 3, 4):
        draw = np.random.default_rng(number)
        path = folder / "train" / f"{number}.png"
        Image.fromarray(draw.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(path)
        images.append({"id": number, "file_name": path.name, "height": 40, "width": 60})
    (folder / "train" / "4.png").write_bytes(b"no picture")
    annotations = [{"id": n, "iscrowd": 0, "area": 100.0, **entry} for n, entry in enumerate(ANNOTATIONS, start=1)]
    content = {"images": images, "annotations": annotations, "categories": CATEGORIES}
    (folder / "annotations" / "instances_train.json").write_text(json.dumps(content))
    return folder


def read_tables(folder: Path) -> Mapping[str, Tables]:
    """The splits of a set as they are written."""
    return {split: reader(Findings()) for split, reader in recognise(folder).readers.items()}
