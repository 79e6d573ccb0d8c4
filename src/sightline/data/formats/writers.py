"""The formats that sets can be written in: the only file that names every writer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sightline.data.formats import coco_set, csv_write, folders_write, masks_write, voc_write, yolo_write
from sightline.data.formats.writing import Output
from sightline.data.tables import Tables


@dataclass(frozen=True)
class Format:
    """A format that can be written.

    Args:
        title: what it is, in a few words.
        carries: what it has a place for (``writing.ALL_FEATURES``).
        write: writes the splits of a set.
        keeps: further keys of COCO entries that it has a place for.
    """

    title: str
    carries: frozenset[str]
    write: Callable[[Mapping[str, Tables], Output], None]
    keeps: frozenset[str] = frozenset()


WRITERS: Mapping[str, Format] = {
    "coco": Format("COCO JSON", coco_set.CARRIES, coco_set.write),
    "voc": Format("Pascal VOC XML", voc_write.CARRIES, voc_write.write, voc_write.KEEPS),
    "yolo": Format("YOLO text files and data.yaml", yolo_write.CARRIES, yolo_write.write),
    "csv": Format("CSV, one row a box", csv_write.CARRIES, csv_write.write),
    "masks": Format("label images, one value a class", masks_write.CARRIES, masks_write.write),
    "folders": Format("a folder of images for each class", folders_write.CARRIES, folders_write.write),
}
"""Every format by its name."""


def writer_of(form: str) -> Format:
    """The writer of the format that tables were read from."""
    return WRITERS[form]
