"""From a name of the catalogue to a folder of labelled images: download, check, unpack, move into place.

Everything happens beside the place where the set will be: archives in ``archives/NAME/``, unpacked files in a folder
that begins with a dot. The set's folder appears in one move when all is done and holds ``.sightline.json``, which says
what it was made from; a second call sees that file and has nothing to do. An interrupted call leaves its archives, and
the next one goes on with them. A lock lets one process at a time work on a set.

Environment: ``SIGHTLINE_MIRROR`` is an address to download from instead of the published ones, as ``MIRROR/NAME/FILE``;
where the sets are see :mod:`sightline.data.catalogue.folder`.
"""

import json
import os
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from sightline.config import closest
from sightline.data.catalogue.adapters import adapt_pennfudan, adapt_pets, name_classes
from sightline.data.catalogue.download import Obtained, obtain
from sightline.data.catalogue.entries import CATALOGUE, Archive, Entry, Form, find_entry
from sightline.data.catalogue.folder import FOLDER_VARIABLE, MARK, datasets_folder, is_installed
from sightline.data.catalogue.git_tree import tree_id
from sightline.data.catalogue.unpack import unpack
from sightline.downloads.fetch import Patience, Progress, Say
from sightline.downloads.lock import locked
from sightline.errors import DataError
from sightline.files import write_atomically
from sightline.version import __version__

MIRROR_VARIABLE = "SIGHTLINE_MIRROR"

_GUESS = 50_000_000
"""Bytes that an archive of unknown size counts for in the progress."""


def install(
    name: str,
    *,
    root: Path | None = None,
    base_url: str | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
    patience: Patience | None = None,
) -> Path:
    """The folder of a data set, downloaded and unpacked where it is not there yet.

    Args:
        name: a name of the catalogue.
        root: the folder of all sets; the set's is ``root/NAME``. Default: :func:`datasets_folder`.
        base_url: of a mirror; default: ``SIGHTLINE_MIRROR``, else the published addresses.
        progress: told how many bytes of the archives are done, and how many there are to do; each counts twice, when
            it arrives and when it is unpacked.
        say: told what a person should know: a broken connection, a checksum that nobody has published.
        patience: with bad connections.

    Raises:
        DataError: no such name; no network, with what to download by hand and where to put it; a damaged or unsafe
            archive; no room on the disk; a folder of the user's is in the way.
    """
    entry = find_entry(name)
    root = datasets_folder() if root is None else root
    folder = root / entry.name
    tell = say or (lambda _line: None)
    try:
        if is_installed(entry, folder):
            return folder
        root.mkdir(parents=True, exist_ok=True)
        with locked(root / f".{entry.name}.lock", lambda: tell(f"{entry.name}: waiting for another download of it")):
            if not is_installed(entry, folder):
                _require_free(folder)
                steps = _Steps(entry, progress or (lambda _done, _all: None))
                mirror = base_url or os.environ.get(MIRROR_VARIABLE) or None
                store = root / "archives" / entry.name
                found = obtain(entry, store, base_url=mirror, progress=steps.arriving, say=tell, patience=patience)
                _build(entry, found, folder, steps.unpacking, tell)
                _tidy(found, store)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise DataError(what, place=error.filename or root, cure=f"set {FOLDER_VARIABLE} to another folder") from error
    return folder


def resolve_data(
    text: str | Path, *, root: Path | None = None, progress: Progress | None = None, say: Say | None = None
) -> Path:
    """What a person means by a data set: a path that exists, else a name of the catalogue, which is then installed.

    A path that does not exist is given back as it is: whoever opens it says so.

    Raises:
        DataError: a single word that is neither; or as :func:`install`.
    """
    path = Path(text)
    if path.exists() or any(sign in str(text) for sign in "/\\~."):
        return path
    if str(text).lower() not in CATALOGUE:
        raise DataError(
            f"'{text}' is no file or folder here, and no data set of the catalogue",
            cure=closest(str(text).lower(), list(CATALOGUE)),
        )
    return install(str(text), root=root, progress=progress, say=say)


