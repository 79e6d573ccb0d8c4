"""The check of a set: everything that is wrong or odd, each case with its place, cause and cure.

The readers tell of what breaks the format, the checks beside this file of what makes no sense. Nothing is changed.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sightline.data.box_conventions import read_boxes
from sightline.data.doctor import box_checks, image_checks, mask_checks
from sightline.data.doctor.class_names import check_names
from sightline.data.doctor.similar_images import Pair, find_similar, similar_findings
from sightline.data.finding_kinds import KINDS, Severity
from sightline.data.findings import Finding, Findings
from sightline.data.formats.layouts import Layout, recognise
from sightline.data.records import find_images
from sightline.data.tables import Tables
from sightline.errors import DataError

Progress = Callable[[int, int], None]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")
"""From worst to least."""

_WITHOUT_BOXES = frozenset({"masks", "folders"})
"""Formats whose boxes nobody drew: they follow from label images, or are the whole image."""


@dataclass(frozen=True, eq=False)
class Checkup:
    """What a check found.

    Args:
        path: the set.
        form: its format.
        splits: the annotations of each split that could be read.
        findings: every case, the worst first.
        looked: whether all pixels were decoded, for damage and likeness.
    """

    path: Path
    form: str
    splits: Mapping[str, Tables]
    findings: tuple[Finding, ...]
    looked: bool

    @property
    def counts(self) -> dict[str, int]:
        """Cases of each kind, by code, the worst first."""
        return dict(Counter(finding.code for finding in self.findings))

    def number(self, severity: Severity) -> int:
        """Cases of a severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        sizes = {name: {"images": len(t.images), "objects": len(t.objects)} for name, t in self.splits.items()}
        return {
            "set": str(self.path),
            "format": self.form,
            "splits": sizes,
            "pixels_checked": self.looked,
            "severities": {severity: self.number(severity) for severity in SEVERITIES},
            "counts": self.counts,
            "findings": [finding.to_dict() for finding in self.findings],
        }


def check(
    path: Path, *, splits: tuple[str, ...] = (), pixels: bool = True, progress: Progress | None = None
) -> Checkup:
    """Checks a set.

    Args:
        path: as for ``open_dataset``.
        splits: which splits; none stands for all.
        pixels: whether all images are decoded, to find damaged, identical and nearly identical ones.
        progress: called with images done and images in all, while pixels are decoded.

    Raises:
        DataError: nothing to recognise, or no such split.
    """
    layout = recognise(path)
    layout.require(splits, path)
    tables: dict[str, Tables] = {}
    listed: list[Finding] = []
    for split in splits or layout.readers:
        findings = Findings(thorough=True)
        try:
            tables[split] = layout.readers[split](findings)
            _check_split(tables[split], findings)
        except DataError as error:
            findings.add_error("file-unreadable", error)
        listed += [replace(finding, split=split) for finding in findings]
        listed += _counted_only(findings, split, layout)
    # A file that describes a whole set names all of its splits.
    whole = not splits and (path.is_dir() or layout.form == "yolo")
    listed += _across(tables, {finding.image for finding in listed}, whole=whole)
    if pixels:
        listed += _look(tables, progress, {finding.image for finding in listed if finding.code == "image-damaged"})
    listed = _once(listed, tables)
    ranks = {code: (SEVERITIES.index(kind.severity), place) for place, (code, kind) in enumerate(KINDS.items())}
    order = {split: place for place, split in enumerate(layout.readers, start=1)}
    listed.sort(key=lambda finding: (ranks[finding.code], order.get(finding.split, 0)))
    return Checkup(path, layout.form, tables, tuple(listed), pixels)


def _check_split(tables: Tables, findings: Findings) -> None:
    found = find_images(tables, findings)
    sizes = image_checks.check_headers(tables, found, findings)
    reading = read_boxes(tables, sizes)
    if tables.form not in _WITHOUT_BOXES:
        findings.extend(list(box_checks.check_boxes(tables, reading)))
        findings.extend(list(box_checks.check_duplicates(tables, reading)))
    written = tables.images.sizes
    others = (written > 0).all(axis=1) & (sizes != written).any(axis=1)
    # Masks of another picture are told by its size alone.
    held = replace(reading, sizes=np.where(others[tables.objects.images][:, None], 0, reading.sizes))
    findings.extend(list(mask_checks.check_masks(tables, held)))
    findings.extend(list(mask_checks.check_keypoints(tables, held)))
    findings.extend(list(image_checks.check_listing(tables)))


