"""Numbers about a split: how many objects, how large, of what shape, how the classes are balanced.

All of it comes from the arrays of the index; no image is opened. Distributions are over the objects that count:
crowds and difficult ones are counted apart.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.data.records import Index

SMALL, LARGE = 32**2, 96**2
"""Areas in square pixels that COCO calls the limits of medium objects; the areas are those of the file."""

PER_IMAGE_EDGES = (0, 1, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 100)
"""Objects of an image from which each bar begins; the last bar has no end."""

RELATIVE_EDGES = (0, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75)
"""The same for square roots of box area over image area."""

ASPECT_EDGES = (0, 1 / 8, 1 / 5, 1 / 3, 1 / 2, 0.7, 0.9, 1 / 0.9, 1 / 0.7, 2, 3, 5, 8)
"""The same for width over height."""


@dataclass(frozen=True)
class Spread:
    """Where numbers lie.

    Args:
        least: the smallest.
        median: half of them are below.
        mean: their sum over their count.
        most: the largest.
    """

    least: float
    median: float
    mean: float
    most: float

    @classmethod
    def of(cls, values: NDArray[Any]) -> "Spread | None":
        """Of (N,) numbers; None for none."""
        if not len(values):
            return None
        found = values.min(), np.median(values), values.mean(dtype=np.float64), values.max()
        return cls(*(float(value) for value in found))


@dataclass(frozen=True)
class Histogram:
    """How many numbers lie in which range.

    Args:
        edges: (B,) where each range begins; each ends, exclusive, where the next begins, and the last has no end.
        counts: (B,).
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, values: NDArray[Any], edges: Sequence[float]) -> "Histogram":
        """Of (N,) numbers that are not below the first edge."""
        places = np.searchsorted(np.asarray(edges, np.float64), values, side="right") - 1
        return cls(tuple(edges), tuple(np.bincount(places, minlength=len(edges)).tolist()))


@dataclass(frozen=True)
class Sizes:
    """Objects by COCO's three sizes.

    Args:
        small: below 32 x 32 square pixels.
        medium: from there up to 96 x 96.
        large: above that.
    """

    small: int
    medium: int
    large: int


@dataclass(frozen=True)
class ClassCount:
    """How often a class occurs.

    Args:
        name: of the class.
        objects: that count.
        ignored: crowds and difficult ones.
        images: with at least one object that counts.
    """

    name: str
    objects: int
    ignored: int
    images: int


@dataclass(frozen=True)
class ImageSizes:
    """How large the images are.

    Args:
        heights: in pixels.
        widths: in pixels.
        different: how many sizes there are.
    """

    heights: Spread
    widths: Spread
    different: int


@dataclass(frozen=True)
class SplitStatistics:
    """What the annotations of a split look like.

    Args:
        split: its name.
        images: all of them.
        empty_images: those without objects of either kind.
        objects: that count.
        ignored: crowds and difficult ones.
        masks: objects of either kind with a mask.
        with_keypoints: objects of either kind with a labelled keypoint.
        keypoints: labelled keypoints.
        per_image: objects of an image that count; None without images.
        per_image_histogram: the same as bars.
        sizes: by COCO's areas.
        relative: square root of box area over image area, in 0..1; None without objects.
        relative_histogram: the same as bars.
        aspect: width over height of the boxes; None without objects.
        aspect_histogram: the same as bars.
        image_sizes: None without images.
        classes: in order of label.
    """

    split: str
    images: int
    empty_images: int
    objects: int
    ignored: int
    masks: int
    with_keypoints: int
    keypoints: int
    per_image: Spread | None
    per_image_histogram: Histogram
    sizes: Sizes
    relative: Spread | None
    relative_histogram: Histogram
    aspect: Spread | None
    aspect_histogram: Histogram
    image_sizes: ImageSizes | None
    classes: tuple[ClassCount, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def images_of_objects(index: Index) -> NDArray[np.int64]:
    """(N,) the place of each object's image."""
    return np.repeat(np.arange(len(index.image_ids)), np.diff(index.first))


def size_classes(areas: NDArray[Any]) -> NDArray[np.int64]:
    """(N,) 0 for small, 1 for medium and 2 for large of (N,) square pixels."""
    return (areas >= SMALL).astype(np.int64) + (areas > LARGE)


def describe(index: Index, split: str) -> SplitStatistics:
    """The statistics of a split.

    Args:
        index: its usable annotations.
        split: its name.
    """
    counted = ~index.ignore
    images = images_of_objects(index)
    per_image = np.bincount(images[counted], minlength=len(index.image_ids))
    sides = (index.boxes[:, 2:] - index.boxes[:, :2])[counted].astype(np.float64)
    relative = np.sqrt(sides.prod(axis=1) / index.sizes.prod(axis=1, dtype=np.float64)[images[counted]])
    aspect = sides[:, 0] / sides[:, 1]
    labelled = _labelled(index)
    return SplitStatistics(
        split,
        images=len(index.image_ids),
        empty_images=int((np.diff(index.first) == 0).sum()),
        objects=int(counted.sum()),
        ignored=int(index.ignore.sum()),
        masks=int(index.masked.sum()),
        with_keypoints=int((labelled > 0).sum()),
        keypoints=int(labelled.sum()),
        per_image=Spread.of(per_image),
        per_image_histogram=Histogram.of(per_image, PER_IMAGE_EDGES),
        sizes=Sizes(*np.bincount(size_classes(index.areas[counted]), minlength=3).tolist()),
        relative=Spread.of(relative),
        relative_histogram=Histogram.of(relative, RELATIVE_EDGES),
        aspect=Spread.of(aspect),
        aspect_histogram=Histogram.of(aspect, ASPECT_EDGES),
        image_sizes=_image_sizes(index),
        classes=_class_counts(index, images),
    )


def _labelled(index: Index) -> NDArray[np.int64]:
    """(N,) labelled keypoints of each object."""
    if index.keypoints is None:
        return np.zeros(len(index.labels), np.int64)
    labelled: NDArray[np.int64] = (index.keypoints[:, :, 2] > 0).sum(axis=1)
    return labelled


def _image_sizes(index: Index) -> ImageSizes | None:
    heights, widths = Spread.of(index.sizes[:, 0]), Spread.of(index.sizes[:, 1])
    if heights is None or widths is None:
        return None
    both = index.sizes[:, 0].astype(np.int64) << 32 | index.sizes[:, 1]
    return ImageSizes(heights, widths, len(_distinct(both)))


def _class_counts(index: Index, images: NDArray[np.int64]) -> tuple[ClassCount, ...]:
    count = len(index.classes)
    labels, counted = index.labels, ~index.ignore
    objects = np.bincount(labels[counted], minlength=count)
    ignored = np.bincount(labels[index.ignore], minlength=count)
    pairs = _distinct(images[counted] * max(1, count) + labels[counted])
    with_class = np.bincount(pairs % max(1, count), minlength=count)
    rows = zip(index.classes.names, objects.tolist(), ignored.tolist(), with_class.tolist(), strict=True)
    return tuple(ClassCount(*row) for row in rows)


def _distinct(values: NDArray[np.int64]) -> NDArray[np.int64]:
    # Sorting is many times as fast here as np.unique, which hashes: a million pairs are nearly in order.
    ordered = np.sort(values)
    return ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])] if len(ordered) else ordered
