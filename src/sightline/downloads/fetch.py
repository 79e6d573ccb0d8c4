"""One file over HTTP: resumed where it broke off, tried again, checked, and put in its place in one move.

What has arrived lies beside the file as ``NAME.part``, and ``NAME.part.json`` says which version of which address it
is a part of. A resumed transfer asks for the rest of that version alone; where the server ignores the range or its file
has changed, the transfer starts anew.
"""

import http
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sightline.downloads.failures import DamagedError, StorageError, UnreachableError
from sightline.downloads.part import Expected, Part, Version
from sightline.downloads.web import (
    NETWORK,
    BrokenError,
    NoConnectionError,
    OutOfRangeError,
    open_url,
    total_size,
    version_of,
)

Progress = Callable[[int, int], None]
"""Takes how many bytes are there and how many there are in all; 0 in all where the server does not say."""

Say = Callable[[str], None]
"""Takes one line that a person should know of."""

_CHUNK = 1 << 18
_ROOM_LEFT = 1 << 26
"""Bytes that stay free on the disk, whatever is downloaded."""
_TRIES = 2


@dataclass(frozen=True)
class Patience:
    """How long a slow or breaking connection is borne with.

    Args:
        timeout: seconds without a byte after which a connection counts as broken.
        waits: seconds before each new try; there are as many tries. One that got further than all before it starts
            the count anew.
        sleep: how to wait.
    """

    timeout: float = 30.0
    waits: tuple[float, ...] = (1.0, 4.0, 16.0)
    sleep: Callable[[float], None] = time.sleep


def fetch(
    url: str,
    path: Path,
    expected: Expected | None = None,
    *,
    progress: Progress | None = None,
    say: Say | None = None,
    patience: Patience | None = None,
) -> None:
    """Download a file, or the rest of it; ``path`` is there when it is whole and right, and not before.

    A file that is not as expected is removed and downloaded once more. An interruption leaves what has arrived, and the
    next call goes on from there. Two processes must not fetch the same path at once: the caller sees to that.

    Args:
        url: http or https.
        path: the file to make or replace; its folder is made.
        expected: what is known of it.
        progress: told after every piece.
        say: told what a person should know: a damaged file, a new try.
        patience: with bad connections.

    Raises:
        UnreachableError: no connection, too many broken ones, or an answer such as 404.
        DamagedError: twice the file was not the expected one.
        StorageError: no room on the disk, or the folder cannot be written.
    """
    expected, patience = expected or Expected(), patience or Patience()
    tell = say or (lambda _line: None)
    part = Part(url, path.with_name(f"{path.name}.part"))
    complaint: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for _ in range(_TRIES):
            _complete(part, expected, progress or (lambda _done, _total: None), tell, patience)
            complaint = expected.complaint(part.file)
            if complaint is None:
                part.become(path)
                return
            part.discard()
            tell(f"{path.name}: the downloaded file {complaint}; it was removed")
    except OSError as error:
        raise StorageError(f"cannot be written ({error.strerror or error})", place=part.file) from error
    raise DamagedError(
        f"the downloaded file {complaint}, twice",
        place=url,
        cause="the file was replaced at its source, or something on the way changes it",
        cure="try another network, or look at its source for a newer version",
    )


def _complete(part: Part, expected: Expected, progress: Progress, tell: Say, patience: Patience) -> None:
    """Connections until the part is whole."""
    failures, best, connected = 0, part.size(), False
    while True:
        try:
            _transfer(part, expected, progress, patience.timeout)
            return
        except NoConnectionError as error:
            if not connected:
                raise UnreachableError(f"cannot be reached ({error})", place=part.url, cause="no network") from error
            broken = str(error)
        except BrokenError as error:
            connected, broken = True, str(error)
        furthest = part.size()
        failures, best = (0, furthest) if furthest > best else (failures, best)
        if failures == len(patience.waits):
            raise UnreachableError(
                f"the transfer broke off {failures + 1} times at {furthest} bytes (at last: {broken})",
                place=part.url,
                cause="a bad connection or an overloaded server",
                cure="run it again later: it goes on from there",
            )
        tell(f"{part.file.stem}: {broken}; trying again in {patience.waits[failures]:g} s")
        patience.sleep(patience.waits[failures])
        failures += 1


def _transfer(part: Part, expected: Expected, progress: Progress, timeout: float) -> None:
    """One connection: the whole file, or the rest of it."""
    have, version = part.size(), part.version()
    if have and (version is None or (version.validator is None and not expected.has_checksum)):
        part.discard()
        have = 0
    if have and version is not None and version.total == have:
        return
    validator = None if version is None else version.validator
    try:
        response = open_url(part.url, timeout=timeout, after=have, version=validator)
    except OutOfRangeError as error:
        part.discard()
        raise BrokenError("the server's file is shorter than what has arrived") from error
    with response:
        start = _start(response, part, have, validator)
        total = total_size(response, start)
        _require_size(total, expected, part.url)
        total = expected.bytes if total is None else total
        _require_room(part.file.parent, (total or 0) - start)
        part.begin(Version(version_of(response.headers), total))
        _receive(response, part, start, total, progress)


def _start(response: Any, part: Part, have: int, validator: str | None) -> int:
    """Where the answer's first byte belongs: 0 for the whole file, else the end of what has arrived."""
    if response.status != http.HTTPStatus.PARTIAL_CONTENT:
        return 0
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    now = version_of(response.headers)
    changed = validator is not None and now is not None and now != validator
    if found is None or int(found[1]) != have or changed:
        part.discard()
        raise BrokenError("the server gives another range or version than was asked for")
    return have


def _require_size(total: int | None, expected: Expected, url: str) -> None:
    if None not in (total, expected.bytes) and total != expected.bytes:
        raise DamagedError(
            f"the server announces {total} bytes where {expected.bytes} were expected",
            place=url,
            cause="the file was replaced at its source, or a page is shown instead",
            cure="look at its source for what has changed",
        )


def _require_room(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if needed > 0 and needed + _ROOM_LEFT > free:
        raise StorageError(
            f"the disk has {free:,} bytes free, and {needed:,} are still to come",
            place=folder,
            cure="free some room, or choose a folder on another disk",
        )


def _receive(response: Any, part: Part, start: int, total: int | None, progress: Progress) -> None:
    done = start
    # Unbuffered: whatever kills this process, what has arrived is in the file.
    with part.file.open("r+b" if start else "wb", buffering=0) as file:
        file.seek(start)
        while total is None or done < total:
            try:
                chunk = response.read1(_CHUNK if total is None else min(_CHUNK, total - done))
            except NETWORK as error:
                raise BrokenError(f"{error or type(error).__name__}") from error
            if not chunk:
                break
            done += _written(file.fileno(), chunk)
            progress(done, total or 0)
    if total is not None and done < total:
        raise BrokenError(f"the connection ended after {done} of {total} bytes")


def _written(descriptor: int, chunk: bytes) -> int:
    """Writes all of a chunk; the system may take it in several bites."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return len(chunk)
