"""Small sound sets in four formats, and every defect that can be planted in them, each with where it must be found."""

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


# Defects. Each takes a set and the number of a photograph of train, plants one, and gives what must be found.

Plant = Callable[[Bench, int], list[Place]]


def _thing(code: str, box: Box) -> Plant:
    """A box that is another."""

    def plant(bench: Bench, i: int) -> list[Place]:
        label, _ = bench.shots["train"][i].things[1]
        bench.shots["train"][i].things[1] = (label, box)
        bench.write()
        return [bench.at(code, i, 1)]

    return plant


def _all(code: str, scale: Callable[[Box], Box]) -> Plant:
    """All boxes in another convention, in both splits."""

    def plant(bench: Bench, _: int) -> list[Place]:
        bench.scale = scale
        bench.write()
        sources = [bench.whole, bench.whole.replace("train", "val")]
        pairs = zip(SPLITS, sources, strict=True)
        return [(code, source, "", bench.image(0, split), split) for split, source in pairs]

    return plant


def _again(bench: Bench, i: int) -> list[Place]:
    bench.shots["train"][i].things.append(bench.shots["train"][i].things[0])
    bench.write()
    return [bench.at("annotation-duplicate", i, 3)]


def _empty(bench: Bench, i: int) -> list[Place]:
    bench.shots["train"][i].things = []
    bench.write()
    return [bench.of_image("image-empty", i)]


def _absent(bench: Bench, _: int) -> list[Place]:
    for shot in bench.shots["val"]:
        shot.things = [(min(label, 1), box) for label, box in shot.things]
    bench.write()
    return [("class-absent", bench.whole.replace("train", "val"), "categories", "", "val")]


def _unused(bench: Bench, _: int) -> list[Place]:
    bench.names = (*NAMES, "screw")
    bench.write()
    return [("class-unused", bench.whole, "categories", "", "")]


def _removed(bench: Bench, i: int) -> list[Place]:
    (bench.folder / bench.image(i)).unlink()
    if bench.form == "voc":
        return [("image-missing", bench.source(i), "", "", "train")]
    if bench.form == "yolo":
        return [("image-missing", bench.source(i), "", "", "train")]
    return [bench.of_image("image-missing", i, ".file_name")]


def _renamed(bench: Bench, i: int) -> list[Place]:
    path = bench.folder / bench.image(i)
    path.rename(path.with_name(path.name.upper()))
    file = str(path.with_name(path.name.upper()).relative_to(bench.folder))
    found = bench.of_image("image-letter-case", i, ".file_name")
    return [(*found[:3], file, "train")]


def _unlisted(bench: Bench, i: int) -> list[Place]:
    path = Path(bench.image(i)).with_name(f"extra_{i}.jpg")
    photograph(5000 + i).save(bench.folder / path)
    return [("image-unlisted", str(path), "", str(path), "")]


def _cut(bench: Bench, i: int) -> list[Place]:
    path = bench.folder / bench.image(i)
    path.write_bytes(path.read_bytes()[:-600])
    return [("image-damaged", bench.image(i), "", bench.image(i), "train")]


def _broken_header(bench: Bench, i: int) -> list[Place]:
    (bench.folder / bench.image(i)).write_bytes(b"no picture")
    return [("image-damaged", bench.image(i), "", bench.image(i), "train")]


def _frames(bench: Bench, i: int) -> list[Place]:
    path = bench.folder / bench.image(i)
    frames = [photograph(6000 + 2 * i), photograph(6001 + 2 * i)]
    frames[0].save(path.with_suffix(".gif"), save_all=True, append_images=frames[1:])
    path.unlink()
    gif = str(Path(bench.image(i)).with_suffix(".gif"))
    for split in ("train",):
        if bench.form == "coco":
            bench.document(lambda d: d["images"][i].update(file_name=Path(gif).name), split)
        if bench.form == "csv":
            bench.lines(lambda lines: _replace(lines, bench.image(i), gif), bench.source(i))
    if bench.form == "voc":
        bench.xml(i, lambda root: setattr(root.find("filename"), "text", Path(gif).name))
    return [("image-animated", gif, "", gif, "train")]


def _replace(lines: list[str], old: str, new: str) -> None:
    lines[:] = [line.replace(old, new) for line in lines]


