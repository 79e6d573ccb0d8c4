"""Collects what is wrong with labelled images; ``finding_kinds`` says what there is to find.

Readers note what they find in a :class:`Findings`. Opening a set refuses the kinds that leave no way to use it and
counts the rest; ``sightline data check`` lists them all.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.data.finding_kinds import KINDS, Kind
from sightline.errors import DataError


@dataclass(frozen=True)
class Finding:
    """One case.

    Args:
        code: its kind.
        what: what is wrong in this case.
        file: the annotation file, or the image.
        where: the place in the file such as ``annotations[17].bbox``; may be empty.
        image: the picture that shows it; may be empty.
        split: the split; filled in by the check.
        row: number of the annotation in the tables of the split, or None where it is about something else.
    """

    code: str
    what: str
    file: str
    where: str = ""
    image: str = ""
    split: str = ""
    row: int | None = None

    @property
    def kind(self) -> Kind:
        """What is known of the kind."""
        return KINDS[self.code]

    @property
    def place(self) -> str:
        """File, and place in it."""
        return f"{self.file}, {self.where}" if self.where else self.file

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        kind = self.kind
        return {
            "code": self.code,
            "severity": kind.severity,
            "what": self.what,
            "file": self.file,
            "where": self.where,
            "image": self.image,
            "split": self.split,
            "cause": kind.cause,
            "cure": kind.cure,
        }


class Findings:
    """Collects findings in the order in which they are met.

    Args:
        thorough: whether every case is kept, and readers look at what opening a set can do without (the inside of
            masks, keys that come twice). Otherwise the first case of each kind is kept, and all are counted.
    """

    def __init__(self, *, thorough: bool = False) -> None:
        self.counts: Counter[str] = Counter()
        self.thorough = thorough
        self._listed: list[Finding] = []

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._listed)

    def __len__(self) -> int:
        return len(self._listed)

    def add(
        self, code: str, what: str, file: str | Path, where: str = "", *, image: str = "", row: int | None = None
    ) -> None:
        """Notes one case; ``what`` may be empty where the kind says it all."""
        self.extend([Finding(code, what or KINDS[code].title, str(file), where, image, row=row)])

    def extend(self, findings: Sequence[Finding]) -> None:
        """Notes cases."""
        for finding in findings:
            self.counts[finding.code] += 1
            if self.thorough or self.counts[finding.code] == 1:
                self._listed.append(finding)

    def count(self, code: str, number: int) -> None:
        """Counts cases without keeping them."""
        if number:
            self.counts[code] += number

    def add_error(self, code: str, error: DataError, *, image: str = "") -> None:
        """Notes what a reader raised."""
        file, where = _split_place(error.place or "")
        self.add(code, error.what, file, where, image=image)

    def refuse(self) -> None:
        """Raises the first case that makes the set unusable.

        Raises:
            DataError: names the place, cause and cure.
        """
        for finding in self._listed:
            kind = finding.kind
            if kind.refused:
                more = self.counts[finding.code] - 1
                what = finding.what + (f" (and {more} more like it)" if more else "")
                mends = ", and --fix repairs them" if kind.repair else ""
                cure = f"{kind.cure}; `sightline data check` lists all defects{mends}"
                raise DataError(what, place=finding.place, cause=kind.cause, cure=cure)

    def by_title(self) -> Counter[str]:
        """Counts under the kinds' titles, as people read them; notes that need no mention are left out."""
        return Counter({KINDS[code].title: number for code, number in self.counts.items() if code not in _UNMENTIONED})


def _split_place(place: str) -> tuple[str, str]:
    """File, and place in it; a comma may be part of the file's name."""
    parts = place.split(", ")
    for count in range(len(parts), 1, -1):
        if os.path.exists(", ".join(parts[:count])):  # noqa: PTH110  # Path refuses what the system would answer
            return ", ".join(parts[:count]), ", ".join(parts[count:])
    return parts[0], ", ".join(parts[1:])


_UNMENTIONED = frozenset({"image-empty", "annotation-id-missing"})
