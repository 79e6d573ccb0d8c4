"""Which format a folder or file is in, and its splits: the only file that knows every format."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from sightline.data.findings import Findings
from sightline.data.formats import coco, coco_files, csv_boxes, folders, masks, voc, yolo
from sightline.data.formats.seen import seen
from sightline.data.tables import Tables
from sightline.errors import DataError

LAYOUTS = (
    "COCO: a .json file in the folder, annotations/*.json or */_annotations.coco.json; Pascal VOC: Annotations/ and "
    "JPEGImages/ or images/, or .xml files beside the images, also in train/, val/ and test/; YOLO: data.yaml, or "
    "classes.txt with images/ and labels/ or with .txt files beside the images; CSV: a .csv file with a header; label "
    "images: images/ and masks/, or train/ and trainannot/; classification: a folder of images for each class"
)
"""What is recognised, in words."""

Reader = Callable[[Findings], Tables]


@dataclass(frozen=True)
class Layout:
    """A set of images whose format was recognised.

    Args:
        form: name of the format, as the writers have it.
        root: the set's folder.
        readers: how each split is read, by name.
        sources: the annotation file of each split, where the format has one; for messages.
    """

    form: str
    root: Path
    readers: Mapping[str, Reader]
    sources: Mapping[str, Path] = field(default_factory=dict)

    def require(self, splits: Iterable[str], place: Path) -> None:
        """Refuses names of splits that are not there.

        Args:
            splits: the names.
            place: what was given as the set, for the message.

        Raises:
            DataError: names the first, and the splits that there are.
        """
        for split in splits:
            if split not in self.readers:
                there = f"the splits there are: {', '.join(self.readers)}"
                only = (
                    "; `sightline data split` divides a set into train, val and test" if len(self.readers) == 1 else ""
                )
                raise DataError(f"no split '{split}'", place=place, cure=there + only)


def recognise(path: Path) -> Layout:
    """The format and splits of what lies at a path.

    Raises:
        DataError: nothing to recognise, more than one format, or a list of splits that cannot be read.
    """
    with _system_errors(path):
        if not path.exists():
            raise DataError("no such file or folder", place=path, cure=f"give one of these: {LAYOUTS}")
        layout = _file(path) if path.is_file() else _folder(path)
    return replace(layout, readers={split: partial(_guarded, path, read) for split, read in layout.readers.items()})


@contextmanager
def _system_errors(path: Path) -> Iterator[None]:
    """Whatever the system refuses on the way (a folder that may not be listed, a link in a circle) is the set's."""
    try:
        yield
    except OSError as error:
        raise DataError(
            f"the set cannot be read ({error.strerror or error})",
            place=error.filename or path,
            cure="check the path, links and permissions",
        ) from error


def _guarded(path: Path, read: Reader, findings: Findings) -> Tables:
    with _system_errors(path):
        return read(findings)


def _folder(path: Path) -> Layout:
    found = [layout for find in _FOLDERS if (layout := find(path)) is not None] or _last_resorts(path)
    if not found:
        raise DataError("no annotations recognised", place=path, cause=seen(path), cure=f"looked for these: {LAYOUTS}")
    if len(found) > 1:
        first = next(iter(found[0].sources.values()), path)
        raise DataError(
            f"both {found[0].form} and {found[1].form} annotations are there",
            place=path,
            cure=f"give one annotation file ({first}), or move one kind away",
        )
    return found[0]


def _file(path: Path) -> Layout:
    suffix = path.suffix.lower()
    if suffix == ".json":
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
        return _layout("coco", root, {coco.split_name(path): path}, lambda _, findings: coco.read(path, findings))
    for form, suffixes, module in (("yolo", (".yaml", ".yml"), yolo), ("csv", (".csv", ".tsv"), csv_boxes)):
        if suffix in suffixes:
            splits = module.find_splits(path)
            if splits:
                return Layout(form, path.parent, {split: partial(module.read, path, split) for split in splits})
    of_one_image = "a file of one image: give its folder" if suffix in (".xml", ".txt") else None
    raise DataError("not an annotation file", place=path, cause=of_one_image, cure=f"give one of these: {LAYOUTS}")


def _layout(form: str, root: Path, sources: Mapping[str, Path], read: Callable[[str, Findings], Tables]) -> Layout:
    return Layout(form, root, {split: partial(read, split) for split in sources}, dict(sources))


def _coco(path: Path) -> Layout | None:
    files = coco_files.find_splits(path)
    return _layout("coco", path, files, lambda split, findings: coco.read(files[split], findings)) if files else None


def _voc(path: Path) -> Layout | None:
    return _of("voc", path, voc.find_splits(path), voc.read)


def _yolo(path: Path) -> Layout | None:
    return _of("yolo", path, yolo.find_splits(path), yolo.read)


def _csv(path: Path) -> Layout | None:
    return _of("csv", path, csv_boxes.find_splits(path), csv_boxes.read)


def _of(form: str, path: Path, splits: Iterable[str], read: Callable[[Path, str, Findings], Tables]) -> Layout | None:
    readers = {split: partial(read, path, split) for split in splits}
    return Layout(form, path, readers) if readers else None


def _last_resorts(path: Path) -> list[Layout]:
    """Formats without annotation files, which are told by their folders alone."""
    found = _of("masks", path, masks.find_splits(path), masks.read)
    found = found or _of("folders", path, folders.find_splits(path), folders.read)
    return [found] if found else []


_FOLDERS: tuple[Callable[[Path], Layout | None], ...] = (_coco, _voc, _yolo, _csv)
