"""Features of regions on the disk: computed once, read by what is fitted to them (Girshick et al. 2014, section 2.3).

A folder with a header of the settings that the features depend on, one file of raw numbers for each kind of feature,
and a file of progress with one record an image, which tells what its rows are of. Images are appended in order: their
numbers are on the disk before their record is, so that a process that is killed, or a disk that is full, costs the
image at hand and no other. What is left goes on where it was, and the bytes come out the same. Features of other
settings are refused by name.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from sightline.errors import ConfigError, SightlineError
from sightline.files import sync_folder, write_atomically, writing

Number = Literal["float16", "float32"]
_FORMAT = 2
_HEADER, _PROGRESS = "features.json", "progress.bin"
_MAKE_ROOM = "make room, then go on with --resume: the features that are there are kept"


@dataclass(eq=False)
class FeatureCache:
    """Rows of numbers by image, for one or more kinds of feature.

    Open it with :meth:`open`; ``append`` adds the next image, everything else reads.

    Args:
        folder: holds nothing else.
        widths: numbers a row, by kind of feature.
        number: what they are kept as.
        counts: (images, kinds) int64 rows of each image, in the order of ``widths``.
        marks: (images,) int64, what ``append`` was told that the rows of each are of.
    """

    folder: Path
    widths: Mapping[str, int]
    number: Number
    counts: NDArray[np.int64]
    marks: NDArray[np.int64]

    @classmethod
    def open(
        cls, folder: Path, settings: Mapping[str, object], widths: Mapping[str, int], number: Number = "float16"
    ) -> "FeatureCache":
        """Begin a cache, or go on with the one that is there.

        Args:
            folder: made if it is not there.
            settings: all that the features depend on, as JSON can hold it.
            widths: numbers a row, by kind of feature.
            number: float16 takes half the room; features of networks keep 3 digits in it.

        Raises:
            ConfigError: the folder holds features of other settings; names the first one that differs.
            SightlineError: the folder cannot be written, or its header is damaged.
        """
        wanted = {"format": _FORMAT, "number": number, **settings, "widths": dict(widths)}
        wanted = json.loads(json.dumps(wanted))
        header = folder / _HEADER
        if header.exists():
            _require_same(_read_header(header), wanted, folder)
        else:
            with writing(header, _MAKE_ROOM):
                folder.mkdir(parents=True, exist_ok=True)
                write_atomically(header, json.dumps(wanted, indent=2) + "\n")
        cache = cls(folder, dict(widths), number, np.zeros((0, len(widths)), np.int64), np.zeros(0, np.int64))
        with writing(folder, _MAKE_ROOM):
            cache._recover()
        return cache

    @property
    def images(self) -> int:
        """Whose features are there, from the first one on."""
        return len(self.counts)

    @property
    def bytes(self) -> int:
        """On the disk, in all kinds of feature."""
        return sum(int(rows) * self._row_bytes(kind) for kind, rows in zip(self.widths, self._rows(), strict=True))

    def starts(self, kind: str) -> NDArray[np.int64]:
        """(images + 1,): the row that each image begins at, and the end."""
        return np.concatenate([[0], self.counts[:, list(self.widths).index(kind)].cumsum()])

    def rows(self, kind: str) -> NDArray[Any]:
        """(N, width) of all images, mapped into memory and read where it is touched."""
        count = int(self.starts(kind)[-1])
        shape = (count, self.widths[kind])
        if count == 0:
            return np.zeros(shape, self.number)
        return np.memmap(self._file(kind), dtype=self.number, mode="r", shape=shape)

    def append(self, features: Mapping[str, NDArray[Any]], mark: int) -> None:
        """Add the next image and wait until it is on the disk.

        Args:
            features: (rows, width) by kind; rows may be 0.
            mark: a number that tells what the rows are of from what they might be of another time.

        Raises:
            SightlineError: the disk is full, or a number is not finite in what they are kept as.
        """
        kept = {kind: self._kept(kind, features[kind]) for kind in self.widths}
        # By plain writes: on a full disk a store into a memory map would kill the process instead of raising.
        for (kind, values), rows in zip(kept.items(), self._rows(), strict=True):
            _write_at(self._file(kind), int(rows) * self._row_bytes(kind), values.tobytes())
        counts = np.array([len(values) for values in kept.values()], np.int64)
        record = counts.tobytes() + np.int64(mark).tobytes()
        record += zlib.crc32(record).to_bytes(4, "little")
        _write_at(self.folder / _PROGRESS, self.images * len(record), record)
        self.counts = np.concatenate([self.counts, counts[None]])
        self.marks = np.append(self.marks, np.int64(mark))

    def _kept(self, kind: str, values: NDArray[Any]) -> NDArray[Any]:
        if values.ndim != 2 or values.shape[1] != self.widths[kind]:
            raise ValueError(f"{kind} must be (rows, {self.widths[kind]}), got {values.shape}")
        with np.errstate(over="ignore"):
            kept = values.astype(self.number)
        if not np.isfinite(kept).all():
            raise SightlineError(
                f"a feature of image {self.images + 1} is not finite as {self.number}",
                place=self._file(kind),
                cause="the fine-tuning went wrong" if self.number == "float32" else "it is above 65,504",
                cure="lower the learning rate" if self.number == "float32" else "start again with cached=float32",
            )
        return kept

    def _recover(self) -> None:
        """Count the images whose records are whole, and cut off what was being written when the process ended."""
        place, kinds = self.folder / _PROGRESS, len(self.widths)
        data = place.read_bytes() if place.exists() else b""
        size = 8 * (kinds + 1) + 4
        records = [data[at : at + size] for at in range(0, len(data) - size + 1, size)]
        sound = [np.frombuffer(record[:-4], np.int64) for record in _sound(records)]
        self.counts, self.marks = np.split(np.array(sound, np.int64).reshape(len(sound), kinds + 1), [kinds], axis=1)
        self.marks = self.marks[:, 0]
        while self.images and not self._whole():
            self.counts, self.marks = self.counts[:-1], self.marks[:-1]
        ends = [int(rows) * self._row_bytes(kind) for kind, rows in zip(self.widths, self._rows(), strict=True)]
        places = [self._file(kind) for kind in self.widths]
        for file, end in [*zip(places, ends, strict=True), (place, self.images * size)]:
            file.touch()
            os.truncate(file, end)
        sync_folder(self.folder)

    def _whole(self) -> bool:
        """Whether the files hold all rows that the records speak of."""
        sizes = {kind: self._file(kind).stat().st_size if self._file(kind).exists() else 0 for kind in self.widths}
        return all(
            int(rows) * self._row_bytes(kind) <= sizes[kind]
            for kind, rows in zip(self.widths, self._rows(), strict=True)
        )

    def _rows(self) -> NDArray[np.int64]:
        total: NDArray[np.int64] = self.counts.sum(axis=0)
        return total

    def _row_bytes(self, kind: str) -> int:
        return self.widths[kind] * np.dtype(self.number).itemsize

    def _file(self, kind: str) -> Path:
        return self.folder / f"{kind}.{self.number}"


def describe_bytes(count: float) -> str:
    """A number of bytes for people: 812 kB, 1.2 GB."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count / 1e3:.3g} kB"


