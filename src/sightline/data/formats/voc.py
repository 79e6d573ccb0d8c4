"""Pascal VOC folders, read: Annotations/*.xml, JPEGImages/, ImageSets/Main/*.txt (VOC2007 development kit, section 3).

Which pixels a box covers: the development kit counts pixels from 1 and includes the last one, so a box becomes
(xmin - 1, ymin - 1, xmax, ymax) here. Many tools write VOC files that count from 0 instead. A coordinate below 1 cannot
be the kit's; where any file of ``Annotations/`` that a split lists has one, the whole folder is read as written,
(xmin, ymin, xmax, ymax), and the findings say so. torchvision's references read all folders as written, detectron2
subtracts always.

Classes are the sorted names over all splits, so that train, val and test agree; ids are 1..K. ``difficult`` makes an
object ignored. Where ``SegmentationObject/`` has a picture of an image, its value k is the mask of the k-th object.
Files with a document type declaration are refused: annotations need no entities.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn
from xml.etree import ElementTree

from sightline.classes import Size
from sightline.data.findings import Findings
from sightline.data.formats.path_texts import is_file_below
from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.data.listing import Listing
from sightline.data.mask_files import MASK_FILE
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

FLAGS = ("difficult", "truncated", "occluded")
"""What VOC says of an object in 0 or 1."""

MAIN = Path("ImageSets") / "Main"
"""Where the lists of the splits are."""

_STANDARD = ("train", "val", "trainval", "test")
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def is_voc(folder: Path) -> bool:
    """Whether a folder has the two sub-folders that every VOC set has."""
    return (folder / "Annotations").is_dir() and (folder / "JPEGImages").is_dir()


def find_splits(folder: Path) -> tuple[str, ...]:
    """The splits of a folder: the lists in ImageSets/Main, or ``all`` without them.

    Lists of one class (``dog_train.txt``, two columns) are no splits.
    """
    names = [f.stem for f in sorted((folder / MAIN).glob("*.txt")) if f.stem in _STANDARD or not _is_of_one_class(f)]
    return tuple(names) or ("all",)


def read(folder: Path, split: str, findings: Findings) -> Tables:
    """One split of a VOC folder.

    Args:
        folder: has Annotations/ and JPEGImages/.
        split: one of :func:`find_splits`.
        findings: where defects are noted; what cannot be used is left out.

    Raises:
        DataError: a list of images that cannot be read.
    """
    members = {name: _members(folder, name, findings if name == split else Findings()) for name in find_splits(folder)}
    everything = sorted({stem for stems in members.values() for stem in stems})
    own = frozenset(members[split])
    parsed = {stem: _parsed(folder, stem, findings if stem in own else Findings()) for stem in everything}
    names = sorted({name for annotation in parsed.values() for name in annotation.names})
    zero_based = any(0 <= v < 1 for annotation in parsed.values() for box in annotation.boxes for v in box[:2])
    in_pixels = any(v > 1 for annotation in parsed.values() for box in annotation.boxes for v in box)
    if zero_based and in_pixels:
        findings.count("boxes-count-from-zero", sum(len(parsed[stem].boxes) for stem in members[split]))
    builder = TablesBuilder("voc", folder, folder, object_place="object[{}]")
    images = _Images(folder / "JPEGImages")
    label = {name: i for i, name in enumerate(names)}
    number = {stem: i for i, stem in enumerate(everything, start=1)}
    for stem in members[split]:
        path = None if parsed[stem].broken else images.find(parsed[stem], findings)
        if path is not None:
            _add(builder, parsed[stem], path.relative_to(folder), number[stem], label, shift=0 if zero_based else 1)
    categories = [{"id": i, "name": name, "supercategory": ""} for i, name in enumerate(names, start=1)]
    return builder.build(categories)


@dataclass
class _Annotation:
    """One XML file; what of it cannot be used is left out. Of a broken one nobody knows what its image shows."""

    path: Path
    broken: bool = False
    filename: str = ""
    size: Size | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    rows: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    boxes: list[tuple[float, ...]] = field(default_factory=list)
    extras: list[dict[str, Any]] = field(default_factory=list)


def _add(
    builder: TablesBuilder, annotation: _Annotation, image: Path, number: int, label: dict[str, int], *, shift: int
) -> None:
    row = builder.add_image(
        image.as_posix(),
        size=annotation.size,
        source=str(annotation.path),
        number=number,
        extra={"filename": annotation.filename} | annotation.extra,
    )
    for i, name, (x1, y1, x2, y2), extra in zip(
        annotation.rows, annotation.names, annotation.boxes, annotation.extras, strict=True
    ):
        builder.add_object(row, label[name], (x1 - shift, y1 - shift, x2, y2), row=i, extra=extra)


def _is_of_one_class(file: Path) -> bool:
    first = next((line.split() for line in _lines(file)), [])
    return len(first) > 1 and first[-1] in ("-1", "0", "1")


def _lines(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the list of images cannot be read ({error})", place=file, cure="save it as UTF-8") from error
    return [line.strip() for line in lines if line.strip()]


def _members(folder: Path, split: str, findings: Findings) -> list[str]:
    """The stems of a split's images that have an annotation, in the list's order, each once."""
    file = folder / MAIN / f"{split}.txt"
    if not file.is_file():
        return sorted(f.stem for f in (folder / "Annotations").glob("*.xml"))
    stems: dict[str, None] = {}
    for line, stem in enumerate(_lines(file), start=1):
        if not is_file_below(folder / "Annotations", f"{stem}.xml"):
            image = _picture(folder, stem)
            findings.add("annotation-missing", f"Annotations/{stem}.xml is missing", file, f"entry {line}", image=image)
        elif stem in stems:
            findings.add("image-listed-twice", f"{stem} is listed more than once", file, f"entry {line}")
        else:
            stems[stem] = None
    return list(stems)


def _picture(folder: Path, stem: str) -> str:
    """The likely image of a stem; empty where there is none."""
    names = (f"{stem}{suffix}" for suffix in (".jpg", ".png", ".jpeg"))
    return next((str(folder / "JPEGImages" / name) for name in names if is_file_below(folder / "JPEGImages", name)), "")


@dataclass(frozen=True)
class _Images:
    """The images of a folder by stem."""

    folder: Path
    by_stem: dict[str, list[Path]]
    listing: Listing

    def __init__(self, folder: Path) -> None:
        by_stem: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                by_stem.setdefault(path.stem, []).append(path)
        object.__setattr__(self, "folder", folder)
        object.__setattr__(self, "by_stem", by_stem)
        object.__setattr__(self, "listing", Listing())

    def find(self, annotation: _Annotation, findings: Findings) -> Path | None:
        """The image of an annotation: of the same stem; where there are several, the one that the file names."""
        stem = annotation.path.stem
        paths = self.by_stem.get(stem, [])
        if len(paths) > 1:
            paths = [p for p in paths if p.name == annotation.filename]
        if len(paths) == 1:
            if annotation.filename and annotation.filename != paths[0].name:
                what = f"<filename> is {annotation.filename}, the image {paths[0].name}"
                findings.add("image-filename-differs", what, annotation.path, "filename", image=str(paths[0]))
            return paths[0]
        other = next((path for suffix in (".jpg", ".png", ".jpeg") if (path := self._other_form(stem + suffix))), None)
        if other is not None and stem not in self.by_stem:
            what = f"there is no image of the name {stem}, but one that is written {other.name}"
            findings.add("image-letter-case", what, annotation.path, image=str(other))
            return other
        what = f"there is no image {stem}.jpg (or .png ...) in {self.folder}"
        if stem in self.by_stem:
            what = f"several images are named {stem}, and <filename> picks none of them"
        findings.add("image-missing", what, annotation.path)
        return None

    def _other_form(self, name: str) -> Path | None:
        return self.listing.other_form(str(self.folder / name))


class _PlainTreeBuilder(ElementTree.TreeBuilder):
    """Builds a tree and refuses document types, through which entities come in."""

    def doctype(self, name: str, *_: str | None) -> None:
        raise DataError(f"document type declarations are refused (<!DOCTYPE {name}>)", cure="remove it from the file")


def _parsed(folder: Path, stem: str, findings: Findings) -> _Annotation:
    path = folder / "Annotations" / f"{stem}.xml"
    annotation = _Annotation(path)
    try:
        root = _root(path)
        annotation.filename = (root.findtext("filename") or "").strip()
        annotation.extra = _about_image(root)
        annotation.size = _size(root, path)
    except DataError as error:
        within = error.place != str(path)
        findings.add_error(_code(error) if within else "file-unreadable", error, image=_picture(folder, stem))
        annotation.broken = True
        return annotation
    masks = folder / "SegmentationObject" / f"{stem}.png"
    masked = masks.is_file()
    for i, element in enumerate(root.findall("object")):
        try:
            name, box = _text(element, "name", path, f"object[{i}]"), _box(element, path, f"object[{i}]")
        except DataError as error:
            findings.add_error(_code(error), error)
            continue
        annotation.rows.append(i)
        annotation.names.append(name)
        annotation.boxes.append(box)
        mask = {MASK_FILE: {"path": str(masks), "value": i + 1}} if masked else {}
        annotation.extras.append(_about_object(element) | mask)
    return annotation


def _code(error: DataError) -> str:
    if "missing" in error.what:
        return "key-missing"
    return (
        "number-not-finite"
        if any(word in error.what.lower() for word in ("nan", "inf'", "infinity"))
        else "value-malformed"
    )


def _about_image(root: ElementTree.Element) -> dict[str, Any]:
    """What COCO has no word for."""
    texts = {"folder": root.findtext("folder"), "database": root.findtext("source/database")}
    depth, segmented = root.findtext("size/depth"), root.findtext("segmented")
    return {key: text.strip() for key, text in (texts | {"depth": depth, "segmented": segmented}).items() if text}


def _about_object(element: ElementTree.Element) -> dict[str, Any]:
    flags = {key: _flag(element.findtext(key)) for key in FLAGS if element.find(key) is not None}
    pose = (element.findtext("pose") or "").strip()
    return flags | ({"pose": pose} if pose else {})


def _flag(text: str | None) -> int:
    return int((text or "0").strip() not in ("0", "", "false", "False"))


def _box(element: ElementTree.Element, path: Path, place: str) -> tuple[float, ...]:
    corners = element.find("bndbox")
    if corners is None:
        _fail(path, place, "<bndbox> is missing")
    return tuple(_number(corners, key, path, f"{place}.bndbox") for key in _CORNERS)


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
