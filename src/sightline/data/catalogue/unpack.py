"""Unpacking archives of strangers: what comes out stays in the folder, is a plain file, and is not endless.

Before anything of a member is written its name and kind are checked. A name that is absolute, holds "..", a drive
letter, a backslash or a control character is refused; so are links of both kinds, devices, pipes and sparse files, and
a name that comes twice. Data sets need none of these, so one such member condemns the archive. Of owners, permissions
and times nothing is taken over: files get those of any file that this process makes.

Against archives that swell: at most 100 times the archive's own size and two million members come out, and never more
than the disk has room for.
"""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from sightline.errors import DataError

_CHUNK = 1 << 20
_ROOM_LEFT = 1 << 26
_LONGEST_NAME = 1024

_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    UnicodeError,
)
"""What the readers of the standard library raise on damaged, encrypted or unknown archives."""


@dataclass(frozen=True)
class Limits:
    """How much may come out of one archive.

    Args:
        ratio: bytes unpacked for each byte packed.
        least: bytes that are always allowed: small archives may swell more.
        members: files and folders.
    """

    ratio: int = 100
    least: int = 1 << 28
    members: int = 2_000_000


def unpack(
    archive: Path,
    folder: Path,
    *,
    inside: str = "",
    progress: Callable[[int, int], None] | None = None,
    limits: Limits | None = None,
) -> int:
    """Unpack a tar (plain or compressed) or zip archive.

    Args:
        archive: the file; its content decides its kind, not its name.
        folder: where to; made where it is not there. After an error it holds a part, which the caller removes.
        inside: take only what lies in this folder of the archive, and place it as if that were the top.
        progress: told how many bytes of the archive are done, and its size.
        limits: how much may come out.

    Returns:
        How many files took the place of one that was there before.

    Raises:
        DataError: no such archive, damaged, unsafe, larger than allowed or than the disk's room, or nothing ``inside``.
    """
    run = _Run(archive, folder, inside.strip("/"), progress or (lambda _done, _total: None), limits or Limits())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # A tar whose last file is a zip ends as a zip does: its own header is asked first.
        if tarfile.is_tarfile(archive):
            _unpack_tar(run)
        elif zipfile.is_zipfile(archive):
            _unpack_zip(run)
        else:
            _refuse(archive, "is neither a tar nor a zip archive", "another file was downloaded or put there")
    except _DAMAGE as error:
        raise DataError(
            f"the archive cannot be unpacked ({error})", place=archive, cause="it is damaged", cure="download it again"
        ) from error
    except OSError as error:
        what = f"unpacking stopped ({error.strerror or error})"
        raise DataError(what, place=error.filename or archive, cure="check the disk and the archive") from error
    if not run.files:
        _refuse(archive, f"has no files in {inside or 'it'}", "it is another archive than the catalogue means")
    return run.replaced