def _sound(records: list[bytes]) -> Iterator[bytes]:
    """The records before the first one that is not what was written."""
    for record in records:
        if zlib.crc32(record[:-4]).to_bytes(4, "little") != record[-4:]:
            return
        yield record


def _write_at(place: Path, offset: int, data: bytes) -> None:
    """Write at the end of what counts, over what an attempt before left behind, and wait for the disk."""
    with writing(place, _MAKE_ROOM), place.open("r+b") as file:
        file.seek(offset)
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def _read_header(header: Path) -> dict[str, object]:
    try:
        return dict(json.loads(header.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SightlineError(
            f"the header of the features cannot be read ({error})",
            place=header,
            cause="it is damaged",
            cure=f"delete the folder {header.parent.name}, then go on with --resume: they are computed again",
        ) from error


def _require_same(found: Mapping[str, object], wanted: Mapping[str, object], folder: Path) -> None:
    for name in [*wanted, *(name for name in found if name not in wanted)]:
        if found.get(name) != wanted.get(name):
            raise ConfigError(
                f"the features there are of other settings: {name} is {found.get(name)} there and "
                f"{wanted.get(name)} here",
                place=folder,
                cause="they are left from other weights, data or settings",
                cure=f"delete the folder {folder.name}, then go on with --resume: they are computed again",
            )
