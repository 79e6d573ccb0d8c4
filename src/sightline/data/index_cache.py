"""Large annotation files are read once: what was read is kept in the user's cache folder, known by the file's content.

The cache is a safetensors file in ``$SIGHTLINE_CACHE``, ``$XDG_CACHE_HOME/sightline/index`` or
``~/.cache/sightline/index``. It can be deleted at any time, and is never beside the user's data. Whether the images are
there is looked up anew each time.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from sightline.classes import Classes
from sightline.data.details import Details
from sightline.data.finding_kinds import KINDS
from sightline.data.formats.coco import find_image_root
from sightline.data.listing import Listing
from sightline.data.records import Content, Index
from sightline.data.strings import Strings
from sightline.files import cache_folder

SMALLEST = 16 << 20
"""Bytes of an annotation file from which reading it again would take longer than looking into the cache is worth."""

_KEPT = 16
_FROM_FILES = KINDS["image-size-missing"].title
_COLUMNS = ("image_ids", "sizes", "first", "boxes", "labels", "ignore", "areas", "masked", "spans", "keypoints")


def cached(source: Path, read: Callable[[], Content]) -> Content:
    """What reading an annotation file gives, from the cache where the same file was read before.

    Args:
        source: the annotation file.
        read: reads it.
    """
    place = _place(source)
    if place is None:
        return read()
    known = _load(place, source)
    if known is not None:
        return known
    content = read()
    if content.findings[_FROM_FILES]:  # the sizes of images that may be replaced
        return content
    # A cache that cannot be written (no space, no permission) costs time at the next opening and nothing else.
    with suppress(OSError, SafetensorError):
        _save(place, content)
    return content


def _place(source: Path) -> Path | None:
    """Where the index of a file is kept; None for small files, and where there is no such place."""
    try:
        return None if source.stat().st_size < SMALLEST else cache_folder("index") / f"{_digest(source)}.safetensors"
    except (OSError, RuntimeError):  # what is wrong with the file, reading it tells; or the user has no home folder
        return None


def _digest(source: Path) -> str:
    """Of the file's content, of its place, since images are looked for beside it, and of the code that reads it."""
    with source.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha256(f"{_code()} {source.resolve()} {content}".encode()).hexdigest()


def _code() -> str:
    """Of the code that reads annotations: another release may read the same file in another way."""
    folder = Path(__file__).parent
    files = sorted(path for place in (folder, folder / "formats") for path in place.glob("*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def _save(place: Path, content: Content) -> None:
    index = content.index
    arrays = {name: value for name in _COLUMNS if (value := getattr(index, name)) is not None}
    arrays |= {"files": index.files.data, "file_ends": index.files.ends}
    about = {
        "names": index.classes.names,
        "ids": index.classes.ids,
        "image_root": str(index.image_root),
        "keypoint_names": index.keypoint_names,
        "findings": dict(content.findings),
    }
    place.parent.mkdir(parents=True, exist_ok=True)
    packed = {name: np.ascontiguousarray(value) for name, value in arrays.items()}
    beside = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:  # without waiting for the disk: a cache that a crash damages is read as none
        save_file(packed, beside, {"about": json.dumps(about)})
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)
    for old in sorted(place.parent.glob("*.safetensors"), key=_age)[_KEPT:]:
        old.unlink(missing_ok=True)


def _age(path: Path) -> float:
    with suppress(OSError):
        return -path.stat().st_mtime
    return 0.0


def _load(place: Path, source: Path) -> Content | None:
    """The index that was kept; None where there is none, it is damaged, or images are not where they were."""
    try:
        with safe_open(place, framework="numpy") as file:
            about = json.loads(file.metadata()["about"])
            names = {*file.keys(), "files", "file_ends"}
            arrays: dict[str, NDArray[np.generic]] = {name: file.get_tensor(name) for name in names}
        root = Path(about["image_root"])
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    try:
        files = Strings(arrays.pop("files"), arrays.pop("file_ends"))  # type: ignore[arg-type]  # as they were saved
        if find_image_root(source, files[0] if len(files) else None) != root or not _are_there(root, files):
            return None
        index = Index(
            Classes(tuple(about["names"]), tuple(about["ids"])),
            root,
            files,
            details=Details.in_file(source),
            keypoint_names=tuple(about["keypoint_names"]),
            **arrays,  # type: ignore[arg-type]  # as they were saved
        )
    except (KeyError, TypeError, ValueError, IndexError):
        return None
    return Content(index, Counter(about["findings"])) if _fits(index) else None


def _fits(index: Index) -> bool:
    """Whether all columns have the lengths that belong together."""
    images, objects = len(index.image_ids), len(index.boxes)
    of_objects = (index.labels, index.ignore, index.areas, index.masked, index.spans)
    return (
        len(index.files) == len(index.sizes) == len(index.first) - 1 == images
        and all(len(column) == objects for column in of_objects)
        and (index.keypoints is None or len(index.keypoints) == objects)
        and bool(index.first[-1] == objects)
    )


def _are_there(root: Path, files: Strings) -> bool:
    listing = Listing()
    return not listing.missing(str(root), files.to_list())
