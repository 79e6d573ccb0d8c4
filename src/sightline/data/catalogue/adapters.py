"""COCO annotations beside the files of the two sets that have forms of their own.

Penn-Fudan (cis.upenn.edu/~jshi/ped_html): ``PNGImages/NAME.png`` and ``PedMasks/NAME_mask.png``, whose value k marks
the k-th person. Masks and boxes come from there; the text files in ``Annotation/`` say the same boxes and are not read.

Oxford-IIIT Pet (Parkhi and others, CVPR 2012): ``annotations/trainval.txt`` with a name and the number of its breed on
each line, ``annotations/xmls/NAME.xml`` with the box of the head in VOC's XML, ``images/NAME.jpg``. Classes are the
breeds, with their published numbers as ids. An image without a box is left out and counted: its head is there and
nobody has marked it, so that it would teach what is false. The test list has no boxes; trimaps are not used.

Neither set publishes a split into train and val with boxes. One image in five goes to val: the first fifth in the order
of the SHA-256 of "sightline/NAME", which is the same on every machine and does not change when files are added.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from sightline.classes import Classes, Size
from sightline.data.coco_masks import encode
from sightline.data.formats import coco_write
from sightline.data.formats.masks import CLASSES_FILE
from sightline.data.image_header import read_size
from sightline.errors import DataError
from sightline.files import write_atomically

NO_BOX = "images without a box of the head left out"
NO_IMAGE = "images that cannot be read left out"
NO_AREA = "boxes without an area in the image dropped"
_VAL_SHARE = 5


def name_classes(folder: Path, names: Sequence[str]) -> None:
    """Names the values of a set's label images, from 0, in ``classes.txt``; the value after the last is void."""
    lines = [f"{value} {name}\n" for value, name in enumerate([*names, "void"])]
    write_atomically(folder / CLASSES_FILE, "".join(lines))


def adapt_pennfudan(folder: Path) -> Counter[str]:
    """Writes ``annotations/instances_{train,val}.json`` for the persons of Penn-Fudan, with masks and boxes.

    Args:
        folder: the unpacked set.

    Returns:
        What was left out, counted by reason: nothing.

    Raises:
        DataError: a mask is missing, damaged or of another size than its image, or there is no image at all.
    """
    pictures = {path.stem: path for path in sorted((folder / "PNGImages").glob("*.png"))}
    examples = [
        _Example(f"PNGImages/{path.name}", *_persons(path, folder / "PedMasks" / f"{stem}_mask.png"))
        for stem, path in pictures.items()
    ]
    _write_splits(folder, Classes(("person",)), examples)
    return Counter()


def adapt_pets(folder: Path) -> Counter[str]:
    """Writes ``annotations/instances_{train,val}.json`` for the heads of Oxford-IIIT Pet's trainval list.

    Args:
        folder: the unpacked set.

    Returns:
        What was left out, counted by reason.

    Raises:
        DataError: the list or an annotation is damaged, or no image is left.
    """
    found: Counter[str] = Counter()
    breeds = _breeds(folder / "annotations" / "trainval.txt")
    boxes: dict[str, list[list[float]]] = {}
    for stem in breeds:
        xml = folder / "annotations" / "xmls" / f"{stem}.xml"
        if xml.is_file():
            boxes[stem] = _boxes(xml)
    found[NO_BOX] = len(breeds) - len(boxes)
    # VOC counts pixels from 1; a coordinate below 1 shows that these files do not.
    from_one = not any(value < 1 for of_image in boxes.values() for box in of_image for value in box[:2])
    examples = []
    for stem, of_image in boxes.items():
        try:
            size = read_size(folder / "images" / f"{stem}.jpg")
        except DataError:
            found[NO_IMAGE] += 1
            continue
        objects = [_head(box, size, breeds[stem], from_one=from_one) for box in of_image]
        found[NO_AREA] += objects.count(None)
        examples.append(_Example(f"{stem}.jpg", size, [head for head in objects if head is not None]))
    names = {number: stem.rpartition("_")[0] for stem, number in breeds.items()}
    ids = tuple(sorted(names))
    _write_splits(folder, Classes(tuple(names[number] for number in ids), ids), examples)
    return +found


