"""Writing files so that a crash at any moment leaves the old file or the new one, never half of one."""

import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sightline.errors import ConfigError, SightlineError


def sha256(path: Path) -> str:
    """What tells the content of a file apart from that of all others, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk (Windows cannot and need not)."""
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(old: Path, new: Path) -> None:
    """Rename a file or folder within its folder, and wait until that is on the disk."""
    old.rename(new)
    sync_folder(new.parent)


@contextmanager
def writing(place: Path, cure: str) -> Iterator[None]:
    """Turn a failure of the disk within the block into an answer.

    Args:
        place: what is being written.
        cure: what helps once there is room.

    Raises:
        SightlineError: the disk is full, or the place cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise SightlineError(
            f"cannot be written ({error.strerror or error})",
            place=place,
            cause="the disk is full or was taken away",
            cure=cure,
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Take away what :func:`replace_atomically` left in a folder when its process was killed."""
    for left in folder.iterdir():
        if is_leftover(left.name):
            left.unlink(missing_ok=True)


def is_leftover(name: str) -> bool:
    """Whether a name is one that :func:`replace_atomically`, or safetensors within it, writes under before the move."""
    return re.fullmatch(r"\..+\.\d+\.tmp|\.tmp[A-Za-z0-9]{6}", name) is not None


def replace_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a file beside ``path``, flush it, and put it in the place of ``path`` in one move.

    Args:
        path: the file to make or replace; its folder exists.
        write: writes the whole content to the path that it is given.

    Raises:
        OSError: the disk is full or the folder cannot be written; ``path`` is as it was.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with_usual_mode(beside, write)
        sync_file(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    sync_folder(path.parent)


def with_usual_mode(path: Path, write: Callable[[Path], None]) -> None:
    """Let ``write`` make a new file that others may read as the umask allows: safetensors alone makes private ones."""
    path.touch()
    mode = path.stat().st_mode
    write(path)
    path.chmod(mode)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a whole file in one move; text as UTF-8. Raises ``OSError`` as :func:`replace_atomically` does."""
    data = content.encode() if isinstance(content, str) else content

    def write(beside: Path) -> None:
        beside.write_bytes(data)

    replace_atomically(path, write)


def require_outside(out: Path, source: Path) -> None:
    """Refuses to write into a folder that is only read.

    Raises:
        ConfigError: ``out`` lies in ``source``.
    """
    if source.is_dir() and out.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"the set itself, {source}, is only read", place=out, cure="choose a folder outside of it")


def cache_root() -> Path:
    """The user's folder for what can be fetched or made again: ``sightline`` in ``$XDG_CACHE_HOME``, else ``~/.cache``.

    Raises:
        RuntimeError: the user has no home folder.
    """
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "sightline"


CACHE_VARIABLE = "SIGHTLINE_CACHE"
"""Environment variable: the folder for what can be made again at any time."""


def cache_folder(kind: str) -> Path:
    """Where one kind of what can be made again is kept: in ``$SIGHTLINE_CACHE``, else in :func:`cache_root`.

    Raises:
        RuntimeError: the user has no home folder.
    """
    own = os.environ.get(CACHE_VARIABLE)
    return (Path(own) if own else cache_root()) / kind


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A folder that appears under its name only when all of it is written; a block that fails leaves nothing behind.

    Yields:
        The folder to write to, beside the one that is wanted.

    Raises:
        ConfigError: there is something of that name already, or the folder cannot be made.
    """
    if folder.exists():
        raise ConfigError("there is something of this name already", place=folder, cure="choose another folder")
    beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be made ({error.strerror})", place=folder, cure="choose another folder"
        ) from error
    try:
        yield beside
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