@dataclass
class _Run:
    """One archive on its way out."""

    archive: Path
    folder: Path
    inside: str
    progress: Callable[[int, int], None]
    limits: Limits
    size: int = field(init=False)
    total: int = 0
    files: int = 0
    replaced: int = 0
    names: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.size = self.archive.stat().st_size if self.archive.is_file() else 0

    def accept(self, name: str, size: int) -> Path | None:
        """Where a member belongs, after its name and size are found good; None: it is not wanted.

        A wanted file must come once. Folders may come often: ``size`` is negative for them.
        """
        clean = self._safe(name)
        if size >= 0 and clean in self.names:
            _refuse(self.archive, f"holds {_shown(name)} twice", "it was made to deceive, or is damaged")
        self.names.add(clean)
        self.total += max(size, 0)
        if len(self.names) > self.limits.members:
            _refuse(self.archive, f"holds over {self.limits.members:,} files", "it was made to fill a disk")
        if self.total > max(self.limits.least, self.limits.ratio * self.size):
            _refuse(
                self.archive,
                f"of {self.size:,} bytes unpacks to over {self.total:,}",
                "it was made to fill a disk",
            )
        return self._wanted(clean)

    def write(self, source: IO[bytes], target: Path, size: int) -> None:
        """Copies one member."""
        if target.exists():
            self.replaced += 1
        target.parent.mkdir(parents=True, exist_ok=True)
        left = size
        with target.open("wb") as file:
            while left and (chunk := source.read(min(left, _CHUNK))):
                file.write(chunk)
                left -= len(chunk)
        if left:
            raise EOFError(f"{_shown(target.name)} ends {left} bytes early")
        self.files += 1

    def require_room(self, needed: int) -> None:
        """Refuses before a disk is full, not after."""
        free = shutil.disk_usage(self.folder).free
        if needed + _ROOM_LEFT > free:
            raise DataError(
                f"unpacking needs {needed:,} bytes, and the disk has {free:,} free",
                place=self.folder,
                cure="free some room, or choose a folder on another disk",
            )

    def _safe(self, name: str) -> str:
        """The name in its plain form, without a slash at its end."""
        parts = PurePosixPath(name).parts
        bad = (
            not name
            or len(name) > _LONGEST_NAME
            or name.startswith("/")
            or ".." in parts
            or any(c in name for c in "\\:")
            or any(ord(c) < 32 or ord(c) == 127 for c in name)
        )
        if bad:
            _refuse(
                self.archive,
                f"holds a file by the name {_shown(name)}, which leads out of its folder or is no plain one",
            )
        return str(PurePosixPath(name))

    def _wanted(self, clean: str) -> Path | None:
        if self.inside:
            if not clean.startswith(f"{self.inside}/"):
                return None
            clean = clean.removeprefix(f"{self.inside}/")
        target = self.folder / clean
        if not target.resolve().is_relative_to(self.folder.resolve()):
            _refuse(self.archive, f"holds {_shown(clean)}, which leads out of its folder")
        return target


def _unpack_tar(run: _Run) -> None:
    with run.archive.open("rb") as raw, tarfile.open(fileobj=raw, mode="r:*") as tar:
        for member in tar:
            if not (member.isdir() or member.isreg()) or member.issparse():
                kind = "link" if member.islnk() or member.issym() else "device, pipe or sparse file"
                _refuse(run.archive, f"holds a {kind} ({_shown(member.name)})")
            target = run.accept(member.name, -1 if member.isdir() else member.size)
            source = None if member.isdir() or target is None else tar.extractfile(member)
            if source is not None and target is not None:
                run.require_room(member.size)
                run.write(source, target, member.size)
            run.progress(min(raw.tell(), run.size), run.size)
    run.progress(run.size, run.size)


def _unpack_zip(run: _Run) -> None:
    with zipfile.ZipFile(run.archive) as packed:
        wanted = []
        for member in packed.infolist():
            _require_plain(run.archive, member)
            target = run.accept(member.filename, -1 if member.is_dir() else member.file_size)
            if target is not None and not member.is_dir():
                wanted.append((member, target))
        run.require_room(sum(member.file_size for member, _ in wanted))
        done = 0
        for member, target in wanted:
            with packed.open(member) as source:
                run.write(source, target, member.file_size)
            done += member.compress_size
            run.progress(min(done, run.size), run.size)
    run.progress(run.size, run.size)


def _require_plain(archive: Path, member: zipfile.ZipInfo) -> None:
    kind = stat.S_IFMT(member.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        what = "link" if kind == stat.S_IFLNK else "device or pipe"
        _refuse(archive, f"holds a {what} ({_shown(member.filename)})")


def _refuse(archive: Path, what: str, cause: str = "it was made to do harm, or is damaged") -> NoReturn:
    raise DataError(
        f"the archive {what}; nothing of it is used",
        place=archive,
        cause=cause,
        cure="remove it, and download it from its publisher",
    )


def _shown(name: str) -> str:
    return repr(name if len(name) <= 80 else f"{name[:77]}...")
