"""Every defect that can be planted in a sound set: it spoils one photograph of train and gives what must be found."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image
from sound_sets import HEIGHT, NAMES, SPLITS, WIDTH, Bench, Box, Place, photograph

Plant = Callable[[Bench, int], list[Place]]


def _thing(code: str, box: Box) -> Plant:
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
    if bench.form in ("voc", "yolo"):
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
    if bench.form == "coco":
        bench.document(lambda d: d["images"][i].update(file_name=Path(gif).name))
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
        by_reader = code in ("value-malformed", "keypoints-unnamed", "class-unknown", "image-id-unknown")
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

    for split in SPLITS:
        bench.document(change, split)
    return [
        ("class-ids-off-by-one", bench.source(0, split), "annotations[].category_id", "", split) for split in SPLITS
    ]


def _half_a_file(bench: Bench, _: int) -> list[Place]:
    (bench.folder / bench.source()).write_text((bench.folder / bench.source()).read_text()[:-100])
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
        return [bench.at(code, i, 1, image=bench.form == "yolo" or code == "class-unknown")]

    return plant


def _shifted(bench: Bench, _: int) -> list[Place]:
    if bench.form == "csv":
        for split in SPLITS:
            for i, name in enumerate(NAMES, start=1):
                bench.lines(lambda lines, name=name, i=i: _replace(lines, f",{name},", f",{i},"), f"{split}.csv")
        return [("class-ids-off-by-one", f"{split}.csv", "", "", split) for split in SPLITS]
    for split in SPLITS:
        for i in range(len(bench.shots[split])):
            bench.lines(
                lambda lines: lines.__setitem__(slice(None), [f"{int(t[0]) + 1}{t[1:]}" for t in lines]),
                bench.source(i, split),
            )
    return [("class-ids-off-by-one", "data.yaml", "names", "", split) for split in SPLITS]


def _bytes(bench: Bench, i: int) -> list[Place]:
    with (bench.folder / bench.source(i)).open("ab") as file:
        file.write(b"\xff\xfe\n")
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
    "box-tiny": _thing("box-tiny", (20, 45, 22, 48)),
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
            "boxes-wrong-side", lambda b: tuple(np.multiply(b, (WIDTH / HEIGHT, HEIGHT / WIDTH) * 2).tolist())
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
