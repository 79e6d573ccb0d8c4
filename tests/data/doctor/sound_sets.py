"""Small sound sets in four formats, and how their files are changed."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 96, 128
NAMES = ("bolt", "nut", "washer")
SPLITS = ("train", "val")
FORMS = ("coco", "voc", "yolo", "csv")
_SLOTS = ((6, 8, 46, 40), (70, 10, 118, 38), (20, 52, 60, 88))
POINTS = ["head", "tail"]

Box = tuple[float, float, float, float]
Place = tuple[str, str, str, str, str]
"""Code, file and image below the set's folder, place in the file, split."""


@dataclass
class Shot:
    """One photograph: its name, and class and box of each object."""

    split: str
    stem: str
    seed: int
    things: list[tuple[int, Box]]


@dataclass
class Bench:
    """A set on the disk, open to be spoilt."""

    form: str
    folder: Path
    shots: dict[str, list[Shot]]
    names: tuple[str, ...] = NAMES
    scale: Callable[[Box], Box] = field(default=lambda box: box)
    first: int = 0

    def image(self, i: int, split: str = "train") -> str:
        """An image, below the set's folder."""
        folder = {"voc": "JPEGImages", "coco": split}.get(self.form, f"images/{split}")
        return f"{folder}/{self.shots[split][i].stem}.jpg"

    def source(self, i: int = 0, split: str = "train") -> str:
        """The annotation file of an image."""
        stem = self.shots[split][i].stem
        own = {"coco": f"annotations/instances_{split}.json", "csv": f"{split}.csv", "voc": f"Annotations/{stem}.xml"}
        return own.get(self.form, f"labels/{split}/{stem}.txt")

    @property
    def whole(self) -> str:
        """What stands for a whole split."""
        return {"voc": ".", "yolo": "data.yaml"}.get(self.form, self.source())

    def number(self, i: int, k: int, split: str = "train") -> int:
        """Number of the k-th object of an image among all of the split."""
        return sum(len(shot.things) for shot in self.shots[split][:i]) + k

    def where(self, i: int, k: int, key: str = "") -> str:
        """The place of the k-th object of an image in its file."""
        if self.form == "csv":
            return f"line {2 + sum(max(1, len(shot.things)) for shot in self.shots['train'][:i]) + k}"
        plain = {"coco": f"annotations[{self.number(i, k)}]", "voc": f"object[{k}]", "yolo": f"line {k + 1}"}
        return plain[self.form] + key

    def at(self, code: str, i: int, k: int, key: str = "", image: bool = True) -> Place:
        """A finding about an object of train."""
        return (code, self.source(i), self.where(i, k, key), self.image(i) if image else "", "train")

    def of_image(self, code: str, i: int, key: str = "", split: str = "train") -> Place:
        """A finding about an entry of an image."""
        where = {"coco": f"images[{i}]{key}", "csv": self.where(i, 0) if self.form == "csv" else ""}.get(self.form, "")
        return (code, self.source(i, split), where, self.image(i, split), split)

    def write(self) -> None:
        """Writes annotations; images where there are none yet."""
        for split, shots in self.shots.items():
            for i, shot in enumerate(shots):
                path = self.folder / self.image(i, split)
                path.parent.mkdir(parents=True, exist_ok=True)
                if not path.exists():
                    photograph(shot.seed).save(path, quality=90)
            {"coco": _coco, "voc": _voc, "yolo": _yolo, "csv": _csv}[self.form](self, split)
        if self.form == "yolo":
            names = "\n".join(f"  {i}: {name}" for i, name in enumerate(self.names))
            (self.folder / "data.yaml").write_text(f"train: images/train\nval: images/val\nnames:\n{names}\n")
        if self.form == "csv":
            rows = "".join(f"{name},{i}\n" for i, name in enumerate(self.names))
            (self.folder / "classes.csv").write_text(rows)

    def document(self, change: Callable[[dict[str, Any]], Any], split: str = "train") -> Any:
        """Changes a COCO file."""
        path = self.folder / self.source(0, split)
        document = json.loads(path.read_text())
        result = change(document)
        path.write_text(json.dumps(document))
        return result

    def lines(self, change: Callable[[list[str]], Any], path: str) -> None:
        """Changes the lines of a text file."""
        lines = (self.folder / path).read_text().splitlines()
        change(lines)
        (self.folder / path).write_text("".join(f"{line}\n" for line in lines))

    def xml(self, i: int, change: Callable[[ElementTree.Element], Any]) -> None:
        """Changes a VOC file."""
        path = self.folder / self.source(i)
        tree = ElementTree.parse(path)
        change(tree.getroot())
        tree.write(path)


