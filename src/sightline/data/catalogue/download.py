"""The archives of a data set: found where a person has put them, or downloaded; checked in either case.

An archive that Sightline has downloaded has a note beside it, ``FILE.json``. One without a note was put there by hand:
it is used when it is right, and never changed or removed.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sightline.data.catalogue.entries import Archive, Entry, shown_size
from sightline.downloads.failures import DamagedError, StorageError, UnreachableError
from sightline.downloads.fetch import Patience, Progress, Say, fetch
from sightline.downloads.part import Expected, digest
from sightline.errors import DataError
from sightline.files import write_atomically


@dataclass(frozen=True)
class Obtained:
    """An archive on this machine's disk, checked as far as it can be.

    Args:
        archive: what the catalogue says of it.
        path: the file.
        checksum: its name and value, as "md5 c52e2795...".
        published: whether the checksum was compared with a published one, and not just noted.
        ours: whether Sightline downloaded it and may remove it.
    """

    archive: Archive
    path: Path
    checksum: str
    published: bool
    ours: bool

    def remove(self) -> None:
        """Removes what Sightline has downloaded; leaves what a person has put there."""
        if self.ours:
            self.path.unlink(missing_ok=True)
            _note(self.path).unlink(missing_ok=True)


def obtain(
    entry: Entry,
    store: Path,
    *,
    base_url: str | None = None,
    progress: Callable[[Archive], Progress],
    say: Say,
    patience: Patience | None = None,
) -> list[Obtained]:
    """All archives of a data set, those that are missing downloaded.

    Args:
        entry: the data set.
        store: the folder of its archives; it is made.
        base_url: of a mirror that holds ``base_url/NAME/FILE``; default: the published addresses.
        progress: gives what is told how an archive's download goes.
        say: told what a person should know.
        patience: with bad connections.

    Raises:
        DataError: no network, with what to download and where to put it; a damaged archive; no room on the disk.
    """
    return [_one(entry, archive, store, base_url, progress(archive), say, patience) for archive in entry.archives]


def address(entry: Entry, archive: Archive, base_url: str | None) -> str:
    """Where an archive is downloaded from."""
    return archive.url if not base_url else f"{base_url.rstrip('/')}/{entry.name}/{archive.file}"


def _one(
    entry: Entry,
    archive: Archive,
    store: Path,
    base_url: str | None,
    progress: Progress,
    say: Say,
    patience: Patience | None,
) -> Obtained:
    path, url = store / archive.file, address(entry, archive, base_url)
    expected = Expected(archive.bytes, archive.md5)
    if path.is_file() and (complaint := expected.complaint(path)) is not None:
        if not _note(path).exists():
            raise DataError(
                f"this archive {complaint}",
                place=path,
                cause="its download was cut off, or it is another file",
                cure=f"download {archive.url} again and put it there, or remove the file",
            )
        say(f"{archive.file}: the archive {complaint}; it is downloaded again")
        path.unlink()
    if not path.is_file():
        _fetch(entry, archive, url, path, progress, say, patience)
        write_atomically(_note(path), json.dumps({"url": url}))
    ours = _note(path).exists()
    if archive.md5 is not None:
        return Obtained(archive, path, f"md5 {archive.md5}", published=True, ours=ours)
    checksum = f"sha256 {digest(path, 'sha256')}"
    if archive.git_tree is None:
        say(f"{archive.file}: no published checksum; {checksum} recorded")
    return Obtained(archive, path, checksum, published=False, ours=ours)


def _fetch(
    entry: Entry, archive: Archive, url: str, path: Path, progress: Progress, say: Say, patience: Patience | None
) -> None:
    expected = Expected(archive.bytes, archive.md5)
    try:
        fetch(url, path, expected, progress=progress, say=say, patience=patience)
    except UnreachableError as error:
        missing = [a for a in entry.archives if not (path.parent / a.file).is_file()]
        files = " and ".join(_wanted(a) for a in missing)
        raise DataError(
            f"{entry.title} cannot be downloaded: {error.what}",
            place=error.place,
            cause=error.cause,
            cure=f"download {files} elsewhere, put it into {path.parent}, and run this again",
        ) from error
    except (DamagedError, StorageError) as error:
        raise DataError(error.what, place=error.place, cause=error.cause, cure=error.cure) from error


def _wanted(archive: Archive) -> str:
    """What a person has to download, for a sentence."""
    name = "" if archive.url.endswith(f"/{archive.file}") else f"as {archive.file}, "
    return f"{archive.url} ({name}{shown_size(archive.bytes)})"


def _note(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")
