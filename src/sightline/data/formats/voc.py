"""Pascal VOC folders, read: Annotations/*.xml, JPEGImages/, ImageSets/Main/*.txt (VOC2007 development kit, section 3).

``voc_places`` finds the files where labelling tools put them elsewhere.

Which pixels a box covers: the development kit counts pixels from 1 and includes the last one, so a box becomes
(xmin - 1, ymin - 1, xmax, ymax) here. Many tools write VOC files that count from 0 instead. A coordinate below 1 cannot
be the kit's; where any annotation that a split lists has one, the whole folder is read as written,
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
from sightline.data.formats.voc_places import VocPlaces, find_places, read_list
from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.data.listing import Listing
from sightline.data.mask_files import MASK_FILE
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

FLAGS = ("difficult", "truncated", "occluded")
"""What VOC says of an object in 0 or 1."""

OTHER_XML, OTHER_SOURCE = "voc_xml", "voc_source_xml"
"""Keys of entries that hold XML elements as texts: what VOC files say besides."""

_OF_IMAGE = frozenset({"folder", "filename", "source", "size", "segmented", "object"})
_OF_OBJECT = frozenset({"name", "bndbox", "pose", *FLAGS})
_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def find_splits(folder: Path) -> tuple[str, ...]:
    """The splits of a folder: the lists in ImageSets/Main, its folders, or ``all``; empty where it is no VOC set.

    Raises:
        DataError: a list of images that cannot be read.
    """
    return tuple(find_places(folder))


def read(folder: Path, split: str, findings: Findings) -> Tables:
    """One split of a VOC folder.

    Args:
        folder: the set.
        split: one of :func:`find_splits`.
        findings: where defects are noted; what cannot be used is left out.

    Raises:
        DataError: a list of images that cannot be read.
    """
    places = find_places(folder)
    members = {name: _members(part, findings if name == split else Findings()) for name, part in places.items()}
    owners = {path: places[name] for name, paths in members.items() for path in paths}
    everything = sorted(owners, key=lambda path: (path.parent, path.stem))
    own = frozenset(members[split])
    parsed = {path: _parsed(path, owners[path], findings if path in own else Findings()) for path in everything}
    names = sorted({name for annotation in parsed.values() for name in annotation.names})
    zero_based = any(0 <= v < 1 for annotation in parsed.values() for box in annotation.boxes for v in box[:2])
    in_pixels = any(v > 1 for annotation in parsed.values() for box in annotation.boxes for v in box)
    if zero_based and in_pixels:
        findings.count("boxes-count-from-zero", sum(len(parsed[path].boxes) for path in members[split]))
    builder = TablesBuilder("voc", folder, folder, object_place="object[{}]")
    images = _Images(places[split].images)
    label = {name: i for i, name in enumerate(names)}
    number = {path: i for i, path in enumerate(everything, start=1)}
    for path in members[split]:
        image = None if parsed[path].broken else images.find(parsed[path], findings)
        if image is not None:
            _add(builder, parsed[path], image.relative_to(folder), number[path], label, shift=0 if zero_based else 1)
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


def _members(places: VocPlaces, findings: Findings) -> list[Path]:
    """The annotations of a split, in the list's order, each once."""
    folder, listed = places.annotations, places.listed
    if listed is None:
        return [folder / f"{stem}.xml" for stem in sorted(f.stem for f in folder.glob("*.xml"))]
    paths: dict[Path, None] = {}
    for line, stem in enumerate(read_list(listed), start=1):
        path = folder / f"{stem}.xml"
        if not is_file_below(folder, f"{stem}.xml"):
            image = _picture(places.images, stem)
            what = f"{folder.name}/{stem}.xml is missing"
            findings.add("annotation-missing", what, listed, f"entry {line}", image=image)
        elif path in paths:
            findings.add("image-listed-twice", f"{stem} is listed more than once", listed, f"entry {line}")
        else:
            paths[path] = None
    return list(paths)


def _picture(folder: Path, stem: str) -> str:
    """The likely image of a stem; empty where there is none."""
    names = (f"{stem}{suffix}" for suffix in (".jpg", ".png", ".jpeg"))
    return next((str(folder / name) for name in names if is_file_below(folder, name)), "")


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


def _parsed(path: Path, places: VocPlaces, findings: Findings) -> _Annotation:
    annotation = _Annotation(path)
    try:
        root = _root(path)
        annotation.filename = (root.findtext("filename") or "").strip()
        annotation.extra = _about_image(root)
        annotation.size = _size(root, path)
    except DataError as error:
        within = error.place != str(path)
        findings.add_error(
            _code(error) if within else "file-unreadable", error, image=_picture(places.images, path.stem)
        )
        annotation.broken = True
        return annotation
    masks = places.masks / f"{path.stem}.png"
    masked = masks.is_file()
    for i, element in enumerate(root.findall("object")):
        try:
            name, box = _text(element, "name", path, f"object[{i}]"), _box(element, path, f"object[{i}]")
            about = _about_object(element, path, f"object[{i}]")
        except DataError as error:
            findings.add_error(_code(error), error)
            continue
        annotation.rows.append(i)
        annotation.names.append(name)
        annotation.boxes.append(box)
        mask = {MASK_FILE: {"path": str(masks), "value": i + 1}} if masked else {}
        annotation.extras.append(about | mask)
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
    about = {key: text.strip() for key, text in (texts | {"depth": depth, "segmented": segmented}).items() if text}
    source = root.find("source")
    of_source = {} if source is None else _rest(source, OTHER_SOURCE, frozenset({"database"}))
    return about | of_source | _rest(root, OTHER_XML, _OF_IMAGE)


def _about_object(element: ElementTree.Element, path: Path, place: str) -> dict[str, Any]:
    said = {key: _flag(element.findtext(key) or "", key, path, place) for key in FLAGS}
    about: dict[str, Any] = {key: value for key, value in said.items() if value is not None}
    pose = (element.findtext("pose") or "").strip()
    return about | ({"pose": pose} if pose else {}) | _rest(element, OTHER_XML, _OF_OBJECT)


def _rest(element: ElementTree.Element, key: str, known: frozenset[str]) -> dict[str, Any]:
    """What Sightline has no word for, as it is written: parts, actions, attributes of other tools."""
    others = [ElementTree.tostring(child, encoding="unicode").strip() for child in element if child.tag not in known]
    return {key: others} if others else {}


def _flag(text: str, key: str, path: Path, place: str) -> int | None:
    """0 or 1; None where it is unspecified."""
    said = text.strip().lower()
    if said in ("", "unspecified"):
        return None
    known = {"0": 0, "0.0": 0, "false": 0, "no": 0, "1": 1, "1.0": 1, "true": 1, "yes": 1}
    if said not in known:
        _fail(path, f"{place}.{key}", f"must be 0 or 1, got {text.strip()[:40]!r}")
    return known[said]


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
    if height != int(height) or width != int(width) or min(height, width) < 0 or max(height, width) >= 2**31:
        _fail(path, "size", f"height and width must be whole numbers, got {height:g} and {width:g}")
    return (int(height), int(width)) if height and width else None