def photograph(seed: int) -> Image.Image:
    """A picture like no other: blobs of colour at three scales."""
    rng = np.random.default_rng(seed)
    total = np.zeros((HEIGHT, WIDTH, 3))
    for cells in (3, 6, 12):
        coarse = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        total += np.asarray(coarse.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC), np.float64)
    return Image.fromarray((total / 3).astype(np.uint8))


def sound(form: str, folder: Path, count: int = 3) -> Bench:
    """A set without a defect, written."""
    shots: dict[str, list[Shot]] = {}
    for s, split in enumerate(SPLITS):
        shots[split] = [
            Shot(split, f"{split}_{i}", 1000 * s + i, [(k, _moved(_SLOTS[k], i)) for k in range(len(NAMES))])
            for i in range(count)
        ]
    bench = Bench(form, folder, shots)
    bench.write()
    return bench


def _moved(box: tuple[int, int, int, int], i: int) -> Box:
    x, y = i % 5, i % 3
    return (box[0] + x, box[1] + y, box[2] + x + i % 4, box[3] + y)


def _coco(bench: Bench, split: str) -> None:
    images, annotations = [], []
    for i, shot in enumerate(bench.shots[split], start=1):
        images.append({"id": i, "file_name": f"{shot.stem}.jpg", "height": HEIGHT, "width": WIDTH, "license": 3})
        for label, box in shot.things:
            x1, y1, x2, y2 = bench.scale(box)
            entry: dict[str, Any] = {"id": len(annotations) + 1, "image_id": i, "category_id": label + 1}
            entry |= {
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": abs((x2 - x1) * (y2 - y1)),
                "iscrowd": 0,
                "score": 0.5,
            }
            x1, y1, x2, y2 = box
            if x2 > x1 and y2 > y1 and x1 < WIDTH:
                entry["segmentation"] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
                entry["keypoints"], entry["num_keypoints"] = [x1 + 1, y1 + 1, 2, 0, 0, 0], 1
            annotations.append(entry)
    classes = [{"id": i, "name": n, "supercategory": "part", "keypoints": POINTS} for i, n in enumerate(bench.names, 1)]
    path = bench.folder / "annotations" / f"instances_{split}.json"
    path.parent.mkdir(exist_ok=True)
    header = {"info": {"year": 2024}}
    path.write_text(json.dumps(header | {"images": images, "annotations": annotations, "categories": classes}))


def _voc(bench: Bench, split: str) -> None:
    for folder in ("Annotations", "ImageSets/Main"):
        (bench.folder / folder).mkdir(parents=True, exist_ok=True)
    for shot in bench.shots[split]:
        root = ElementTree.Element("annotation")
        ElementTree.SubElement(root, "filename").text = f"{shot.stem}.jpg"
        size = ElementTree.SubElement(root, "size")
        for key, value in (("width", WIDTH), ("height", HEIGHT), ("depth", 3)):
            ElementTree.SubElement(size, key).text = str(value)
        for label, box in shot.things:
            thing = ElementTree.SubElement(root, "object")
            ElementTree.SubElement(thing, "name").text = bench.names[label]
            ElementTree.SubElement(thing, "truncated").text = "1"
            ElementTree.SubElement(thing, "difficult").text = "0"
            corners = ElementTree.SubElement(thing, "bndbox")
            values = zip(("xmin", "ymin", "xmax", "ymax"), bench.scale(box), (1, 1, 0, 0), strict=True)
            for key, value, shift in values:
                ElementTree.SubElement(corners, key).text = repr(value + shift * (1 - bench.first))
        ElementTree.ElementTree(root).write(bench.folder / "Annotations" / f"{shot.stem}.xml")
    stems = "".join(f"{shot.stem}\n" for shot in bench.shots[split])
    (bench.folder / "ImageSets/Main" / f"{split}.txt").write_text(stems)


def _yolo(bench: Bench, split: str) -> None:
    folder = bench.folder / "labels" / split
    folder.mkdir(parents=True, exist_ok=True)
    for shot in bench.shots[split]:
        lines = []
        for label, (x1, y1, x2, y2) in shot.things:
            centred = ((x1 + x2) / 2 / WIDTH, (y1 + y2) / 2 / HEIGHT, (x2 - x1) / WIDTH, (y2 - y1) / HEIGHT)
            lines.append(" ".join(map(repr, (label, *bench.scale(centred)))))
        (folder / f"{shot.stem}.txt").write_text("".join(f"{line}\n" for line in lines))


def _csv(bench: Bench, split: str) -> None:
    with (bench.folder / f"{split}.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax"])
        for i, shot in enumerate(bench.shots[split]):
            for label, box in shot.things or [(-1, ("",) * 4)]:
                name = bench.names[label] if label >= 0 else ""
                values = bench.scale(box) if label >= 0 else box  # type: ignore[arg-type]  # an empty row
                writer.writerow([bench.image(i, split), WIDTH, HEIGHT, name, *values])
