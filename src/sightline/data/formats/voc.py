"""Pascal VOC folders: Annotations/*.xml, JPEGImages/ and ImageSets/Main/*.txt (VOC2007 development kit, section 3).

Which pixels a box covers: the development kit counts pixels from 1 and includes the last one, so a box becomes
(xmin - 1, ymin - 1, xmax, ymax) here. Many tools write VOC files that count from 0 instead. A coordinate below 1 cannot
be the kit's; where any file of ``Annotations/`` that a split lists has one, the whole folder is read as written,
(xmin, ymin, xmax, ymax), and the findings say so. torchvision's references read all folders as written, detectron2
subtracts always.

Classes are the sorted names over all splits, so that train, val and test agree; ids are 1..K. ``difficult`` becomes
``Record.ignore``. Files with a document type declaration are refused: annotations need no entities.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from sightline.data.decode import IMAGE_SUFFIXES, read_size
from sightline.data.records import SIZE_FROM_FILE, Content, Record, box_areas, fit_boxes
from sightline.errors import DataError
from sightline.structures import Classes, Size

ZERO_BASED = "boxes read as written: the folder has coordinates that count from 0"
_STANDARD = ("train", "val", "trainval", "test")
_MAIN = Path("ImageSets") / "Main"


def is_voc(folder: Path) -> bool:
    """Whether a folder has the two sub-folders that every VOC set has."""
    return (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir()


def find_splits(folder: Path) -> tuple[str, ...]:
    """The splits of a folder: the lists in ImageSets/Main, or ``all`` without them.

    Lists of one class (``dog_train.txt``, two columns) are no splits.
    """
    names = [f.stem for f in sorted((folder / _MAIN).glob("*.txt")) if f.stem in _STANDARD or not _is_of_one_class(f)]
    return tuple(names) or ("all",)


def read(folder: Path, split: str) -> Content:
    """One split of a VOC folder.

    Args:
        folder: has Annotations/ and JPEGImages/.
        split: one of :func:`find_splits`.

    Raises:
        DataError: an XML file or image that is missing, damaged or not VOC's structure.
    """
    members = {name: _members(folder, name) for name in find_splits(folder)}
    everything = sorted({stem for stems in members.values() for stem in stems})
    parsed = {stem: _parse(folder / "Annotations" / f"{stem}.xml") for stem in everything}
    names = sorted({name for annotation in parsed.values() for name in annotation.names})
    zero_based = any(0 <= v < 1 for annotation in parsed.values() for box in annotation.boxes for v in box[:2])
    number = {stem: i for i, stem in enumerate(everything, start=1)}
    label = {name: i for i, name in enumerate(names)}
    images = _Images(folder / "JPEGImages")
    findings: Counter[str] = Counter()
    if zero_based:
        findings[ZERO_BASED] = sum(len(parsed[stem].boxes) for stem in members[split])
    records = []
    for stem in members[split]:
        annotation = parsed[stem]
        path = images.find(stem, annotation)
        labels = np.asarray([label[name] for name in annotation.names], np.int64)
        records.append(_record(annotation, path, number[stem], labels, zero_based=zero_based, findings=findings))
    return Content(Classes(tuple(names)), tuple(records), findings)


@dataclass(frozen=True)
class _Annotation:
    path: Path
    filename: str
    size: Size | None
    names: tuple[str, ...]
    boxes: tuple[tuple[float, ...], ...]
    difficult: tuple[bool, ...]


def _is_of_one_class(file: Path) -> bool:
    first = next((line.split() for line in _lines(file)), [])
    return len(first) > 1 and first[-1] in ("-1", "0", "1")


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of images cannot be read ({error})", place=file, cure="save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]


def _members(folder: Path, split: str) -> list[str]:
    """The stems of a split's images, in the list's order."""
    file = folder / _MAIN / f"{split}.txt"
    if not file.is_file():
        return sorted(f.stem for f in (folder / "Annotations").glob("*.xml"))
    stems = _lines(file)
    for line, stem in enumerate(stems, start=1):
        if "\0" in stem or not (folder / "Annotations" / f"{stem}.xml").is_file():
            raise DataError(
                f"Annotations/{stem}.xml is missing",
                place=f"{file}, entry {line}",
                cure="add the file (without objects if there are none), or remove the line",
            )
    repeated = [stem for stem, times in Counter(stems).items() if times > 1]
    if repeated:
        raise DataError(f"{repeated[0]} is listed more than once", place=file, cure="remove the repeated lines")
    return stems


@dataclass(frozen=True)
class _Images:
    """The images of a folder by stem."""

    folder: Path
    by_stem: dict[str, list[Path]]

    def __init__(self, folder: Path) -> None:
        by_stem: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                by_stem.setdefault(path.stem, []).append(path)
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "by_stem", by_stem)

    def find(self, stem: str, annotation: _Annotation) -> Path:
        """The image of an annotation: of the same stem; where there are several, the one that the file names."""
        paths = self.by_stem.get(stem, [])
        if len(paths) > 1:
            paths = [p for p in paths if p.name == annotation.filename]
        if len(paths) != 1:
            what = f"there is no image {stem}.jpg (or .png ...) in {self.folder}"
            if stem in self.by_stem:
                what = f"several images are named {stem}, and <filename> picks none of them"
            raise DataError(what, place=annotation.path, cure="put the image there, or take it from the list")
        return paths[0]


class _PlainTreeBuilder(ElementTree.TreeBuilder):
    """Builds a tree and refuses document types, through which entities come in."""

    def doctype(self, name: str, *_: str | None) -> None:
        raise DataError(f"document type declarations are refused (<!DOCTYPE {name}>)", cure="remove it from the file")


def _parse(path: Path) -> _Annotation:
    root = _root(path)
    objects = root.findall("object")
    boxes, names, difficult = [], [], []
    for i, element in enumerate(objects):
        place = f"object[{i}]"
        names.append(_text(element, "name", path, place))
        corners = element.find("bndbox")
        if corners is None:
            _fail(path, place, "<bndbox> is missing")
        box = [_number(corners, key, path, f"{place}.bndbox") for key in ("xmin", "ymin", "xmax", "ymax")]
        boxes.append(tuple(box))
        difficult.append((element.findtext("difficult") or "0").strip() not in ("0", "", "false", "False"))
    return _Annotation(
        path, (root.findtext("filename") or "").strip(), _size(root, path), tuple(names), tuple(boxes), tuple(difficult)
    )


def _root(path: Path) -> ElementTree.Element:
    cause, cure = "an interrupted copy, or a file that is no annotation", "fetch the file again or correct it"
    try:
        parser = ElementTree.XMLParser(target=_PlainTreeBuilder())
        parser.feed(path.read_bytes())
        root = parser.close()
    except ElementTree.ParseError as error:
        raise DataError(f"not valid XML ({error})", place=path, cause=cause, cure=cure) from error
    except DataError as error:
        raise DataError(error.what, place=path, cure=error.cure) from error
    except (OSError, ValueError, LookupError) as error:
        raise DataError(f"the annotation cannot be read ({error})", place=path, cause=cause, cure=cure) from error
    if not isinstance(root, ElementTree.Element) or root.tag != "annotation":
        raise DataError("VOC's XML starts with <annotation>", place=path, cause=cause, cure=cure)
    return root


def _fail(path: Path, place: str, what: str) -> NoReturn:
    raise DataError(what, place=f"{path}, {place}", cure="correct the annotation file")


def _text(element: ElementTree.Element, key: str, path: Path, place: str) -> str:
    text = (element.findtext(key) or "").strip()
    if not text:
        _fail(path, place, f"<{key}> is missing or empty")
    return text


def _number(element: ElementTree.Element, key: str, path: Path, place: str) -> float:
    text = _text(element, key, path, place)
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not -1e30 < value < 1e30:
        _fail(path, f"{place}.{key}", f"must be a finite number, got {text[:40]!r}")
    return value


def _size(root: ElementTree.Element, path: Path) -> Size | None:
    """(H, W) of <size>; None where it is missing or zero, as some tools leave it."""
    element = root.find("size")
    if element is None or element.find("width") is None or element.find("height") is None:
        return None
    height, width = (_number(element, key, path, "size") for key in ("height", "width"))
    if height != int(height) or width != int(width) or min(height, width) < 0:
        _fail(path, "size", f"height and width must be whole numbers, got {height:g} and {width:g}")
    return (int(height), int(width)) if height and width else None


def _record(
    annotation: _Annotation,
    path: Path,
    image_id: int,
    labels: NDArray[np.int64],
    *,
    zero_based: bool,
    findings: Counter[str],
) -> Record:
    size = annotation.size
    if size is None:
        findings[SIZE_FROM_FILE] += 1
        size = read_size(path)
    boxes = _corners(annotation.boxes, zero_based)
    clipped, keep = fit_boxes(boxes, np.tile(np.asarray(size, np.int64), (len(boxes), 1)), findings)
    clipped = clipped[keep]
    difficult = np.asarray(annotation.difficult, np.bool_)[keep]
    return Record(path, image_id, size, clipped, labels[keep], difficult, box_areas(clipped))


def _corners(boxes: Sequence[tuple[float, ...]], zero_based: bool) -> NDArray[np.float64]:
    corners = np.asarray(boxes, np.float64).reshape(len(boxes), 4)
    if not zero_based:
        corners[:, :2] -= 1
    return corners