def _copies(code: str, split: str) -> Plant:
    """The photograph shown again: the same file, or darker."""

    def plant(bench: Bench, i: int) -> list[Place]:
        one, other = bench.folder / bench.image(i), bench.folder / bench.image(i + 1, split)
        if "identical" in code:
            other.write_bytes(one.read_bytes())
        else:
            picture = np.asarray(photograph(bench.shots["train"][i].seed), np.float64) * 0.85
            Image.fromarray(picture.astype(np.uint8)).save(other, quality=60)
        return [(code, bench.image(i), "", bench.image(i + 1, split), "train")]

    return plant


def _size(code: str, height: int, width: int) -> Plant:
    """Another size in the annotation; none where it is 0."""

    def plant(bench: Bench, i: int) -> list[Place]:
        if bench.form == "coco":
            sides = {"height": height, "width": width} if height else {"height": None, "width": None}
            bench.document(lambda d: d["images"][i].update(sides))
        elif bench.form == "voc":
            sizes = (("size/height", str(height)), ("size/width", str(width)))
            bench.xml(i, lambda root: [setattr(root.find(key), "text", text) for key, text in sizes])
        else:
            own, new = f"{bench.image(i)},{WIDTH},{HEIGHT}", f"{bench.image(i)},{width or ''},{height or ''}"
            bench.lines(lambda lines: _replace(lines, own, new), bench.source(i))
        return [bench.of_image(code, i)]

    return plant


def _annotation(code: str, key: str, **values: Any) -> Plant:
    """Other values in an annotation of COCO."""

    def plant(bench: Bench, i: int) -> list[Place]:
        number = bench.number(i, 0)
        bench.document(lambda d: d["annotations"][number].update(values))
        by_reader = code in ("value-malformed", "number-not-finite", "polygon-short", "keypoints-unnamed")
        by_reader = by_reader or code in ("class-unknown", "image-id-unknown")
        return [bench.at(code, i, 0, key, image=not by_reader)]

    return plant


def _text(code: str, old: str, new: str, key: str) -> Plant:
    """Another text in the first annotation of an image of COCO."""

    def plant(bench: Bench, i: int) -> list[Place]:
        path = bench.folder / bench.source(i)
        text, number = path.read_text(), bench.number(i, 0)
        begin = text.index('{"id": ' + str(number + 1) + ', "image_id"')
        path.write_text(text[:begin] + text[begin:].replace(old, new, 1))
        return [bench.at(code, i, 0, key, image=False)]

    return plant


def _appended(code: str, key: str, **values: Any) -> Plant:
    """One more annotation of COCO, the first with other values; None takes a key away."""

    def plant(bench: Bench, i: int) -> list[Place]:
        def change(document: dict[str, Any]) -> int:
            entry = document["annotations"][bench.number(i, 0)] | {"bbox": [90, 60, 30, 20], "area": 600}
            entry |= {"segmentation": [], "id": 5000 + len(document["annotations"])} | values
            document["annotations"].append({k: v for k, v in entry.items() if v is not None})
            return len(document["annotations"]) - 1

        number = bench.document(change)
        if code == "annotation-id-missing":
            return [(code, bench.source(), "", "", "train")]
        return [(code, bench.source(), f"annotations[{number}]{key}", "", "train")]

    return plant


def _image_id_again(bench: Bench, i: int) -> list[Place]:
    photograph(7000 + i).save(bench.folder / f"train/more_{i}.jpg")

    def change(document: dict[str, Any]) -> int:
        entry = {"id": i + 1, "file_name": f"more_{i}.jpg", "height": HEIGHT, "width": WIDTH}
        document["images"].append(entry)
        return len(document["images"]) - 1

    number, image = bench.document(change), f"train/more_{i}.jpg"
    return [
        ("image-id-duplicate", bench.source(), f"images[{number}].id", image, "train"),
        ("image-empty", bench.source(), f"images[{number}]", image, "train"),
    ]


def _image_again(bench: Bench, i: int) -> list[Place]:
    def change(document: dict[str, Any]) -> int:
        document["images"].append(document["images"][i] | {"id": 900 + i})
        document["annotations"][bench.number(i, 2)]["image_id"] = 900 + i
        return len(document["images"]) - 1

    number = bench.document(change)
    return [("image-listed-twice", bench.source(), f"images[{number}]", bench.image(i), "train")]


