"""Pascal VOC folders, written: Annotations/*.xml, JPEGImages/, ImageSets/, and masks as label images.

VOC counts pixels from 1 and includes the last one: a box (x1, y1, x2, y2) is written as (x1 + 1, y1 + 1, x2, y2).
Fractions of a pixel are written as decimals, where the development kit knows whole numbers only, so that nothing is
lost. No coordinate comes out below 1, by which readers would take the whole folder for one that counts from 0: boxes
are clipped to their images.

In ``SegmentationObject/`` the value k is the k-th object of the XML file, later objects on top; in
``SegmentationClass/`` a class has its place among the sorted names, from 1, and a crowd is void (255). VOC has no
crowds: they are written as difficult. Sub-folders become part of the name: ``a/b.jpg`` is ``a__b.jpg``.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.formats import writing
from sightline.data.formats.label_images import VOID, mask_of, plain_entry, size_of, write_labels
from sightline.data.formats.stems import Stems
from sightline.data.formats.voc import FLAGS, OTHER_SOURCE, OTHER_XML
from sightline.data.formats.writing import Output, image_name
from sightline.data.tables import Tables
from sightline.errors import DataError

CARRIES = frozenset(
    {
        *(writing.BOXES, writing.BOX_FRACTIONS, writing.MASKS, writing.MASK_RUNS, writing.CLASS_PER_OBJECT),
        *(writing.DIFFICULT, writing.FLAGS, writing.EMPTY_IMAGES),
    }
)
"""What the format can hold."""

KEEPS = frozenset({"folder", "database", "depth", "segmented", OTHER_XML, OTHER_SOURCE})
"""Further keys of entries that it holds."""

_ROUNDING = 0.01
"""Pixels beyond the border that are the source's rounding, and clipped without a word."""

_ILLEGAL = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")
_UNSAFE_NAME = re.compile("[\\x00-\\x1f]")


def write(splits: Mapping[str, Tables], output: Output) -> None:
    """Writes a set.

    Args:
        splits: the tables of each split.
        output: where to.

    Raises:
        DataError: a class whose name XML cannot hold, or an image that is missing or has another ending.
        OSError: the disk is full or the folder cannot be written.
    """
    names = sorted({str(c["name"]) for tables in splits.values() for c in tables.categories})
    stems = Stems(output.losses, flat=True)
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (output.folder / folder).mkdir(parents=True, exist_ok=True)
    for split, tables in splits.items():
        _require_names(tables)
        order, first = tables.objects_by_image()
        members: dict[str, bool] = {}
        for row in range(len(tables.images)):
            picture = _Picture.of(tables, row, order[first[row] : first[row + 1]].tolist())
            stem, masked = _write_picture(picture, {name: i for i, name in enumerate(names, start=1)}, stems, output)
            _count(output, "image listed twice in one split", int(stem in members))
            members[stem] = masked
        _write_list(output, "Main", split, list(members))
        if any(members.values()):
            _write_list(output, "Segmentation", split, [stem for stem, masked in members.items() if masked])


@dataclass(frozen=True, eq=False)
class _Picture:
    """One image of a split.

    Args:
        tables: the split.
        row: the image's row.
        objects: rows of its objects, in the order of the XML file.
        entries: COCO's entries of its objects, masks in label images as references.
        size: (H, W).
    """

    tables: Tables
    row: int
    objects: list[int]
    entries: list[dict[str, Any]]
    size: Size

    @classmethod
    def of(cls, tables: Tables, row: int, objects: list[int]) -> "_Picture":
        return cls(tables, row, objects, [plain_entry(tables, i) for i in objects], size_of(tables, row))

    def class_name(self, row: int) -> str:
        return str(self.tables.categories[int(self.tables.objects.labels[row])]["name"])


def _count(output: Output, reason: str, number: int) -> None:
    if number:
        output.losses[reason] += number


def _write_picture(picture: _Picture, values: Mapping[str, int], stems: Stems, output: Output) -> tuple[str, bool]:
    """Writes the image and what belongs to it; its stem, and whether it has masks."""
    tables = picture.tables
    labels = _labels(picture, output)
    root = _annotation(picture, labels is not None, output)
    source = tables.image_path(picture.row)
    content = ElementTree.tostring(root) + (b"" if labels is None else labels.tobytes())
    # The same image in train and in trainval is one file; with other objects in each it has to be two.
    key = (str(source), hashlib.blake2b(content, digest_size=16).digest())
    written = stems.known(key)
    name = stems.name(image_name(tables, picture.row), key)
    stem = name.rpartition(".")[0]
    if not written:
        output.put_image(source, f"JPEGImages/{name}")
        _child(root, "filename").text = name
        ElementTree.indent(root)
        (output.folder / "Annotations" / f"{stem}.xml").write_bytes(ElementTree.tostring(root, encoding="utf-8"))
        if labels is not None:
            write_labels(output.folder / "SegmentationObject" / f"{stem}.png", labels)
            _write_classes(picture, labels, stem, values, output)
    return stem, labels is not None


def _write_list(output: Output, kind: str, split: str, stems: Sequence[str]) -> None:
    folder = output.folder / "ImageSets" / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8", newline="\n")


def _require_names(tables: Tables) -> None:
    for label in np.unique(tables.objects.labels).tolist():
        name = str(tables.categories[label]["name"])
        if not name.strip() or name != name.strip() or _ILLEGAL.search(name) or _UNSAFE_NAME.search(name):
            raise DataError(
                f"VOC's XML cannot hold the name of class {name!r}",
                place=tables.source,
                cause="control characters, or blanks at its ends",
                cure="rename the class",
            )