def check_again(checkup: Checkup, splits: Mapping[str, Tables]) -> Checkup:
    """The checks of boxes, masks, keypoints and sizes, of tables that were repaired; no pixel is looked at."""
    listed: list[Finding] = []
    for split, tables in splits.items():
        findings = Findings(thorough=True)
        _check_split(tables, findings)
        listed += [replace(finding, split=split) for finding in findings]
    return Checkup(checkup.path, checkup.form, splits, tuple(_once(listed, splits)), looked=False)


def _once(listed: Iterable[Finding], splits: Mapping[str, Tables]) -> list[Finding]:
    """Findings without those of a file that several splits list, as VOC's train and trainval do, but for the first."""
    sources = {str(tables.source) for tables in splits.values()}
    sizes = {split: len(tables.images) for split, tables in splits.items()}
    kept: dict[Finding, Finding] = {}
    # What is wrong in train and in trainval is told as train's: the smaller split says more.
    for finding in sorted(listed, key=lambda finding: sizes.get(finding.split, 0)):
        shared = finding.file not in sources and not finding.code.endswith("-across")
        kept.setdefault(replace(finding, split="", row=None) if shared else finding, finding)
    return list(kept.values())


def _counted_only(findings: Findings, split: str, layout: Layout) -> Iterable[Finding]:
    """Kinds that readers count without naming the cases: one finding a kind."""
    named = Counter(finding.code for finding in findings)
    source = layout.sources.get(split, layout.root)
    for code, number in findings.counts.items():
        if number > named[code]:
            cases = number - named[code]
            what = f"{cases:,} {'case' if cases == 1 else 'cases'}: {KINDS[code].title}"
            yield Finding(code, what, str(source), split=split)


def _across(splits: Mapping[str, Tables], known: set[str], *, whole: bool) -> list[Finding]:
    """Findings that need more than one split; some need all."""
    found = list(image_checks.check_classes(splits, whole=whole)) + list(_in_two_splits(splits))
    if not set(map(_form, splits.values())) & _WITHOUT_BOXES:
        found += check_names(splits)
    return found + list(image_checks.check_unlisted(splits, known)) if whole else found


def _form(tables: Tables) -> str:
    return tables.form


def _files(tables: Tables) -> dict[str, int]:
    return {str(tables.image_path(row)): row for row in range(len(tables.images))}


def _in_two_splits(splits: Mapping[str, Tables]) -> Iterable[Finding]:
    """Files listed by two splits, neither of which is a part of the other (as VOC's train is of trainval)."""
    files = {name: _files(tables) for name, tables in splits.items()}
    names = list(files)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            shared = [path for path in files[one] if path in files[other]]
            if shared and len(shared) < min(len(files[one]), len(files[other])):
                for path in shared:
                    yield Finding("images-identical-across", f"listed by {one} and {other}", path, "", path, other)


def _look(splits: Mapping[str, Tables], progress: Progress | None, known: set[str]) -> list[Finding]:
    """Damaged, identical and nearly identical images, each file looked at once."""
    owners: dict[str, str] = {}
    # A file of train and of trainval is told as train's: the smaller split says more.
    for split, tables in sorted(splits.items(), key=lambda item: len(item[1].images)):
        for path in _files(tables):
            if Path(path).is_file():
                owners.setdefault(path, split)
    images = [(split, Path(path)) for path, split in owners.items()]
    result = find_similar([path for _, path in images], progress=progress)
    damaged = [
        Finding("image-damaged", error.what, str(path), image=str(path), split=owners[str(path)])
        for path, error in result.unreadable
        if str(path) not in known
    ]
    pairs: list[Pair] = result.pairs
    return damaged + similar_findings(pairs, images)