def _class_again(bench: Bench, i: int) -> list[Place]:
    def change(document: dict[str, Any]) -> None:
        document["categories"].append(document["categories"][0] | {"id": 9})
        document["annotations"][bench.number(i, 0)]["category_id"] = 9

    bench.document(change)
    return [("class-duplicate", bench.source(), "categories[3].name", "", "train")]


def _off_by_one(bench: Bench, _: int) -> list[Place]:
    def change(document: dict[str, Any]) -> None:
        for entry in document["annotations"]:
            entry["category_id"] -= 1

    bench.document(change)
    return [("class-ids-off-by-one", bench.source(), "annotations[].category_id", "", "train")]


def _half_a_file(bench: Bench, _: int) -> list[Place]:
    path = bench.folder / bench.source()
    path.write_text(path.read_text()[:-100])
    return [("file-unreadable", bench.source(), "", "", "train")]


# VOC, YOLO and CSV: their own.


def _xml(code: str, key: str, where: str, text: str | None) -> Plant:
    """Another text of an element of an object of VOC; None takes the element away."""

    def plant(bench: Bench, i: int) -> list[Place]:
        def change(root: ElementTree.Element) -> None:
            parent = root.findall("object")[1].find(key.rpartition("/")[0] or ".")
            element = None if parent is None else parent.find(key.rpartition("/")[2])
            if parent is None or element is None:
                raise AssertionError(key)
            element.text = text
            if text is None:
                parent.remove(element)

        bench.xml(i, change)
        return [bench.at(code, i, 1, where, image=False)]

    return plant


def _half_an_xml(bench: Bench, i: int) -> list[Place]:
    path = bench.folder / bench.source(i)
    path.write_text(path.read_text()[:-30])
    return [("file-unreadable", bench.source(i), "", bench.image(i), "train")]


def _no_xml(bench: Bench, i: int) -> list[Place]:
    (bench.folder / bench.source(i)).unlink()
    return [("annotation-missing", "ImageSets/Main/train.txt", f"entry {i + 1}", bench.image(i), "train")]


def _stem_again(bench: Bench, i: int) -> list[Place]:
    path = "ImageSets/Main/train.txt"
    bench.lines(lambda lines: lines.append(bench.shots["train"][i].stem), path)
    number = len((bench.folder / path).read_text().splitlines())
    return [("image-listed-twice", path, f"entry {number}", "", "train")]


def _other_filename(bench: Bench, i: int) -> list[Place]:
    bench.xml(i, lambda root: setattr(root.find("filename"), "text", "IMG_1.jpg"))
    return [("image-filename-differs", bench.source(i), "filename", bench.image(i), "train")]


def _from_zero(bench: Bench, _: int) -> list[Place]:
    bench.first = 1
    label, (_, y1, x2, y2) = bench.shots["train"][0].things[0]
    bench.shots["train"][0].things[0] = (label, (0, y1, x2, y2))
    bench.write()
    return [("boxes-count-from-zero", ".", "", "", split) for split in SPLITS]


def _line(code: str, *columns: tuple[int, str], short: bool = False) -> Plant:
    """Other values in the line of an object, by number of column; ``short`` takes the last one away."""

    def plant(bench: Bench, i: int) -> list[Place]:
        mark = " " if bench.form == "yolo" else ","

        def change(lines: list[str]) -> None:
            number = int(bench.where(i, 1).split()[1]) - 1
            values = lines[number].split(mark)
            for column, text in columns:
                values[column] = text
            lines[number] = mark.join(values[:-1] if short else values)

        bench.lines(change, bench.source(i))
        file, where, image = bench.at(code, i, 1)[1:4]
        named = image if bench.form == "yolo" or code == "class-unknown" else ""
        return [(code, file, where, named, "train")]

    return plant


def _shifted(bench: Bench, _: int) -> list[Place]:
    if bench.form == "csv":
        for split in SPLITS:
            for i, name in enumerate(NAMES, start=1):
                bench.lines(lambda lines, name=name, i=i: _replace(lines, f",{name},", f",{i},"), f"{split}.csv")
        return [("class-ids-off-by-one", f"{split}.csv", "", "", split) for split in SPLITS]
    for i in range(len(bench.shots["train"])):
        bench.lines(
            lambda lines: lines.__setitem__(slice(None), [f"{int(t[0]) + 1}{t[1:]}" for t in lines]), bench.source(i)
        )
    return [("class-ids-off-by-one", "data.yaml", "names", "", "train")]


