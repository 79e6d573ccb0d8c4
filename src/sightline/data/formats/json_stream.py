"""A JSON object of any size, read in one pass with little memory: the lists named come chunk by chunk.

COCO's training annotations are 450 MB of text, which as Python objects are several gigabytes. Here the file goes by in
windows. In each window NumPy finds the brackets outside of texts, and from their depth where each element of a list
begins and ends; what an element holds is for the caller to parse. The places of all elements come along, so that one
can be read again later without reading the rest.
"""

import json
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from sightline.errors import DataError

WINDOW = 1 << 20
"""Bytes read at once."""

_BOM = b"\xef\xbb\xbf"
_SPACE = re.compile(rb"[ \t\r\n]*")
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(rb"[^,\]}\s]+")
_QUOTE, _BACKSLASH, _BAR = ord('"'), ord("\\"), ord("|")
_OPEN, _CLOSE = (ord("{"), ord("[")), (ord("}"), ord("]"))

_STEP = np.zeros(256, np.int32)
_STEP[list(_OPEN)] = 1
_STEP[list(_CLOSE)] = -1

_SHORT = 200
"""Bytes that two points take at most, each coordinate with all its digits and a space."""


@dataclass(frozen=True)
class Member:
    """One ``"key": value`` of the object at the top.

    Args:
        key: the key.
        text: the value's text.
        offset: where the text begins in the file.
    """

    key: str
    text: bytes
    offset: int


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some neighbouring elements of one list.

    Args:
        key: of the list.
        first: number of the first element in the list.
        text: the elements with the brackets of a list around them.
        offset: where the first element begins in the file, so that byte b of ``text`` is byte offset + b - 1 of it.
        spans: (N, 2) int64, where in the file each element that is an object or a list begins, and its length.
        suspects: places among them of elements that hold a list of lists with fewer than six numbers in one.
    """

    key: str
    first: int
    text: bytes
    offset: int
    spans: NDArray[np.int64]
    suspects: tuple[int, ...] = ()


def read_members(path: Path, lists: Collection[str]) -> Iterator[Member | Chunk]:
    """The members of the object at the top of a file, in order.

    Args:
        path: the file, UTF-8 with or without a byte order mark.
        lists: keys whose values come as chunks where they are lists that are not empty; all others come whole.

    Raises:
        DataError: the file cannot be read, is not an object, or ends early.
    """
    try:
        with path.open("rb") as file:
            yield from _Reader(file, path).members(frozenset(lists))
    except OSError as error:
        what = f"the annotation file cannot be read ({error.strerror})"
        raise DataError(what, place=path, cure="check the path and the file's permissions") from error


def invalid(path: Path, what: str, offset: int) -> DataError:
    """What to raise about a byte of a file that breaks JSON's rules; the file is read again to count lines."""
    line, column, left = 1, 1, offset
    with path.open("rb") as file:
        while left > 0 and (block := file.read(min(left, WINDOW))):
            left -= len(block)
            line += block.count(b"\n")
            newline = block.rfind(b"\n")
            column = len(block) - newline if newline >= 0 else column + len(block)
    return DataError(
        f"not valid JSON ({what})",
        place=f"{path}, line {line}, column {column}",
        cause="an interrupted copy or download",
        cure="fetch the file again, or check it with a JSON tool",
    )


