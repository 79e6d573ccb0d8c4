"""Which files lie in folders: each folder is listed once, however many names are looked up."""

import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path


class Listing:
    """The files of folders, as they were when each folder was first asked for."""

    def __init__(self) -> None:
        self._files: dict[str, frozenset[str]] = {}
        self._folded: dict[str, dict[str, str]] = {}

    def has(self, path: str) -> bool:
        """Whether there is a file of exactly this path, upper and lower case told apart on every system."""
        folder, name = os.path.split(path)
        return name in self._names(folder)

    def missing(self, root: str, names: Sequence[str]) -> list[int]:
        """Places of the names for which there is no file.

        Args:
            root: the folder that the names start from.
            names: paths below it, with forward slashes, or absolute ones.
        """
        # Most sets keep all images in one folder: its names are looked up without taking each path apart.
        direct = self._names(root)
        return [
            place
            for place, name in enumerate(names)
            if name not in direct and ("/" not in name or not self.has(os.path.join(root, name)))  # noqa: PTH118
        ]

    def other_form(self, path: str) -> Path | None:
        """A file whose name differs only in letter case or in how Unicode composes it; None where there is none."""
        folder, name = os.path.split(path)
        if folder not in self._folded:
            self._folded[folder] = {_fold(other): other for other in sorted(self._names(folder))}
        found = self._folded[folder].get(_fold(name))
        return None if found is None else Path(folder) / found

    def names(self, folder: str) -> frozenset[str]:
        """Names of the files in a folder; none where there is no such folder."""
        return self._names(folder)

    def _names(self, folder: str) -> frozenset[str]:
        if folder not in self._files:
            self._files[folder] = frozenset(_list(folder))
        return self._files[folder]


def _list(folder: str) -> list[str]:
    try:
        with os.scandir(folder or ".") as entries:
            return [entry.name for entry in entries if _is_file(entry)]
    except (OSError, ValueError):  # there is no such folder, or no name that a folder can have
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # a link in a circle
        return False


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()