def _annotation(picture: _Picture, masked: bool, output: Output) -> ElementTree.Element:
    """The XML of an image, its <filename> still empty."""
    tables = picture.tables
    entry = tables.image_entry(picture.row)
    root = ElementTree.Element("annotation")
    _add_text(root, "folder", entry.get("folder"), output)
    ElementTree.SubElement(root, "filename")
    if _is_text(entry.get("database")):
        _add_text(ElementTree.SubElement(root, "source"), "database", entry["database"], output)
    size = ElementTree.SubElement(root, "size")
    # Images are read as RGB, whatever the file holds: three channels where nothing was said.
    for key, value in zip(("width", "height", "depth"), (*picture.size[::-1], entry.get("depth") or 3), strict=True):
        _add_text(size, key, value, output)
    _add_text(root, "segmented", 1 if masked else entry.get("segmented") or 0, output)
    name = tables.image_path(picture.row).name
    _count(output, "<filename> that was another file's name", int(entry.get("filename", name) != name))
    _add_xml(_child(root, "source"), entry.get(OTHER_SOURCE), output)
    _add_xml(root, entry.get(OTHER_XML), output)
    for row, about in zip(picture.objects, picture.entries, strict=True):
        _add_object(root, picture, row, about, output)
    source = root.find("source")
    if source is not None and not len(source):
        root.remove(source)
    return root


def _add_xml(element: ElementTree.Element, texts: Any, output: Output) -> None:
    """Adds elements that were kept as texts."""
    for text in texts if isinstance(texts, list) else ():
        try:
            element.append(ElementTree.fromstring(text))
        except (ElementTree.ParseError, TypeError):
            _count(output, "XML that was kept as text, and is none", 1)


def _add_object(
    root: ElementTree.Element, picture: _Picture, row: int, entry: Mapping[str, Any], output: Output
) -> None:
    element = ElementTree.SubElement(root, "object")
    _child(element, "name").text = picture.class_name(row)
    _add_text(element, "pose", entry.get("pose"), output)
    flags: dict[str, Any] = {flag: entry[flag] for flag in FLAGS if flag in entry}
    flags["difficult"] = bool(picture.tables.objects.ignore[row]) or flags.get("difficult")
    _count(output, "crowd written as difficult", int(bool(entry.get("iscrowd"))))
    for flag in FLAGS:
        if flag in flags:
            _child(element, flag).text = "1" if flags[flag] else "0"
    _add_box(element, picture, row, output)
    _add_xml(element, entry.get(OTHER_XML), output)


def _add_box(element: ElementTree.Element, picture: _Picture, row: int, output: Output) -> None:
    height, width = picture.size
    box = picture.tables.objects.boxes[row]
    clipped = np.clip(box, 0, (width, height, width, height))
    _count(output, "box clipped to the image", int(np.abs(box - clipped).max() > _ROUNDING))
    corners = ElementTree.SubElement(element, "bndbox")
    for key, value, shift in zip(("xmin", "ymin", "xmax", "ymax"), clipped.tolist(), (1, 1, 0, 0), strict=True):
        _child(corners, key).text = _decimal(value + shift)


def _child(element: ElementTree.Element, key: str) -> ElementTree.Element:
    child = element.find(key)
    return ElementTree.SubElement(element, key) if child is None else child


def _is_text(value: Any) -> bool:
    return isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip() != ""


def _add_text(element: ElementTree.Element, key: str, value: Any, output: Output) -> None:
    """Adds an element, where there is something to say; characters that XML has no place for are left out."""
    if not _is_text(value):
        return
    text = _ILLEGAL.sub("", str(value))
    _count(output, "text with characters that XML cannot hold", int(text != str(value)))
    _child(element, key).text = text


def _decimal(value: float) -> str:
    """A number without exponent; the ninth decimal takes away what adding and subtracting leaves behind."""
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _labels(picture: _Picture, output: Output) -> NDArray[np.int32] | None:
    """(H, W) value k where the k-th object is, from 1; None where no object has a mask, or there are too many."""
    masked = picture.tables.objects.masked[picture.objects]
    wanted = [(k, entry) for k, (entry, has) in enumerate(zip(picture.entries, masked, strict=True), start=1) if has]
    if wanted and wanted[-1][0] >= VOID:
        _count(output, "mask left out: more than 254 objects in the image", len(wanted))
        return None
    labels = np.zeros(picture.size, np.int32)
    drawn = 0
    for k, entry in wanted:
        mask = mask_of(entry, picture.size)
        if mask is None:
            _count(output, "mask that cannot be decoded", 1)
            continue
        _count(output, "pixels of masks under a later object", int((labels[mask] > 0).sum()))
        labels[mask] = k
        drawn += 1
    if not drawn:
        return None
    _count(output, "object without a mask beside masked ones: its mask is empty", len(masked) - drawn)
    return labels


def _write_classes(
    picture: _Picture, labels: NDArray[np.int32], stem: str, values: Mapping[str, int], output: Output
) -> None:
    """The picture of classes, from that of objects."""
    if len(values) >= VOID:
        _count(output, "picture of classes left out: more than 254 classes", 1)
        return
    of_object = [
        VOID if entry.get("iscrowd") else values[picture.class_name(row)]
        for row, entry in zip(picture.objects, picture.entries, strict=True)
    ]
    classes = np.asarray([0, *of_object], np.int32)[labels]
    write_labels(output.folder / "SegmentationClass" / f"{stem}.png", classes)
