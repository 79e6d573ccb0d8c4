"""What is wrong with image files: sizes, animations, files that nobody lists, images without objects."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.data.boxes import fit_boxes
from sightline.data.findings import Finding, Findings
from sightline.data.fit import why_unfit
from sightline.data.image_header import IMAGE_SUFFIXES, read_frames, read_size
from sightline.data.tables import Tables
from sightline.errors import DataError

_OF_SEVERAL = frozenset({".gif", ".webp", ".png", ".tif", ".tiff"})


def check_headers(tables: Tables, found: NDArray[np.bool_], findings: Findings) -> NDArray[np.int32]:
    """Compares annotated sizes with those in the files' headers, and counts frames.

    Args:
        tables: the split.
        found: (M,), which images are there.
        findings: where differences are noted.

    Returns:
        (M, 2) int32 (H, W) by which the annotations are to be judged: as annotated, or the file's where the annotation
        has none, or is another picture's and all boxes fit the file; 0, 0 where nobody knows.
    """
    sizes = tables.images.sizes.copy()
    order, first = tables.objects_by_image()
    for row in np.flatnonzero(found).tolist():
        path = tables.image_path(row)
        try:
            actual = read_size(path)
            frames = read_frames(path) if path.suffix.lower() in _OF_SEVERAL else 1
        except DataError as error:
            findings.add("image-damaged", error.what, path, image=str(path))
            continue
        if frames != 1:
            findings.add("image-animated", f"the first of {frames or 'several'} frames counts", path, image=str(path))
        annotated: Size = (int(sizes[row, 0]), int(sizes[row, 1]))
        if not all(annotated):
            sizes[row] = actual
            findings.extend([about_image(tables, row, "image-size-missing", "")])
        elif annotated != actual:
            boxes = tables.objects.boxes[order[first[row] : first[row + 1]]]
            difference = _difference(tables, row, annotated, actual, boxes)
            findings.extend([difference])
            if difference.code == "image-size-differs":
                limits = np.tile(np.asarray(actual), (len(boxes), 1))
                fits = not any(cases.any() for cases in fit_boxes(boxes, limits).cases.values())
                sizes[row] = actual if fits else 0
    return sizes


def about_image(tables: Tables, row: int, code: str, what: str) -> Finding:
    """A finding about one image."""
    file, where = tables.locate_image(row)
    return Finding(code, what or Finding(code, "", "").kind.title, file, where, str(tables.image_path(row)))


def _difference(tables: Tables, row: int, annotated: Size, actual: Size, boxes: NDArray[np.float64]) -> Finding:
    cause = why_unfit(annotated, actual, boxes)
    what = f"annotated as {annotated[0]} x {annotated[1]} (H x W), but the image has {actual[0]} x {actual[1]}"
    return about_image(
        tables, row, "image-size-off" if cause is None else "image-size-differs", f"{what}: {cause}" if cause else what
    )


def check_listing(tables: Tables) -> Iterator[Finding]:
    """Images without objects, and files that are listed more than once."""
    counts = np.bincount(tables.objects.images, minlength=len(tables.images))
    for row in np.flatnonzero(counts == 0).tolist():
        yield about_image(tables, row, "image-empty", "")
    seen: dict[str, int] = {}
    for row, name in enumerate(tables.images.files.to_list()):
        first = seen.setdefault(name, row)
        if first != row:
            what = f"listed by {tables.locate_image(first)[1] or tables.locate_image(first)[0]} already"
            yield about_image(tables, row, "image-listed-twice", what)


def check_unlisted(splits: Mapping[str, Tables], known: Collection[str]) -> Iterator[Finding]:
    """Image files in the folders of listed images that no split lists.

    Args:
        splits: all splits of a set.
        known: images that findings tell of already; a damaged one is listed, but may be in no table.
    """
    listed = {str(tables.image_path(row)) for tables in splits.values() for row in range(len(tables.images))}
    folders = sorted({str(Path(path).parent) for path in listed})
    listed.update(known)
    for folder in folders:
        for path in sorted(Path(folder).glob("*")) if Path(folder).is_dir() else ():
            if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() and str(path) not in listed:
                yield Finding("image-unlisted", "no split lists this image", str(path), image=str(path))


def check_classes(splits: Mapping[str, Tables], *, whole: bool) -> Iterator[Finding]:
    """Classes without objects: in one split, or in all.

    Args:
        splits: of a set.
        whole: whether these are all splits of the set.
    """
    used: dict[str, set[str]] = {}
    for split, tables in splits.items():
        for label in np.unique(tables.objects.labels).tolist():
            used.setdefault(tables.categories[label]["name"], set()).add(split)
    unused: set[str] = set()
    for split, tables in splits.items():
        for category in tables.categories:
            name = category["name"]
            having = used.get(name, set())
            if not having and whole and name not in unused:
                unused.add(name)
                yield Finding("class-unused", f"no objects of class {name!r}", str(tables.source), "categories")
            elif having and split not in having:
                others = " and ".join(sorted(having))
                what = f"no objects of class {name!r}, which {others} {'has' if len(having) == 1 else 'have'}"
                yield Finding("class-absent", what, str(tables.source), "categories", split=split)