def _bytes(bench: Bench, i: int) -> list[Place]:
    path = bench.folder / bench.source(i)
    path.write_bytes(path.read_bytes() + b"\xff\xfe\n")
    image = bench.image(i) if bench.form == "yolo" else ""
    return [("file-unreadable", bench.source(i), "", image, "train")]


def _name_again(bench: Bench, i: int) -> list[Place]:
    bench.names = (*NAMES, "bolt")
    bench.shots["train"][i].things[0] = (3, bench.shots["train"][i].things[0][1])
    bench.write()
    return [("class-duplicate", "data.yaml", "names", "", split) for split in SPLITS]


def _as_list(bench: Bench) -> str:
    """Makes train a list of images instead of a folder."""
    path = bench.folder / "train.txt"
    if not path.exists():
        path.write_text("".join(f"{bench.image(i)}\n" for i in range(len(bench.shots["train"]))))
        bench.lines(lambda lines: _replace(lines, "train: images/train", "train: train.txt"), "data.yaml")
    return path.name


def _listed(code: str) -> Plant:
    def plant(bench: Bench, i: int) -> list[Place]:
        file, where = _as_list(bench), f"line {i + 1}"
        if code == "image-listed-twice":
            bench.lines(lambda lines: lines.insert(i, lines[i]), file)
            return [(code, file, f"line {i + 2}", "", "train")]
        if code == "image-unlisted":
            return _unlisted(bench, i)
        if code == "image-missing":
            (bench.folder / bench.image(i)).unlink()
            return [(code, file, where, bench.image(i), "train")]
        return [(code, file, where, _renamed(bench, i)[0][3], "train")]

    return plant


def _boxes(box: Box) -> Box:
    return (box[0], box[1], box[2] - box[0], box[3] - box[1])


def _sized(box: Box) -> Box:
    return (box[0] / WIDTH, box[1] / HEIGHT, box[2] / WIDTH, box[3] / HEIGHT)


_BOXES: dict[str, Plant] = {
    "box-clipped": _thing("box-clipped", (90, 10, 140, 38)),
    "box-on-border": _thing("box-on-border", (90, 10, WIDTH + 0.5, 38)),
    "box-no-area": _thing("box-no-area", (90, 10, 90, 38)),
    "box-reversed": _thing("box-reversed", (118, 10, 80, 38)),
    "box-outside": _thing("box-outside", (140, 10, 160, 38)),
    "box-aspect": _thing("box-aspect", (20, 45, 124, 48)),
    "annotation-duplicate": _again,
    "image-empty": _empty,
    "class-absent": _absent,
    "images-identical": _copies("images-identical", "train"),
    "images-identical-across": _copies("images-identical-across", "val"),
    "images-similar": _copies("images-similar", "train"),
    "images-similar-across": _copies("images-similar-across", "val"),
}
_SIZES: dict[str, Plant] = {
    "image-size-differs": _size("image-size-differs", 2 * HEIGHT, 2 * WIDTH),
    "image-size-off": _size("image-size-off", HEIGHT + 1, WIDTH),
    "image-size-missing": _size("image-size-missing", 0, 0),
    "image-missing": _removed,
    "image-letter-case": _renamed,
    "image-unlisted": _unlisted,
    "image-damaged": _cut,
    "image-animated": _frames,
}
_EMPTY_RUNS = {"size": [HEIGHT, WIDTH], "counts": [HEIGHT * WIDTH]}

