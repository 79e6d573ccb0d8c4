"""Where downloaded sets are on this machine, and which of them are complete.

Environment: ``SIGHTLINE_DATASETS`` is the folder of all sets; default: ``sightline/datasets`` in ``XDG_CACHE_HOME``,
else in ``~/.cache``.
"""

import json
import os
from pathlib import Path

from sightline.data.catalogue.entries import Entry
from sightline.errors import ConfigError, DataError
from sightline.files import cache_root

FOLDER_VARIABLE = "SIGHTLINE_DATASETS"
MARK = ".sightline.json"
"""The file in a set's folder that says that the set is complete, and what it was made from."""


def datasets_folder() -> Path:
    """The folder of all downloaded sets, by the environment."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        try:
            return Path(named).expanduser()
        except RuntimeError as error:
            place = f"environment variable {FOLDER_VARIABLE}"
            raise ConfigError(f"{named!r} names no folder ({error})", place=place, cure="give a whole path") from error
    return cache_root() / "datasets"


def is_installed(entry: Entry, folder: Path) -> bool:
    """Whether a folder holds this set complete, from the archives that the catalogue names today.

    Raises:
        DataError: the note in the folder is damaged.
    """
    try:
        mark = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files = [archive["file"] for archive in mark["archives"]]
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (ValueError, KeyError, TypeError) as error:
        cure = "remove the folder, and run this again"
        raise DataError(f"is no note of Sightline's ({error})", place=folder / MARK, cure=cure) from error
    return bool(mark.get("name") == entry.name and files == [archive.file for archive in entry.archives])
