"""Paths as annotation files write them."""

import os
from pathlib import Path

_LONGEST = 2048
"""Bytes of a path; systems allow 4,096 and more, of which the set's own folder takes a part."""


def can_be_a_path(text: str) -> bool:
    """Whether the system can be asked for a file of this path: short enough, and of characters that names may have."""
    try:
        code = os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return b"\0" not in code and len(code) < _LONGEST and all(len(part) < 256 for part in code.split(b"/"))


def is_file_below(folder: Path, text: str) -> bool:
    """Whether a text names a file, seen from a folder; False where it cannot be a path at all."""
    return can_be_a_path(text) and (folder / text).is_file()


def with_forward_slashes(text: str, folder: Path) -> str:
    """A path that may have been written on Windows; as it is where a file of the literal name lies in the folder."""
    return text if "\\" not in text or is_file_below(folder, text) else text.replace("\\", "/")
