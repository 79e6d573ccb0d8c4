"""A labelled set divided anew and written as a COCO set: the user's own folder is only read.

Entries are written as they were read. Ids change only where two of the joined splits use the same one. An image that
several splits list (as VOC's trainval lists all of train) is taken once, with the objects of the first.
"""

import re
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.conversion import read_splits
from sightline.data.doctor.similar_images import Progress, clusters, find_similar
from sightline.data.formats import coco_write
from sightline.data.formats.coco_set import captions_file
from sightline.data.formats.writing import ImageMode, Output, image_name
from sightline.data.split import Contents, Rows, SplitReport, make_splits
from sightline.data.tables import Tables
from sightline.errors import ConfigError, DataError
from sightline.files import require_outside, whole_folder

_PART = re.compile("[A-Za-z]+")


@dataclass(frozen=True)
class SplitWishes:
    """How a set is to be divided.

    Args:
        parts: share of the images by the part's name.
        seed: of what is left to chance.
        group_by: what stays together: ``folder``, ``regex:EXPRESSION`` or ``column:KEY``; see :func:`groups_of`.
        duplicates: whether identical and nearly identical images stay together, which takes decoding all of them.
        images: copied, or linked.
    """

    parts: Mapping[str, float]
    seed: int = 0
    group_by: str | None = None
    duplicates: bool = True
    images: ImageMode = "copy"


@dataclass(frozen=True, eq=False)
class SplitSet:
    """What was done.

    Args:
        report: how well the set is divided.
        groups: of images that stayed together for their group; None where no groups were asked for.
        alike: images with an identical or nearly identical one.
        remarks: what was changed or left out, counted by reason.
    """

    report: SplitReport
    groups: int | None
    alike: int
    remarks: Counter[str]


def split_set(
    path: Path, out: Path, wishes: SplitWishes, *, splits: tuple[str, ...] = (), progress: Progress | None = None
) -> SplitSet:
    """Divides a set and writes it: ``annotations/instances_<part>.json`` and ``<part>/`` with its images.

    Args:
        path: the set, as for ``open_dataset``.
        out: a folder that does not exist; it is there only when all is written.
        wishes: how it is to be divided.
        splits: which splits are joined and divided; none stands for all.
        progress: called with images decoded and images in all, while near-duplicates are looked for.

    Raises:
        ConfigError: wishes that make no sense, or a folder that is there already.
        DataError: annotations that cannot be used, splits of different classes, fewer groups than parts, missing
            images.
        OSError: the disk is full.
    """
    for part in wishes.parts:
        if not _PART.fullmatch(part):
            raise ConfigError(f"'{part}' cannot be the name of a part", cure="use letters only, such as train")
    require_outside(out, path)
    if out.exists():
        raise ConfigError("there is something of this name already", place=out, cure="choose another folder")
    pool = _Pool.of(read_splits(path, splits)[1])
    groups = None if wishes.group_by is None else groups_of(pool, wishes.group_by)
    alike = [set(places) for places in pool.same_file()]
    if wishes.duplicates:
        alike += _alike(pool, progress)
    divided, report = make_splits(pool.contents(), wishes.parts, seed=wishes.seed, groups=groups, keep_together=alike)
    with whole_folder(out) as folder:
        _write(pool, divided, Output(folder, wishes.images))
    number = None if groups is None else len(set(groups))
    return SplitSet(report, number, len(set(chain.from_iterable(alike))), +pool.remarks)


@dataclass(eq=False)
class _Pool:
    """The images of the splits that are joined.

    Args:
        tables: the splits.
        members: place in ``tables`` and row of each image.
        remarks: what was changed or left out; added to.
    """

    tables: list[Tables]
    members: list[tuple[int, int]]
    remarks: Counter[str] = field(default_factory=Counter)

    @classmethod
    def of(cls, splits: Mapping[str, Tables]) -> "_Pool":
        """All images of splits, each file once.

        Raises:
            DataError: the splits have different classes.
        """
        tables = list(splits.values())
        (first, *names), known = splits, [[(c["id"], c["name"]) for c in each.categories] for each in tables]
        for name, classes in zip(names, known[1:], strict=True):
            if classes != known[0]:
                raise DataError(
                    f"the splits {first} and {name} have different classes",
                    place=tables[0].source,
                    cure="divide one of them alone with --split",
                )
        pool = cls(tables, [])
        owners: dict[Path, int] = {}
        for place, each in enumerate(tables):
            for row in range(len(each.images)):
                if owners.setdefault(each.image_path(row), place) == place:
                    pool.members.append((place, row))
        listed = sum(len(each.images) for each in tables)
        pool.remarks["image listed by several splits: taken once"] = listed - len(pool.members)
        return pool

    def path(self, image: int) -> Path:
        """The file of an image."""
        place, row = self.members[image]
        return self.tables[place].image_path(row)

    def entry(self, image: int) -> dict[str, Any]:
        """COCO's entry of an image."""
        place, row = self.members[image]
        return self.tables[place].image_entry(row)

    def contents(self) -> Contents:
        """What the images hold."""
        places = {member: image for image, member in enumerate(self.members)}
        owners, labels = [], []
        for place, each in enumerate(self.tables):
            image = np.array([places.get((place, row), -1) for row in range(len(each.images))], np.int64)
            owner = image[each.objects.images]
            owners.append(owner[owner >= 0])
            labels.append(each.objects.labels[owner >= 0])
        names = tuple(str(category["name"]) for category in self.tables[0].categories)
        return Contents(len(self.members), np.concatenate(owners), np.concatenate(labels), names)

    def same_file(self) -> Iterator[list[int]]:
        """Images whose file is listed more than once."""
        listed: dict[Path, list[int]] = {}
        for image in range(len(self.members)):
            listed.setdefault(self.path(image), []).append(image)
        return (images for images in listed.values() if len(images) > 1)


