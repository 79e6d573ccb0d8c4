"""The texts of COCO entries, read one by one when they are asked for: from the annotation file, or from memory."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.mask_files import with_mask
from sightline.errors import DataError


@dataclass(frozen=True)
class Stamp:
    """By what a file is known to be the same as before.

    Args:
        bytes: its length.
        changed: time of its last change in nanoseconds.
    """

    bytes: int
    changed: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The stamp of a file as it is now; raises ``OSError`` where there is none."""
        status = path.stat()
        return cls(status.st_size, status.st_mtime_ns)


@dataclass(frozen=True, eq=False)
class Details:
    """Texts of JSON objects, in a file or in memory.

    Args:
        path: the file; None where they are in memory.
        stamp: of the file when it was read.
        texts: all bytes, where they are in memory.
    """

    path: Path | None
    stamp: Stamp
    texts: NDArray[np.uint8]

    @classmethod
    def in_file(cls, path: Path) -> "Details":
        """Entries that stay in their file."""
        return cls(path, Stamp.of(path), np.zeros(0, np.uint8))

    @classmethod
    def in_memory(cls, texts: bytes) -> "Details":
        """Entries that have no JSON file of their own."""
        return cls(None, Stamp(len(texts), 0), np.frombuffer(texts, np.uint8))

    def read(self, offset: int, length: int) -> dict[str, Any]:
        """One entry, with its mask.

        Raises:
            DataError: the file has changed since it was opened, or a label image cannot be read.
        """
        try:
            entry = json.loads(self.text(offset, length))
        except (ValueError, RecursionError) as error:
            raise DataError(
                f"an entry cannot be read ({error})", place=self.path, cause="the file was changed while it was read"
            ) from error
        return with_mask(entry)

    def text(self, offset: int, length: int) -> bytes:
        """The text of one entry; raises :class:`DataError` as :meth:`read`."""
        if self.path is None:
            return self.texts[offset : offset + length].tobytes()
        try:
            with self.path.open("rb") as file:
                self._require_unchanged()
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise self._gone(error) from error

    def each(self, spans: NDArray[np.int64]) -> Iterator[bytes]:
        """The texts of many entries; the file is opened once. Raises :class:`DataError` as :meth:`read`.

        Args:
            spans: (N, 2) offset and length of each.
        """
        if self.path is None:
            yield from (self.text(offset, length) for offset, length in spans.tolist())
            return
        try:
            with self.path.open("rb") as file:
                self._require_unchanged()
                for offset, length in spans.tolist():
                    file.seek(offset)
                    yield file.read(length)
        except OSError as error:
            raise self._gone(error) from error

    def _gone(self, error: OSError) -> DataError:
        return DataError(
            f"the annotation file cannot be read ({error.strerror})", place=self.path, cure="open the set again"
        )

    def _require_unchanged(self) -> None:
        if self.path is not None and Stamp.of(self.path) != self.stamp:
            raise DataError(
                "the annotation file has changed since the set was opened", place=self.path, cure="open the set again"
            )
