"""From a path and the name of a split to its usable annotations. No pixel is read, and torch is not imported."""

from collections import Counter
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sightline.data.findings import Findings
from sightline.data.formats.layouts import Layout, recognise
from sightline.data.index_cache import cached
from sightline.data.records import Content, Index, index_of
from sightline.errors import DataError


@dataclass(frozen=True, eq=False)
class OpenedSplit:
    """One split, ready to be used.

    Args:
        root: the folder of the set.
        split: its name.
        index: the usable annotations.
        findings: what was dropped or repaired, counted by reason.
    """

    root: Path
    split: str
    index: Index
    findings: Counter[str]


def open_split(path: str | Path, split: str = "train") -> OpenedSplit:
    """A split of a labelled set of images.

    Args:
        path: as for ``open_dataset``; an annotation file is taken whatever its split.
        split: the split's name.

    Raises:
        DataError: nothing to recognise, no such split, no images, damaged annotations, or missing image files.
    """
    path = Path(path)
    layout = recognise(path)
    if path.is_file() and len(layout.readers) == 1:
        split = next(iter(layout.readers))
    layout.require([split], path)
    source = layout.sources.get(split)
    content = _read(layout, split) if source is None else cached(source, partial(_read, layout, split))
    if not len(content.index.image_ids):
        raise DataError(f"split '{split}' has no images", place=source or path, cure="check how the set was made")
    return OpenedSplit(layout.root, split, content.index, content.findings)


def split_names(path: str | Path) -> tuple[str, ...]:
    """The names of the splits at a path.

    Raises:
        DataError: nothing to recognise.
    """
    return tuple(recognise(Path(path)).readers)


def _read(layout: Layout, split: str) -> Content:
    findings = Findings()
    index: Index = index_of(layout.readers[split](findings), findings)
    return Content(index, findings.by_title())
