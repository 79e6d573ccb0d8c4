"""A repaired copy of a set, and the list of all that is different in it.

Only what has one plain cure is done: what a check calls wrong and a person has to decide stays as it is. The copy is
written in the set's own format by the writer of that format; the set itself is never touched. Checking the copy finds
nothing of what was repaired.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import count
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.box_conventions import CONVENTIONS
from sightline.data.conversion import features
from sightline.data.doctor.check import Checkup, check_again
from sightline.data.doctor.mending import Case, mend_boxes, mend_entry, without_infinities
from sightline.data.finding_kinds import KINDS
from sightline.data.findings import Finding
from sightline.data.formats import writing
from sightline.data.formats.label_images import plain_entry
from sightline.data.formats.writers import writer_of
from sightline.data.formats.writing import ImageMode, Output
from sightline.data.image_header import read_size
from sightline.data.listing import Listing
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError
from sightline.files import whole_folder

_OF_BOXES = frozenset({"box-clipped", "box-on-border", "box-no-area", "box-reversed", "box-outside"})
"""Kinds whose repairs are worked out box by box, as one may follow from another."""

_OF_SPLITS = frozenset(code for codes in CONVENTIONS.values() for code in codes)
_LOST_ANNOTATIONS = frozenset({"image-id-unknown", "class-unknown", "annotation-duplicate"})
_LOST_ENTRIES = frozenset({"key-missing", "value-malformed", "number-not-finite"})
_OF_IMAGES = frozenset({"image-missing", "image-damaged"})
_ROUNDS = 6
"""Checks and repairs at most: what one repair uncovers the next one cures."""

_ENTRIES = ("annotations[", "object[", "line ")
"""How places of annotations begin."""


@dataclass(frozen=True)
class Change:
    """One difference between the set and its copy.

    Args:
        code: the kind of finding that it cures.
        what: what was done.
        place: where in the set.
        split: the split; empty where the change is about none.
        lost: how many objects are not in the copy for it.
    """

    code: str
    what: str
    place: str
    split: str
    lost: int = 0

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        about = {"code": self.code, "what": self.what, "place": self.place, "split": self.split}
        return about | {"objects_lost": self.lost}


@dataclass(frozen=True)
class Repair:
    """What a repair did.

    Args:
        changes: all differences that cure a finding.
        losses: what else is different because the format's writer has no place for it, counted by reason.
    """

    changes: tuple[Change, ...]
    losses: Mapping[str, int]

    @property
    def lost(self) -> int:
        """Objects that are not in the copy."""
        return sum(change.lost for change in self.changes)


@dataclass
class _Patient:
    """One split under repair, and what the check found."""

    split: str
    tables: Tables
    by_code: Mapping[str, list[Finding]]
    changes: list[Change] = field(default_factory=list)

    @cached_property
    def codes(self) -> Mapping[int, frozenset[str]]:
        """The findings about each object, by row."""
        # Two splits may list the same file; the check tells of it once. So objects are known by their places.
        places: dict[tuple[str, str], set[str]] = {}
        for code, findings in self.by_code.items():
            for finding in findings:
                if finding.where:
                    places.setdefault((finding.file, finding.where), set()).add(code)
        table: dict[int, frozenset[str]] = {}
        for row in range(len(self.tables.objects) if places else 0):
            found = places.get(self.tables.locate_object(row))
            if found:
                table[row] = frozenset(found)
        return table

    @cached_property
    def convention(self) -> str:
        """The finding that tells of another convention of boxes; empty without one."""
        own = (code for code in _OF_SPLITS for f in self.by_code.get(code, ()) if f.split == self.split)
        return next(own, "")

    def images(self, code: str) -> frozenset[str]:
        """Pictures that a kind of finding is about."""
        return frozenset(finding.image for finding in self.by_code.get(code, ()))

    def about(self, code: str) -> NDArray[np.bool_]:
        """(N,) objects that a kind of finding is about."""
        chosen = np.zeros(len(self.tables.objects), np.bool_)
        chosen[[row for row, codes in self.codes.items() if code in codes]] = True
        return chosen

    def note(self, code: str, rows: Iterable[int], *, lost: int = 0) -> None:
        """Notes a change to each of some objects."""
        for row in rows:
            file, where = self.tables.locate_object(row)
            place = f"{file}, {where}" if where else file
            self.changes.append(Change(code, KINDS[code].repair, place, self.split, lost))


def repair(checkup: Checkup, out: Path, *, images: ImageMode = "copy") -> Repair:
    """Writes a repaired copy of a set that was checked.

    Args:
        checkup: what the check found; its pixels should have been looked at, so that damaged images are known.
        out: a folder that does not exist; it is there only when all is written.
        images: copied, or linked.

    Raises:
        ConfigError: a folder that is there already.
        DataError: a split that could not be read at all or of which nothing is left, or classes that nobody can tell
            apart.
        OSError: the disk is full.
    """
    _require_clear(checkup)
    repaired, changes = checkup.splits, list[Change]()
    for _ in range(_ROUNDS):
        tables, more = _round(checkup if not changes else check_again(checkup, repaired))
        if not more and changes:
            break
        repaired, changes = tables, changes + more
        if not more:
            break
    changes = _each_once(changes)
    _require_objects(checkup, repaired, changes)
    writer = writer_of(checkup.form)
    losses: Counter[str] = Counter()
    if not {writing.ANNOTATION_EXTRAS, writing.FLAGS} <= writer.carries:
        held = sum((features(tables) for tables in repaired.values()), Counter[str]())
        for name in (writing.ANNOTATION_EXTRAS, writing.FLAGS):
            losses[name] += 0 if name in writer.carries else held[name]
    with whole_folder(out) as folder:
        output = Output(folder, images)
        writer.write(repaired, output)
    return Repair(tuple(changes), +(losses + output.losses))


def _round(checkup: Checkup) -> tuple[dict[str, Tables], list[Change]]:
    """The splits after one repair of what a check found, and what was done."""
    by_code: dict[str, list[Finding]] = {}
    for finding in checkup.findings:
        by_code.setdefault(finding.code, []).append(finding)
    patients = [_Patient(split, tables, by_code) for split, tables in checkup.splits.items()]
    repaired = {patient.split: _repaired(patient) for patient in patients}
    return repaired, list(_one_for_one(checkup)) + [change for patient in patients for change in patient.changes]


def _each_once(changes: Iterable[Change]) -> list[Change]:
    """Changes without those that are told twice; an object that is lost for two reasons is lost once."""
    once: dict[tuple[str, str, str], Change] = {}
    lost: set[str] = set()
    for change in changes:
        place = change.place.partition("].")[0].removesuffix("]")
        again = change.lost == 1 and place in lost and change.code not in _OF_IMAGES
        if change.lost == 1 and change.code not in _OF_IMAGES:
            lost.add(place)
        once.setdefault((change.code, change.what, change.place), replace(change, lost=0) if again else change)
    return list(once.values())


def _require_objects(checkup: Checkup, repaired: Mapping[str, Tables], changes: Iterable[Change]) -> None:
    """Raises where a split that had objects would have none."""
    lost = Counter[str]()
    for change in changes:
        lost[change.split] += change.lost
    for split, tables in repaired.items():
        if not len(tables.objects) and (len(checkup.splits[split].objects) or lost[split]):
            what = f"no object of split '{split}' would be left"
            raise DataError(what, place=tables.source, cure="look at the findings")


def _require_clear(checkup: Checkup) -> None:
    """Raises where a repair would have to guess."""
    shifted = {f.split for f in checkup.findings if f.code == "class-ids-off-by-one"}
    for finding in checkup.findings:
        if finding.code == "file-unreadable" and finding.split not in checkup.splits:
            what = f"split '{finding.split}' cannot be repaired: {finding.what}"
            raise DataError(what, place=finding.place, cure=finding.kind.cure)
        if finding.code == "class-duplicate" and finding.where.endswith(".id"):
            raise DataError(f"cannot be repaired: {finding.what}", place=finding.place, cure=finding.kind.cure)
    for split, tables in checkup.splits.items():
        if shifted and split not in shifted and len(tables.objects):
            also = "may be off by one too" if _may_be_shifted(tables) else "are not, so that the list may be incomplete"
            raise DataError(
                f"cannot be repaired: class ids of split '{min(shifted)}' are off by one and those of split '{split}' "
                f"{also}, and nobody can tell",
                place=tables.source,
                cure=KINDS["class-ids-off-by-one"].cure,
            )


def _may_be_shifted(tables: Tables) -> bool:
    """Whether the class ids of a split that fit the list would fit it as well when they are shifted."""
    ids = [int(category["id"]) for category in tables.categories]
    used = {ids[label] for label in np.unique(tables.objects.labels).tolist()}
    shifts = (-1,) if tables.form == "yolo" else (1, -1)
    return bool(used) and any({number + shift for number in used} <= set(ids) for shift in shifts)


def _one_for_one(checkup: Checkup) -> Iterable[Change]:
    """Changes of the kinds whose cases are repaired one for one, so that the findings are the list of changes."""
    objects = {split: np.bincount(t.objects.images, minlength=len(t.images)) for split, t in checkup.splits.items()}
    of_image = {
        str(tables.image_path(row)): int(objects[split][row])
        for split, tables in checkup.splits.items()
        for row in range(len(tables.images))
    }
    for finding in checkup.findings:
        kind, code = finding.kind, finding.code
        by_reader = code != "image-listed-twice" or not finding.image
        if kind.repair and code not in _OF_BOXES and by_reader:
            lost = int(code in _LOST_ANNOTATIONS)
            if code in _OF_IMAGES:
                lost = of_image.get(finding.image, 0)
            elif code in _LOST_ENTRIES:
                lost = int(finding.where.startswith(_ENTRIES))
            yield Change(code, kind.repair, finding.place, finding.split, lost)


def _repaired(patient: _Patient) -> Tables:
    tables = patient.tables
    builder = TablesBuilder(
        tables.form,
        tables.source,
        tables.image_root,
        object_place=tables.object_place,
        image_place=tables.image_place,
        category_ids=[category["id"] for category in tables.categories],
    )
    kept = _add_images(builder, patient)
    if not kept:
        what, cure = f"no image of split '{patient.split}' is left", "look at the findings"
        raise DataError(what, place=tables.source, cure=cure)
    _add_objects(builder, patient, kept)
    header = without_infinities(tables.header)
    return builder.build([without_infinities(c) for c in tables.categories], header, tables.keypoint_names)


def _add_images(builder: TablesBuilder, patient: _Patient) -> dict[int, tuple[int, Size]]:
    """New row and size of each image that stays, by its row."""
    tables, listing = patient.tables, Listing()
    damaged, off = patient.images("image-damaged"), patient.images("image-size-off")
    named_otherwise = patient.images("image-filename-differs") | patient.images("image-letter-case")
    kept: dict[int, tuple[int, Size]] = {}
    taken: set[int] = set()
    free = count(int(tables.images.ids.max(initial=0)) + 1)
    for row in range(len(tables.images)):
        found = _find(str(tables.image_path(row)), listing)
        if found is None or found in damaged:
            continue
        number = int(tables.images.ids[row])
        number = next(free) if number in taken else number
        taken.add(number)
        annotated = (int(tables.images.sizes[row, 0]), int(tables.images.sizes[row, 1]))
        size = read_size(found) if found in off or not all(annotated) else annotated
        entry = without_infinities(tables.image_entry(row))
        extra = {key: value for key, value in entry.items() if key not in ("id", "file_name", "height", "width")}
        name = str(Path(found).relative_to(tables.image_root)) if _is_below(found, tables.image_root) else found
        if "filename" in extra and found in named_otherwise:
            extra["filename"] = Path(found).name
        source = tables.images.sources[row] if len(tables.images.sources) else ""
        place = int(tables.images.rows[row])
        new = builder.add_image(name, size=size, source=source, number=number, row=place, extra=extra)
        kept[row] = new, size
    return kept


def _find(path: str, listing: Listing) -> str | None:
    """The file of a path, or the one that is only written otherwise."""
    if listing.has(path):
        return path
    other = listing.other_form(path)
    return None if other is None else str(other)


def _is_below(path: str, root: Path) -> bool:
    return path.startswith(f"{root}/")


def _add_objects(builder: TablesBuilder, patient: _Patient, kept: Mapping[int, tuple[int, Size]]) -> None:
    tables = patient.tables
    objects = tables.objects
    sizes = np.ones((len(tables.images), 2), np.int64)
    there = np.zeros(len(tables.images), np.bool_)
    for image, (_, size) in kept.items():
        sizes[image], there[image] = size, True
    known = there[objects.images] & ~patient.about("annotation-duplicate")
    others = {(finding.file, finding.where) for finding in patient.by_code.get("image-size-differs", ())}
    held = np.asarray([tables.locate_image(row) in others for row in range(len(tables.images))], np.bool_)
    mended = mend_boxes(objects.boxes, sizes[objects.images], tables.form, patient.convention, held[objects.images])
    for code, cases in mended.cases.items():
        patient.note(
            code, np.flatnonzero(cases & known).tolist(), lost=int(KINDS[code].repair == KINDS["box-no-area"].repair)
        )
    ids = _fresh_ids(objects.ids)
    for row in np.flatnonzero(known & mended.keep).tolist():
        image, size = kept[int(objects.images[row])]
        case = Case(
            codes=patient.codes.get(row, frozenset()),
            convention=patient.convention,
            form=tables.form,
            annotated=_size(tables, int(objects.images[row])),
            size=size,
            written=objects.boxes[row],
            box=mended.boxes[row],
            keypoints=len(tables.keypoint_names),
        )
        entry = without_infinities(mend_entry(plain_entry(tables, row), case)) | {"id": ids[row]}
        number = int(objects.rows[row])
        builder.add_object(image, int(objects.labels[row]), mended.boxes[row].tolist(), row=number, extra=entry)


def _size(tables: Tables, image: int) -> Size:
    height, width = tables.images.sizes[image].tolist()
    return height, width


def _fresh_ids(ids: NDArray[np.int64]) -> list[int]:
    """An id for each object: its own, or a free one where it has none or another had it before."""
    free = count(int(ids.max(initial=0)) + 1)
    taken: set[int] = set()
    fresh = []
    for number in ids.tolist():
        fresh.append(next(free) if number == -1 or number in taken else number)
        taken.add(number)
    return fresh
