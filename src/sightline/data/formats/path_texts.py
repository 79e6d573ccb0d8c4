"""Paths as annotation files write them."""

import os


def can_be_a_path(text: str) -> bool:
    """Whether the system can be asked for a file of this path: short enough, and of characters that names may have."""
    try:
        return "\0" not in text and len(text) < 2048 and all(len(os.fsencode(part)) < 256 for part in text.split("/"))
    except UnicodeEncodeError:
        return False