PLANTS: dict[str, dict[str, Plant]] = {
    "coco": _BOXES
    | _SIZES
    | {
        "key-missing": _appended("key-missing", "", bbox=None),
        "value-malformed": _annotation("value-malformed", ".bbox", bbox="1 2 3 4"),
        "number-not-finite": _text("number-not-finite", '"bbox": [', '"bbox": [NaN, 1, 1, 1], "was": [', ".bbox"),
        "annotation-id-duplicate": _appended("annotation-id-duplicate", ".id", id=1),
        "annotation-id-missing": _appended("annotation-id-missing", "", id=None),
        "image-id-unknown": _annotation("image-id-unknown", ".image_id", image_id=999),
        "class-unknown": _annotation("class-unknown", ".category_id", category_id=77),
        "image-id-duplicate": _image_id_again,
        "image-listed-twice": _image_again,
        "class-duplicate": _class_again,
        "class-unused": _unused,
        "crowd-without-rle": _annotation("crowd-without-rle", "", iscrowd=1),
        "polygon-short": _text(
            "polygon-short", '"segmentation": [[', '"segmentation": [[1, 2, 3, 4], [', ".segmentation"
        ),
        "mask-size-differs": _annotation("mask-size-differs", "", segmentation={"size": [5, 5], "counts": [25]}),
        "mask-malformed": _annotation("mask-malformed", "", segmentation=[[1, 2, 3, 4, 5, 6, 7]]),
        "mask-empty": _annotation("mask-empty", "", segmentation=_EMPTY_RUNS),
        "mask-box-differs": _annotation("mask-box-differs", "", segmentation=[[90, 50, 99, 50, 95, 70]]),
        "keypoint-outside": _annotation("keypoint-outside", "", keypoints=[9, 9, 1, 200, 3, 2]),
        "keypoints-unnamed": _annotation("keypoints-unnamed", ".keypoints", keypoints=[9, 9, 1] * 3),
        "caption-ignored": _appended("caption-ignored", "", bbox=None, caption="three parts"),
        # The last one: other edits write the whole file anew.
        "json-duplicate-key": _text("json-duplicate-key", '"bbox": ', '"bbox": [1, 1, 2, 2], "bbox": ', ".bbox"),
    },
    "voc": _BOXES
    | _SIZES
    | {
        "key-missing": _xml("key-missing", "name", "", None),
        "value-malformed": _xml("value-malformed", "bndbox/xmin", ".bndbox.xmin", "left"),
        "number-not-finite": _xml("number-not-finite", "bndbox/xmin", ".bndbox.xmin", "nan"),
        "file-unreadable": _half_an_xml,
        "annotation-missing": _no_xml,
        "image-listed-twice": _stem_again,
        "image-filename-differs": _other_filename,
    },
    "yolo": _BOXES
    | {
        "value-malformed": _line("value-malformed", short=True),
        "number-not-finite": _line("number-not-finite", (2, "inf")),
        "class-unknown": _line("class-unknown", (0, "7")),
        "image-missing": _removed,
        "image-damaged": _broken_header,
        "file-unreadable": _bytes,
        "class-unused": _unused,
        "class-duplicate": _name_again,
    },
    "csv": _BOXES
    | _SIZES
    | {
        "key-missing": _line("key-missing", (3, "")),
        "value-malformed": _line("value-malformed", (4, "left")),
        "number-not-finite": _line("number-not-finite", (4, "-inf")),
        "class-unknown": _line("class-unknown", (3, "gasket")),
        "class-unused": _unused,
    },
    "yolo list": {
        code: _listed(code) for code in ("image-listed-twice", "image-unlisted", "image-missing", "image-letter-case")
    },
}
"""By format and code; several of these can be planted in one set, each in its own photograph."""

OF_ALL: dict[str, dict[str, Plant]] = {
    "coco": {
        "file-unreadable": _half_a_file,
        "class-ids-off-by-one": _off_by_one,
        "boxes-are-corners": _all("boxes-are-corners", lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])),
        "boxes-are-normalised": _all("boxes-are-normalised", _sized),
    },
    "voc": {
        "boxes-are-sizes": _all("boxes-are-sizes", _boxes),
        "boxes-are-normalised": _all("boxes-are-normalised", _sized),
        "boxes-count-from-zero": _from_zero,
    },
    "yolo": {
        "class-ids-off-by-one": _shifted,
        "boxes-are-pixels": _all(
            "boxes-are-pixels", lambda b: (b[0] * WIDTH, b[1] * HEIGHT, b[2] * WIDTH, b[3] * HEIGHT)
        ),
        "boxes-wrong-side": _all(
            "boxes-wrong-side",
            lambda b: (b[0] * WIDTH / HEIGHT, b[1] * HEIGHT / WIDTH, b[2] * WIDTH / HEIGHT, b[3] * HEIGHT / WIDTH),
        ),
        "boxes-are-corners": _all(
            "boxes-are-corners", lambda b: (b[0] - b[2] / 2, b[1] - b[3] / 2, b[0] + b[2] / 2, b[1] + b[3] / 2)
        ),
    },
    "csv": {
        "file-unreadable": _bytes,
        "class-ids-off-by-one": _shifted,
        "boxes-are-sizes": _all("boxes-are-sizes", _boxes),
        "boxes-are-normalised": _all("boxes-are-normalised", _sized),
    },
}
"""Defects of a whole split or set."""
