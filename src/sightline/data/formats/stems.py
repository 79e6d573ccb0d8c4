"""Names for images in formats that tell files apart by their stem: each image gets one that no other has.

``a.jpg`` and ``a.png`` cannot both have the mask ``a.png``, lists of stems cannot hold line breaks, and readers skip
hidden files. Whoever needs another name gets one, and it is counted.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Hashable
from pathlib import PurePosixPath

from sightline.data.image_header import IMAGE_SUFFIXES
from sightline.errors import DataError

RENAMED = "image renamed"
"""The reason under which new names are counted."""

_ENDS_LIKE_A_MEMBER = re.compile(r"\s+(?=(-1|0|1)$)")
"""A stem such as ``photo 1``, which a list of one class (``photo  1``: it is in the image) looks like."""


class Stems:
    """Hands out names.

    Args:
        losses: where new names are counted.
        flat: whether folders become part of the name (``a/b.jpg`` is ``a__b.jpg``).
    """

    def __init__(self, losses: Counter[str], *, flat: bool) -> None:
        self._losses = losses
        self._flat = flat
        self._names: dict[Hashable, str] = {}
        self._taken: set[str] = set()

    def known(self, key: Hashable) -> bool:
        """Whether a name was given for the key before."""
        return key in self._names

    def name(self, wanted: str, key: Hashable) -> str:
        """The name of an image: the same for the same key, and no two with the same stem.

        Args:
            wanted: path with forward slashes and suffix that it is to have.
            key: tells one image, with its annotations, from another.

        Raises:
            DataError: its suffix is not that of an image.
        """
        if key not in self._names:
            name = self._free(_clean(wanted, flat=self._flat))
            if name != wanted:
                self._losses[RENAMED] += 1
            self._names[key] = name
        return self._names[key]

    def _free(self, name: str) -> str:
        path = PurePosixPath(name)
        free, number = path, 1
        while str(free.with_suffix("")).casefold() in self._taken:
            number += 1
            free = path.with_name(f"{path.stem}-{number}{path.suffix}")
        self._taken.add(str(free.with_suffix("")).casefold())
        return str(free)


def _clean(name: str, *, flat: bool) -> str:
    path = PurePosixPath(name)
    if path.suffix.lower() not in IMAGE_SUFFIXES:
        known = " ".join(sorted(IMAGE_SUFFIXES))
        raise DataError("the image's name does not end as an image's", place=name, cure=f"give it one of {known}")
    *folders, stem = [_clean_part(part) for part in (*path.parts[:-1], path.stem)]
    name = ("__" if flat else "/").join([*folders, stem])
    return _ENDS_LIKE_A_MEMBER.sub("_", name) + path.suffix


def _clean_part(part: str) -> str:
    kept = "".join("_" if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c == "\ufeff" else c for c in part)
    kept = kept.strip() or "image"
    return "_" + kept[1:] if kept.startswith(".") else kept
