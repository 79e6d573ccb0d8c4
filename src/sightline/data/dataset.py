"""A labelled set of images, whatever its format: opened with :func:`open_dataset`, used as a sequence of samples.

The annotations are read and checked when the set is opened; pixels are decoded when a sample is asked for. The user's
files are only ever read.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from operator import index as as_index
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from sightline.classes import Classes, Size
from sightline.data.decode import read_image, read_size
from sightline.data.findings import Findings
from sightline.data.fit import why_unfit
from sightline.data.formats.layouts import Layout, recognise
from sightline.data.index_cache import cached
from sightline.data.records import Content, Index, Record, Records, index_of, with_classes
from sightline.data.segmentation import decode_segmentation
from sightline.errors import DataError
from sightline.structures import Sample, Target

__all__ = ["Dataset", "Record", "open_dataset", "splits"]

@dataclass(frozen=True, eq=False)
class Dataset(Sequence[Sample]):
    """One split of a labelled set of images.

    A slice is a data set again; ``dataclasses.replace(dataset, masks=True)`` gives one whose targets have masks.

    Args:
        root: the folder of the set.
        split: the name of the split.
        classes: names and original ids.
        records: the annotations, one record an image.
        findings: what was dropped or repaired at reading, counted by reason.
        masks: whether targets carry masks; decoding them is costly.
        keypoint_names: names of the keypoints in order; empty when there are none.

    Raises:
        DataError: ``masks`` is asked for, and an object has none.
    """

    root: Path
    split: str
    classes: Classes
    records: Records
    findings: Counter[str] = field(default_factory=Counter)
    masks: bool = False
    keypoint_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for record in self.records if self.masks else ():
            if not record.masked.all():
                raise DataError(
                    f"masks were asked for, but an object of image {record.path.name} has none",
                    place=self.root,
                    cure="use a set with segmentations, or do without masks",
                )

    @property
    def name(self) -> str:
        """The name of the set's folder."""
        return self.root.resolve().name

    def __len__(self) -> int:
        return len(self.records)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> "Dataset": ...

    def __getitem__(self, index: int | slice) -> "Sample | Dataset":
        """The decoded image with its target.

        Raises:
            DataError: the image cannot be decoded, or its annotations do not fit its size.
        """
        if isinstance(index, slice):
            return replace(self, records=self.records[index])
        record = self.records[as_index(index)]
        image = read_image(record.path)
        return Sample(image, self._target(record, (image.shape[1], image.shape[2])), record.image_id, str(record.path))

    def target(self, index: int) -> Target:
        """``self[index].target`` without decoding the pixels: only the file's header is read.

        Raises:
            DataError: the header cannot be read, or the annotations do not fit the image's size.
        """
        record = self.records[as_index(index)]
        return self._target(record, read_size(record.path))

    def _target(self, record: Record, size: Size) -> Target:
        _require_fit(record, size)
        return Target(
            torch.tensor(record.boxes),
            torch.tensor(record.labels),
            size,
            torch.tensor(record.ignore),
            torch.tensor(record.areas),
            _masks(record, size) if self.masks else None,
            None if record.keypoints is None else torch.tensor(record.keypoints),
        )


def open_dataset(path: str | Path, split: str = "train", *, classes: Classes | None = None) -> Dataset:
    """A split of a labelled set of images.

    Args:
        path: a COCO annotation file, which is taken whatever its split; a folder with ``annotations/*.json`` or
            ``*/_annotations.coco.json``; or a Pascal VOC folder.
        split: the split's name, as :func:`splits` gives them.
        classes: the classes of a trained model; labels follow them by name. Default: the set's own.

    Raises:
        DataError: nothing to recognise, no such split, no images, damaged annotations, missing image files, or objects
            of a class that ``classes`` does not have.
    """
    path = Path(path)
    layout = recognise(path)
    if path.is_file():
        split = next(iter(layout.readers))
    if split not in layout.readers:
        raise DataError(f"no split '{split}'", place=path, cure=f"the splits there are: {', '.join(layout.readers)}")
    source = layout.sources.get(split)
    content = _read(layout, split) if source is None else cached(source, partial(_read, layout, split))
    index = content.index
    if not len(index.image_ids):
        raise DataError(f"split '{split}' has no images", place=source or path, cure="check how the set was made")
    if classes is not None:
        index = with_classes(index, classes, path)
    records = Records(index, np.arange(len(index.image_ids)))
    names = index.keypoint_names
    return Dataset(layout.root, split, index.classes, records, content.findings, keypoint_names=names)


def splits(path: str | Path) -> tuple[str, ...]:
    """The names of the splits at ``path``.

    Raises:
        DataError: nothing to recognise.
    """
    return tuple(recognise(Path(path)).readers)


def _read(layout: Layout, split: str) -> Content:
    findings = Findings()
    index: Index = index_of(layout.readers[split](findings), findings)
    return Content(index, findings.by_title())


def _require_fit(record: Record, size: Size) -> None:
    """The file's size wins over the annotated one, as long as the boxes can have been drawn on this picture."""
    cause = why_unfit(record.size, size, record.boxes)
    if cause is not None:
        raise DataError(
            f"annotated as {record.size[0]} x {record.size[1]} (H x W), but the image has {size[0]} x {size[1]}",
            place=record.path,
            cause=cause,
            cure="correct the annotated size, or annotate the picture as it is shown",
        )


def _masks(record: Record, size: Size) -> Tensor:
    masks = torch.zeros(len(record), *size, dtype=torch.bool)
    for i, segmentation in enumerate(record.segmentation):
        if segmentation is None:
            place = f"{record.path}, segmentation of object {i}"
            raise DataError("the mask has no polygon of three points", place=place, cure="correct the annotation file")
        try:
            masks[i] = decode_segmentation(segmentation, size)
        except DataError as error:
            place = f"{record.path}, segmentation of object {i}"
            raise DataError(error.what, place=place, cause=error.cause, cure="correct the annotation file") from error
    return masks