def groups_of(pool: _Pool, by: str) -> list[Hashable]:
    """The group of each image.

    Args:
        pool: the images.
        by: ``folder``, the folder of the image file; ``regex:EXPRESSION``, what the expression's first group (or, where
            it has none, all of it) finds in the file's name; ``column:KEY``, a value of COCO's image entry.

    Raises:
        ConfigError: none of these, or an expression that is none.
        DataError: an image without a group.
    """
    kind, _, value = by.partition(":")
    images = range(len(pool.members))
    if by == "folder":
        return [str(pool.path(image).parent) for image in images]
    if kind == "regex" and value:
        try:
            expression = re.compile(value)
        except re.error as error:
            raise ConfigError(f"'{value}' is no regular expression ({error})", cure="correct --group-by") from error
        return [_matched(expression, pool.path(image)) for image in images]
    if kind == "column" and value:
        return [_value(pool, image, value) for image in images]
    raise ConfigError(f"nothing can be grouped by '{by}'", cure="give folder, regex:EXPRESSION or column:KEY")


def _matched(expression: re.Pattern[str], path: Path) -> str:
    found = expression.search(path.name)
    text = None if found is None else found.group(1 if expression.groups else 0)
    if text is None:
        raise DataError(
            f"its name does not match '{expression.pattern}', so it has no group",
            place=path,
            cure="give an expression that matches the names of all images",
        )
    return text


def _value(pool: _Pool, image: int, key: str) -> str:
    entry = pool.entry(image)
    if entry.get(key) is None:
        known = ", ".join(sorted(name for name, value in entry.items() if value is not None))
        raise DataError(
            f"its entry has no '{key}', so it has no group",
            place=pool.path(image),
            cure=f"give a key that all entries have; this one has {known}",
        )
    return repr(entry[key])


def _alike(pool: _Pool, progress: Progress | None) -> list[set[int]]:
    paths = [pool.path(image) for image in range(len(pool.members))]
    found = find_similar(paths, progress=progress)
    pool.remarks["image that cannot be decoded: not compared with others"] = len(found.unreadable)
    return clusters(found.pairs, len(paths))


def _write(pool: _Pool, divided: Mapping[str, Rows], output: Output) -> None:
    kept = [[row for each, row in pool.members if each == place] for place in range(len(pool.tables))]
    orders = [each.objects_by_image() for each in pool.tables]
    image_ids = _ids(pool, [each.images.ids for each in pool.tables], kept, "image")
    objects = [
        [number for row in rows for number in order[first[row] : first[row + 1]].tolist()]
        for (order, first), rows in zip(orders, kept, strict=True)
    ]
    object_ids = _ids(pool, [each.objects.ids for each in pool.tables], objects, "annotation")
    header: dict[str, Any] = {}
    pool.remarks["file of captions left out"] = sum(captions_file(each) is not None for each in pool.tables)
    for each in pool.tables:
        for key, value in each.header.items():
            if header.setdefault(key, value) != value:
                pool.remarks[f"'{key}' differs between the splits: the first was kept"] += 1
    for part, images in divided.items():
        members = [pool.members[image] for image in images.tolist()]
        entries = [
            _image(pool.tables[place], row, part, output) | {"id": image_ids[place][row]} for place, row in members
        ]

        def annotations(members: Sequence[tuple[int, int]] = members) -> Iterator[dict[str, Any]]:
            for place, row in members:
                order, first = orders[place]
                for number in order[first[row] : first[row + 1]].tolist():
                    changed = {"id": object_ids[place][number], "image_id": image_ids[place][row]}
                    yield _annotation(pool.tables[place], number) | changed

        target = output.folder / "annotations" / f"instances_{part}.json"
        coco_write.write(target, pool.tables[0].categories, entries, annotations(), header, pool.remarks)


def _ids(pool: _Pool, own: Sequence[Rows], kept: Sequence[Sequence[int]], what: str) -> list[dict[int, int]]:
    """The ids of rows of each table: their own, or a new one where there is none, or an earlier row has the same."""
    fresh = count(max((int(ids.max(initial=0)) for ids in own), default=0) + 1)
    taken: set[int] = set()
    listed = []
    for tables, ids, rows in zip(pool.tables, own, kept, strict=True):
        new = {}
        for row, number in zip(rows, ids[list(rows)].tolist(), strict=True):
            used = number in taken
            new[row] = next(fresh) if used or number == -1 else number
            taken.add(new[row])
            pool.remarks[f"{what} id that is used twice: a new one"] += used and tables.form == "coco"
        listed.append(new)
    return listed


def _image(tables: Tables, row: int, part: str, output: Output) -> dict[str, Any]:
    name = output.put_image(tables.image_path(row), f"{part}/{image_name(tables, row)}")
    height, width = tables.images.sizes[row].tolist()
    size = {"height": height, "width": width} if height and width else {}
    return tables.image_entry(row) | {"file_name": name[len(part) + 1 :]} | size


def _annotation(tables: Tables, row: int) -> dict[str, Any]:
    entry = tables.object_entry(row)
    if np.isnan(tables.objects.areas[row]):
        x1, y1, x2, y2 = tables.objects.boxes[row].tolist()
        entry["area"] = (x2 - x1) * (y2 - y1)
    return entry
