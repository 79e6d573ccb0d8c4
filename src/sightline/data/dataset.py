"""A labelled set of images, whatever its format: opened with :func:`open_dataset`, used as a sequence of samples.

The annotations are read and checked when the set is opened; pixels are decoded when a sample is asked for. The user's
files are only ever read.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import index as as_index
from pathlib import Path
from typing import overload

import numpy as np
import torch
from torch import Tensor

from sightline.data.decode import read_image, read_size
from sightline.data.formats import coco, voc
from sightline.data.records import Content, Record
from sightline.data.segmentation import decode_segmentation
from sightline.errors import DataError
from sightline.structures import Classes, Sample, Size, Target

__all__ = ["Dataset", "Record", "open_dataset", "splits"]

_LAYOUTS = (
    "COCO: a .json file, annotations/*.json or */_annotations.coco.json; Pascal VOC: Annotations/ and JPEGImages/"
)

_SIZE_SLIP = 2
"""Pixels by which an annotated size may miss the file's without looking like another resolution of the picture."""


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
    records: tuple[Record, ...]
    findings: Counter[str] = field(default_factory=Counter)
    masks: bool = False
    keypoint_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for record in self.records if self.masks else ():
            if len(record) and (not record.segmentation or None in record.segmentation):
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
    found = _find(path)
    if path.is_file():
        split = next(iter(found))
    if split not in found:
        raise DataError(f"no split '{split}'", place=path, cure=f"the splits there are: {', '.join(found)}")
    source = found[split]
    content = voc.read(path, split) if source is None else coco.read(source)
    if not content.records:
        raise DataError(f"split '{split}' has no images", place=source or path, cure="check how the set was made")
    if classes is not None:
        content = _follow(content, classes, path)
    root = path if path.is_dir() else path.parent.parent if path.parent.name == "annotations" else path.parent
    names = content.keypoint_names
    return Dataset(root, split, content.classes, content.records, content.findings, keypoint_names=names)


def splits(path: str | Path) -> tuple[str, ...]:
    """The names of the splits at ``path``.

    Raises:
        DataError: nothing to recognise.
    """
    return tuple(_find(Path(path)))


def _find(path: Path) -> dict[str, Path | None]:
    """The annotation file of each split; None stands for a VOC folder, which has many."""
    if path.is_file() and path.suffix.lower() == ".json":
        return {coco.split_name(path): path}
    if not path.is_dir():
        what = "not an annotation file" if path.is_file() else "no such file or folder"
        raise DataError(what, place=path, cure=f"give one of these: {_LAYOUTS}")
    annotation_files = coco.find_splits(path)
    if voc.is_voc(path):
        if annotation_files:
            raise DataError(
                "both COCO and Pascal VOC annotations are there",
                place=path,
                cure=f"give one annotation file ({next(iter(annotation_files.values()))}), or move one kind away",
            )
        return dict.fromkeys(voc.find_splits(path))
    if not annotation_files:
        raise DataError("no annotations recognised", place=path, cure=f"looked for these: {_LAYOUTS}")
    return dict(annotation_files)


def _follow(content: Content, classes: Classes, path: Path) -> Content:
    """The same content with labels in the order of ``classes``."""
    present = {int(label) for record in content.records for label in np.unique(record.labels)}
    unknown = [
        content.classes.names[label] for label in sorted(present) if content.classes.names[label] not in classes.names
    ]
    if unknown:
        raise DataError(
            f"unknown class {', '.join(repr(name) for name in unknown)}",
            place=path,
            cause=f"the model knows only {', '.join(classes.names)}",
            cure="use a model that was trained with these classes, or rename them in the annotations",
        )
    new = np.asarray([classes.names.index(n) if n in classes.names else -1 for n in content.classes.names], np.int64)
    records = tuple(replace(record, labels=new[record.labels]) for record in content.records)
    return replace(content, classes=classes, records=records)


def _require_fit(record: Record, size: Size) -> None:
    """The file's size wins over the annotated one, as long as the boxes can have been drawn on this picture."""
    if size == record.size:
        return
    turned = size == record.size[::-1]
    near = max(abs(size[0] - record.size[0]), abs(size[1] - record.size[1])) <= _SIZE_SLIP
    scaled = not near and abs(size[0] * record.size[1] - size[1] * record.size[0]) <= max(size + record.size)
    beyond = len(record) and bool((record.boxes[:, 2:].max(axis=0) > (size[1], size[0])).any())
    if turned or scaled or beyond:
        cause = "the picture was resized or replaced after it was annotated"
        if turned:
            cause = "the annotation ignores the picture's EXIF orientation, or swaps height and width"
        raise DataError(
            f"annotated as {record.size[0]} x {record.size[1]} (H x W), but the image has {size[0]} x {size[1]}",
            place=record.path,
            cause=cause,
            cure="correct the annotated size, or annotate the picture as it is shown",
        )


def _masks(record: Record, size: Size) -> Tensor:
    masks = torch.zeros(len(record), *size, dtype=torch.bool)
    for i, segmentation in enumerate(record.segmentation):
        try:
            masks[i] = decode_segmentation(segmentation, size)
        except DataError as error:
            place = f"{record.path}, segmentation of object {i}"
            raise DataError(error.what, place=place, cause=error.cause, cure="correct the annotation file") from error
    return masks
