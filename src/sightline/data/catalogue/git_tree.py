"""The id that git gives a folder: a checksum over the names and contents of all files in it.

It names the content of a commit's folder for good, while the archives that a server makes of the commit may change
byte by byte. The format is that of git's tree objects (git-scm.com, "Git Internals"). It rests on SHA-1: it tells
accidents and ordinary changes, and does not stop a forger with great means.
"""

import hashlib
from pathlib import Path

_CHUNK = 1 << 20


def tree_id(folder: Path) -> str:
    """Git's id of a folder in which no file is executable or a link; empty folders do not count, as in git.

    Raises:
        OSError: a file cannot be read.
    """
    return _tree(folder).hex()


def _tree(folder: Path) -> bytes:
    entries = []
    for path in folder.iterdir():
        if path.is_dir():
            if any(inner.is_file() for inner in path.rglob("*")):
                # Git sorts a folder as if its name ended with a slash.
                entries.append((f"{path.name}/".encode(), b"40000 " + path.name.encode() + b"\0" + _tree(path)))
        else:
            entries.append((path.name.encode(), b"100644 " + path.name.encode() + b"\0" + _blob(path)))
    content = b"".join(entry for _, entry in sorted(entries))
    return hashlib.sha1(b"tree %d\0" % len(content) + content, usedforsecurity=False).digest()


def _blob(path: Path) -> bytes:
    hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            hasher.update(chunk)
    return hasher.digest()