class _Steps:
    """One count over all downloads and unpackings of a set."""

    def __init__(self, entry: Entry, progress: Progress) -> None:
        self._weights = {archive.file: archive.bytes or _GUESS for archive in entry.archives}
        self._progress = progress
        self._done: Counter[str] = Counter()

    def arriving(self, archive: Archive) -> Progress:
        return self._step(archive, "arrived")

    def unpacking(self, archive: Archive) -> Progress:
        return self._step(archive, "unpacked")

    def _step(self, archive: Archive, what: str) -> Progress:
        weight = self._weights[archive.file]

        def report(done: int, total: int) -> None:
            # Without a total a download creeps towards its weight and never past it.
            share = done / total if total else done / (done + _GUESS)
            self._done[f"{archive.file} {what}"] = int(weight * share)
            self._progress(self._done.total(), 2 * sum(self._weights.values()))

        return report


def _require_free(folder: Path) -> None:
    if (folder / MARK).is_file():
        what = "was made from other archives than the catalogue names today"
        raise DataError(what, place=folder, cure="remove the folder, and run this again")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(
            "is in the way, and was not made by Sightline",
            place=folder,
            cure=f"move it away, set {FOLDER_VARIABLE} to another folder, or give this one as --data",
        )


def _build(
    entry: Entry, found: list[Obtained], folder: Path, unpacking: Callable[[Archive], Progress], say: Say
) -> None:
    """Unpacks beside the set's folder and moves the result there."""
    beside = folder.with_name(f".{folder.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        licence = f"{entry.licence.text} ({entry.licence.url})"
        mark: dict[str, Any] = {"name": entry.name, "title": entry.title, "homepage": entry.homepage}
        mark |= {"licence": licence, "sightline": __version__, "archives": []}
        for one in found:
            mark["archives"].append(_unpacked(one, beside, unpacking(one.archive)))
        mark["left_out"] = _adapted(entry, beside)
        for reason, count in mark["left_out"].items():
            say(f"{entry.name}: {reason}: {count}")
        if sys.platform != "win32":
            os.sync()  # the files before the note that says that they are there
        write_atomically(beside / MARK, json.dumps(mark, indent=1))
        if folder.exists():  # an empty one, see _require_free; Windows moves nothing onto it
            folder.rmdir()
        beside.replace(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _adapted(entry: Entry, folder: Path) -> dict[str, int]:
    """Brings a set into a form that is read; what was left out, by reason."""
    if entry.form == "masks":
        name_classes(folder, entry.classes)
        return {}
    adapters: dict[Form, Callable[[Path], Mapping[str, int]]] = {"pennfudan": adapt_pennfudan, "pets": adapt_pets}
    return dict(adapters[entry.form](folder)) if entry.form in adapters else {}


def _unpacked(one: Obtained, folder: Path, progress: Progress) -> dict[str, Any]:
    """Unpacks one archive and gives what the note in the set's folder says of it."""
    try:
        replaced = unpack(one.path, folder, inside=one.archive.inside, progress=progress)
        if one.archive.git_tree is not None:
            _require_tree(one, folder)
    except DataError as error:
        # Nobody knew its checksum: a bad download would stand in the way of a better one.
        if not one.published and error.place == str(one.path):
            one.remove()
        raise
    checked = "git tree" if one.archive.git_tree else "published checksum" if one.published else "nothing published"
    return {
        "file": one.archive.file,
        "url": one.archive.url,
        "checksum": one.checksum,
        "checked": checked,
        "replaced": replaced,
    }


def _require_tree(one: Obtained, folder: Path) -> None:
    found = tree_id(folder)
    if found != one.archive.git_tree:
        raise DataError(
            f"the unpacked files have the git tree {found} where {one.archive.git_tree} was expected",
            place=one.path,
            cause="the archive is damaged, or of another commit",
            cure=f"download {one.archive.url} again",
        )


def _tidy(found: list[Obtained], store: Path) -> None:
    """Removes the archives that were downloaded: the set is there, and they take as much room again."""
    for one in found:
        one.remove()
    if not any(store.iterdir()):
        store.rmdir()
