"""A labelled set of images, whatever its format: opened with :func:`open_dataset`, used as a sequence of samples.

The annotations are read and checked when the set is opened; pixels are decoded when a sample is asked for. The user's
files are only ever read.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from operator import index as as_index
from pathlib import Path
from typing import Literal, overload

import numpy as np
import torch
from torch import Tensor

from sightline.classes import Classes, Size
from sightline.data.decode import decode_image
from sightline.data.fit import require_fit
from sightline.data.image_header import read_size
from sightline.data.opening import open_split
from sightline.data.opening import split_names as splits
from sightline.data.records import Record, Records, with_classes
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
        shorter_side: from an image's (H, W) to the pixels of the shorter side that will do. Large JPEGs are then
            decoded at 1/2, 1/4 or 1/8 of their size (``data.decode``), and their targets are scaled with them.
        salvage: whether damaged images give what is left of them, instead of an error.

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
    shorter_side: Callable[[Size], int] | None = None
    salvage: bool = False

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
        known = self.shorter_side is not None and min(record.size) > 0
        at_least = self.shorter_side(record.size) if self.shorter_side is not None and known else None
        on_damage: Literal["raise", "salvage"] = "salvage" if self.salvage else "raise"
        decoded = decode_image(record.path, on_damage=on_damage, at_least=at_least)
        target = self._target(record, decoded.size)
        height, width = decoded.image.shape[1:]
        if (height, width) != decoded.size:
            target = _reduced(target, (height, width))
        return Sample(decoded.image, target, record.image_id, str(record.path))

    def target(self, index: int) -> Target:
        """``self[index].target`` without decoding the pixels: only the file's header is read.

        Raises:
            DataError: the header cannot be read, or the annotations do not fit the image's size.
        """
        record = self.records[as_index(index)]
        return self._target(record, read_size(record.path))

    def _target(self, record: Record, size: Size) -> Target:
        require_fit(record.path, record.size, size, record.boxes)
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
        path: a folder or annotation file in any format of docs/data.md; an annotation file is taken whatever its split.
        split: the split's name, as :func:`splits` gives them.
        classes: the classes of a trained model; labels follow them by name. Default: the set's own.

    Raises:
        DataError: nothing to recognise, no such split, no images, damaged annotations, missing image files, or objects
            of a class that ``classes`` does not have.
    """
    opened = open_split(path, split)
    index = opened.index if classes is None else with_classes(opened.index, classes, Path(path))
    records = Records(index, np.arange(len(index.image_ids)))
    names = index.keypoint_names
    return Dataset(opened.root, opened.split, index.classes, records, opened.findings, keypoint_names=names)


def _reduced(target: Target, size: Size) -> Target:
    """A target of a whole image in pixels of the image reduced to ``size``, a whole fraction of it."""
    factor = target.size[0] / size[0]
    masks, keypoints, middle = target.masks, target.keypoints, round(factor) // 2
    return Target(
        target.boxes / factor,
        target.labels,
        size,
        target.ignore,
        target.areas / factor**2,
        None if masks is None else masks[:, middle :: round(factor), middle :: round(factor)].contiguous(),
        None if keypoints is None else keypoints / keypoints.new_tensor([factor, factor, 1.0]),
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
