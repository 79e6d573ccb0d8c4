"""What is known of a file before it is there, and what has arrived of it so far."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from sightline.files import sync_file, sync_folder, write_atomically


@dataclass(frozen=True)
class Expected:
    """What is known of a file before it is there; None: not known.

    Args:
        bytes: its size.
        md5: in hexadecimal digits. Enough against accidents, not against forgers.
        sha256: in hexadecimal digits, or the first of them.
    """

    bytes: int | None = None
    md5: str | None = None
    sha256: str | None = None

    @property
    def has_checksum(self) -> bool:
        """Whether the content can be checked, and not just the size."""
        return self.md5 is not None or self.sha256 is not None

    def complaint(self, path: Path) -> str | None:
        """What is wrong with a file, to go on after "it"; None where nothing is."""
        size = path.stat().st_size
        if self.bytes is not None and size != self.bytes:
            return f"has {size} bytes where {self.bytes} were expected"
        for name, wanted in (("md5", self.md5), ("sha256", self.sha256)):
            if wanted is not None and not (found := digest(path, name)).startswith(wanted.lower()):
                return f"has the {name} {found[: len(wanted)]} where {wanted} was expected"
        return None


def digest(path: Path, name: str) -> str:
    """The checksum of a file in hexadecimal digits; ``name`` is one that hashlib knows."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(name, usedforsecurity=False)).hexdigest()


@dataclass(frozen=True)
class Version:
    """Which version of a file a part is of: its validator for ``If-Range``, and its size; None where not known."""

    validator: str | None
    total: int | None


@dataclass(frozen=True)
class Part:
    """What has arrived of a file, and the note beside it."""

    url: str
    file: Path

    @property
    def note(self) -> Path:
        """The file that says what the part is of."""
        return self.file.with_name(f"{self.file.name}.json")

    def size(self) -> int:
        """How many bytes have arrived."""
        return self.file.stat().st_size if self.file.exists() else 0

    def version(self) -> Version | None:
        """The version that the part is of; None where that is not known for sure."""
        try:
            note = json.loads(self.note.read_text(encoding="utf-8"))
            known = Version(note["validator"], note["total"]) if note["url"] == self.url else None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return known

    def begin(self, version: Version) -> None:
        """Notes the version before the first byte of it is written."""
        note = {"url": self.url, "validator": version.validator, "total": version.total}
        write_atomically(self.note, json.dumps(note))

    def discard(self) -> None:
        """Removes the part."""
        self.file.unlink(missing_ok=True)
        self.note.unlink(missing_ok=True)

    def become(self, path: Path) -> None:
        """Moves the whole part to its place."""
        sync_file(self.file)
        self.file.replace(path)
        self.note.unlink(missing_ok=True)
        sync_folder(path.parent)