@dataclass(frozen=True)
class _Example:
    """One image and its objects, as COCO's annotations without ids."""

    file_name: str
    size: Size
    objects: list[dict[str, Any]]


def _write_splits(folder: Path, classes: Classes, examples: Sequence[_Example]) -> None:
    if not examples:
        raise DataError("no image was found", place=folder, cause="it is another archive than the catalogue means")
    drawn = sorted(examples, key=lambda e: hashlib.sha256(f"sightline/{Path(e.file_name).stem}".encode()).digest())
    val = {example.file_name for example in drawn[: len(drawn) // _VAL_SHARE]}
    for split in ("train", "val"):
        images, annotations = [], []
        for number, example in enumerate(examples, start=1):
            if (example.file_name in val) == (split == "val"):
                height, width = example.size
                images.append({"id": number, "file_name": example.file_name, "height": height, "width": width})
                annotations += [{"image_id": number, "iscrowd": 0} | one for one in example.objects]
        numbered = [{"id": number} | one for number, one in enumerate(annotations, start=1)]
        path = folder / "annotations" / f"instances_{split}.json"
        coco_write.write(path, coco_write.categories_of(classes), images, numbered)


def _persons(picture: Path, mask: Path) -> tuple[Size, list[dict[str, Any]]]:
    """The size of an image and the persons that its mask marks."""
    size = read_size(picture)
    values = _values(mask)
    if values.shape != size:
        raise DataError(f"has the size {values.shape} where the image has {size}", place=mask)
    persons = []
    for number in np.unique(values[values > 0]):
        marked = values == number
        rows, columns = np.flatnonzero(marked.any(axis=1)), np.flatnonzero(marked.any(axis=0))
        left, top, right, bottom = (int(v) for v in (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        persons.append(
            {
                "category_id": 1,
                "bbox": [left, top, right - left, bottom - top],
                "area": int(marked.sum()),
                "segmentation": encode(marked),
            }
        )
    return size, persons


def _values(mask: Path) -> NDArray[np.uint8]:
    """(H, W) of a grey or palette image: its stored values, not its colours."""
    try:
        with Image.open(mask) as image:
            values = np.asarray(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"the mask cannot be read ({error})", place=mask, cause="it is missing or damaged") from error
    if values.ndim != 2 or values.dtype != np.uint8:
        raise DataError("a mask must have one byte a pixel", place=mask, cause="it is of another data set")
    return values


def _breeds(path: Path) -> dict[str, int]:
    """The number of the breed of each image that a list names."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines()]
        return {line[0]: int(line[1]) for line in lines if line and not line[0].startswith("#")}
    except (OSError, ValueError, IndexError) as error:
        raise DataError(f"the list of images cannot be read ({error})", place=path) from error


def _boxes(path: Path) -> list[list[float]]:
    """xmin, ymin, xmax, ymax of each object, as written."""
    corners = ("xmin", "ymin", "xmax", "ymax")
    try:
        content = path.read_bytes()
        if b"<!" in content:  # document types and entities, which annotations do not need
            raise DataError("document type declarations are refused", place=path)
        found = ElementTree.fromstring(content).iter("bndbox")
        return [[float(box.findtext(corner) or "") for corner in corners] for box in found]
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise DataError(f"the annotation cannot be read ({error})", place=path) from error


def _head(box: list[float], size: Size, breed: int, *, from_one: bool) -> dict[str, Any] | None:
    """The object of one box, clipped to its image; None where nothing of it is left."""
    height, width = size
    left, top = (max(value - from_one, 0.0) for value in box[:2])
    right, bottom = min(box[2], width), min(box[3], height)
    if not (right > left and bottom > top):
        return None
    sides = [left, top, right - left, bottom - top]
    return {"category_id": breed, "bbox": sides, "area": sides[2] * sides[3]}
