"""Reading a split as opening does, with the counts of what was found at hand."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from sightline.data.findings import Findings
from sightline.data.formats import coco, voc
from sightline.data.records import Records, index_of
from sightline.data.tables import Tables
from sightline.structures import Classes

COUNTED_ONLY = ("image-empty", "annotation-id-missing")


@dataclass(frozen=True)
class Opened:
    classes: Classes
    records: Records
    findings: Counter[str]
    keypoint_names: tuple[str, ...]


def opened(read: Callable[[Findings], Tables]) -> Opened:
    findings = Findings()
    index = index_of(read(findings), findings)
    counts = Counter({code: number for code, number in findings.counts.items() if code not in COUNTED_ONLY})
    return Opened(index.classes, Records(index, np.arange(len(index.image_ids))), counts, index.keypoint_names)


def opened_coco(path: Path, image_root: Path | None = None) -> Opened:
    return opened(partial(coco.read, path, image_root=image_root))


def opened_voc(folder: Path, split: str) -> Opened:
    return opened(partial(voc.read, folder, split))