class _Reader:
    """The window on the file: ``_buffer`` holds what lies ahead, ``_base`` says where in the file it begins."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file = file
        self._path = path
        self._buffer = b""
        self._base = 0
        self._at = 0

    def members(self, lists: frozenset[str]) -> Iterator[Member | Chunk]:
        self._more()
        if self._buffer.startswith(_BOM):
            self._at = len(_BOM)
        if self._peek() != b"{":
            raise self._not_an_object()
        self._at += 1
        if self._peek() == b"}":
            self._at += 1
            return self._finish()
        while True:
            key = self._key()
            if key in lists and self._peek() == b"[":
                yield from self._elements(key)
            else:
                yield self._value(key)
            sign = self._peek()
            self._at += 1
            if sign == b"}":
                return self._finish()
            if sign != b",":
                self._at -= 1
                raise self._error("expected a comma or a closing brace")

    def _finish(self) -> None:
        if self._peek() != b"":
            raise self._error("something follows the end")

    def _not_an_object(self) -> DataError:
        if self._peek() in (b"[", b'"', *(bytes([digit]) for digit in b"0123456789-tfn")):
            what = "COCO's JSON starts with an object { }"
            return DataError(what, place=f"{self._path}, top level", cure="give a COCO annotation file")
        return self._error("the file is empty" if not self._peek() else "expected an opening brace")

    def _key(self) -> str:
        if self._peek() != b'"':
            raise self._error("expected a key in double quotes")
        key: str = self._parsed(self._matched(_TEXT, "a text without an end"))
        if self._peek() != b":":
            raise self._error("expected a colon")
        self._at += 1
        return key

    def _value(self, key: str) -> Member:
        sign = self._peek()
        start = self._base + self._at
        if sign in (b"{", b"["):
            return Member(key, self._container(), start)
        what = f"the value of {key!r} is missing"
        return Member(key, self._matched(_TEXT if sign == b'"' else _SCALAR, what), start)

    def _matched(self, pattern: re.Pattern[bytes], what: str) -> bytes:
        while True:
            found = pattern.match(self._buffer, self._at)
            if found and found.end() < len(self._buffer):
                self._at = found.end()
                return found.group()
            if not self._more():
                raise self._error(what)

    def _container(self) -> bytes:
        """A whole value in brackets, however long."""
        while True:
            places, steps = _brackets(self._buffer, self._at)
            closed = np.flatnonzero(np.cumsum(steps) == 0)
            if len(closed):
                end = int(places[closed[0]]) + 1
                text = self._buffer[self._at : end]
                self._at = end
                return text
            if not self._more():
                raise self._error("the file ends within a value")

    def _elements(self, key: str) -> Iterator[Chunk]:
        """The list that begins here. An element longer than the window makes the window longer."""
        self._at += 1
        first = 0
        awaited = False
        while True:
            self._drop()
            places, steps = _brackets(self._buffer, 0)
            depth = np.cumsum(steps, dtype=np.int64)
            over = np.flatnonzero(depth < 0)
            last = len(over) > 0
            known = slice(int(over[0]) if last else None)
            ends = places[known][(depth[known] == 0) & (steps[known] < 0)] + 1
            starts = places[known][(depth[known] == 1) & (steps[known] > 0)][: len(ends)]
            if last or len(ends):
                stop = self._bracket(int(places[over[0]])) if last else int(ends[-1])
                if awaited and last and not self._buffer[:stop].strip():
                    raise self._error("expected a value after the comma")
                suspects = self._short_lists(places[known], steps[known], depth[known], ends)
                spans = np.stack([starts + self._base, ends - starts], axis=1)
                yield Chunk(key, first, b"[" + self._buffer[:stop] + b"]", self._base, spans, suspects)
                first += len(ends)
                self._at = stop
                if last:
                    self._at += 1
                    return
                awaited = self._skip_comma()
            elif not self._more():
                raise self._error(f"the list '{key}' has no end")

    def _bracket(self, place: int) -> int:
        """The place of the bracket that closes a list; refuses a brace there."""
        if self._buffer[place : place + 1] != b"]":
            self._at = place
            raise self._error("expected a closing bracket")
        return place

    def _short_lists(
        self, places: NDArray[np.int64], steps: NDArray[np.int32], depth: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[int, ...]:
        """Elements with an innermost list at depth 3, where COCO's polygons are, of fewer than six values."""
        begins = np.flatnonzero((depth[:-1] == 3) & (steps[:-1] > 0) & (steps[1:] < 0))
        # What follows the last whole element is looked at when the rest of it is there.
        near = begins[(places[begins + 1] - places[begins] < _SHORT) & (places[begins] < ends.max(initial=0))]
        short = [
            start
            for start, end in zip(places[near].tolist(), places[near + 1].tolist(), strict=True)
            if self._buffer.count(b",", start, end) < 5
        ]
        return tuple(sorted(set(np.searchsorted(ends, short).tolist())))

    def _skip_comma(self) -> bool:
        """Whether there was one, as between elements there must be."""
        sign = self._peek()
        if sign == b",":
            self._at += 1
        elif sign not in (b"", b"]"):
            raise self._error("expected a comma")
        return sign == b","

    def _peek(self) -> bytes:
        """The next sign that is no space; nothing at the end of the file."""
        while True:
            found = _SPACE.match(self._buffer, self._at)
            self._at = found.end() if found else self._at
            if self._at < len(self._buffer):
                return self._buffer[self._at : self._at + 1]
            if not self._more():
                return b""

    def _drop(self) -> None:
        self._buffer = self._buffer[self._at :]
        self._base += self._at
        self._at = 0

    def _more(self) -> bool:
        self._drop()
        # A value that does not fit is read in steps that grow with it, so that the cost stays linear.
        block = self._file.read(max(WINDOW, len(self._buffer)))
        self._buffer += block
        return bool(block)

    def _parsed(self, text: bytes) -> str:
        try:
            value = json.loads(text)
        except ValueError as error:
            raise self._error(f"a text that cannot be read ({error})") from error
        return str(value)

    def _error(self, what: str) -> DataError:
        return invalid(self._path, what, self._base + self._at)


def _brackets(text: bytes, start: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where brackets stand outside of texts, and +1 or -1 for each; ``start`` must lie outside of a text."""
    signs = np.frombuffer(text, np.uint8)[start:]
    # Brackets, braces and the backslash are neighbours once bit 5 is set: one comparison finds all five (and the bar).
    places = np.flatnonzero((((signs | 0x20) - np.uint8(0x7B)) <= 2) | (signs == _QUOTE))
    kinds = signs[places]
    if (kinds == _BACKSLASH).any():
        places, kinds = _without_escaped(places, kinds)
    quotes = kinds == _QUOTE
    outside = ~quotes & (np.cumsum(quotes, dtype=np.int32) & 1 == 0) & (kinds != _BAR)
    return places[outside] + start, _STEP[kinds[outside]]


def _without_escaped(
    places: NDArray[np.int64], kinds: NDArray[np.uint8]
) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """The same without backslashes and without the signs that they escape."""
    slashes = places[kinds == _BACKSLASH]
    begins = np.flatnonzero(np.diff(slashes, prepend=-2) != 1)
    lengths = np.diff(np.append(begins, len(slashes)))
    after = slashes[begins] + lengths
    escaped = after[lengths % 2 == 1]
    keep = (kinds != _BACKSLASH) & ~np.isin(places, escaped)
    return places[keep], kinds[keep]
