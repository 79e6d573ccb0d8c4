"""Statistics of annotations against slow counts, and by hand."""

import time
from pathlib import Path

import numpy as np
import pytest

from sightline.data.dataset import open_dataset
from sightline.data.details import Details
from sightline.data.records import Index
from sightline.data.statistics import Histogram, Spread, describe, size_classes
from sightline.data.strings import Strings
from sightline.structures import Classes


def index_of(per_image: list[int], classes: int = 3, seed: int = 0, keypoints: bool = True) -> Index:
    """Random objects, so many an image; a fifth of them ignored, half with a mask."""
    draw = np.random.default_rng(seed)
    images, count = len(per_image), sum(per_image)
    corners = draw.random((count, 2)) * 300
    boxes = np.concatenate([corners, corners + 1 + draw.random((count, 2)) * 200], axis=1).astype(np.float32)
    return Index(
        Classes(tuple(f"class {n}" for n in range(classes)), tuple(range(1, classes + 1))),
        Path("images"),
        Strings.of([f"{n}.jpg" for n in range(images)]),
        np.arange(images),
        draw.integers(500, 520, (images, 2)).astype(np.int32),
        np.concatenate([[0], np.cumsum(per_image)]).astype(np.int64),
        boxes,
        draw.integers(0, classes, count),
        draw.random(count) < 0.2,
        (draw.random(count) * 20_000).astype(np.float32),
        draw.random(count) < 0.5,
        np.zeros((count, 2), np.int64),
        Details.in_memory(b""),
        draw.integers(0, 3, (count, 4, 3)).astype(np.float32) if keypoints else None,
    )


def test_counts_are_those_of_a_slow_loop() -> None:
    index = index_of([3, 0, 5, 1, 9, 0, 2])
    found = describe(index, "train")
    objects, with_class = [0, 0, 0], [set(), set(), set()]
    small = medium = large = 0
    sides, shapes, per_image = [], [], []
    for image in range(7):
        counted = 0
        for row in range(index.first[image], index.first[image + 1]):
            if index.ignore[row]:
                continue
            counted += 1
            objects[index.labels[row]] += 1
            with_class[index.labels[row]].add(image)
            area = float(index.areas[row])
            small, medium, large = small + (area < 1024), medium + (1024 <= area <= 9216), large + (area > 9216)
            x1, y1, x2, y2 = index.boxes[row].astype(np.float64)
            height, width = index.sizes[image]
            sides.append(((x2 - x1) * (y2 - y1) / (height * width)) ** 0.5)
            shapes.append((x2 - x1) / (y2 - y1))
        per_image.append(counted)
    assert [count.objects for count in found.classes] == objects
    assert [count.images for count in found.classes] == [len(images) for images in with_class]
    assert (found.sizes.small, found.sizes.medium, found.sizes.large) == (small, medium, large)
    assert found.objects == sum(objects) == sum(found.relative_histogram.counts) == sum(found.aspect_histogram.counts)
    assert found.ignored == sum(count.ignored for count in found.classes) == int(index.ignore.sum()) > 0
    assert found.per_image == Spread(min(per_image), float(np.median(per_image)), sum(per_image) / 7, max(per_image))
    assert found.relative is not None and found.aspect is not None
    assert found.relative.mean == pytest.approx(sum(sides) / len(sides))
    assert (found.aspect.least, found.aspect.most) == pytest.approx((min(shapes), max(shapes)))
    assert (found.images, found.empty_images, found.masks) == (7, 2, int(index.masked.sum()))
    assert index.keypoints is not None
    assert found.keypoints == int((index.keypoints[:, :, 2] > 0).sum())
    assert found.with_keypoints == sum(any(points[:, 2] > 0) for points in index.keypoints)
    assert found.image_sizes is not None
    assert found.image_sizes.different == len({tuple(size) for size in index.sizes.tolist()})


def test_the_limits_of_sizes_are_coco_s() -> None:
    assert size_classes(np.asarray([0.0, 1023.9, 1024.0, 9216.0, 9216.1])).tolist() == [0, 0, 1, 1, 2]


def test_a_bar_begins_where_it_says() -> None:
    assert Histogram.of(np.asarray([0, 1, 1, 2, 4, 5, 99]), (0, 1, 2, 5)).counts == (1, 2, 2, 2)
    assert Histogram.of(np.zeros(0), (0, 1)).counts == (0, 0)


def test_nothing_is_legal() -> None:
    nothing = describe(index_of([], keypoints=False), "empty")
    assert (nothing.images, nothing.per_image, nothing.relative, nothing.image_sizes) == (0, None, None, None)
    bare = describe(index_of([0, 0], classes=0), "bare")
    assert (bare.images, bare.empty_images, bare.objects, bare.classes) == (2, 2, 0, ())
    assert bare.per_image == Spread(0, 0, 0, 0)
    assert bare.to_dict()["per_image"] == {"least": 0, "median": 0, "mean": 0, "most": 0}


def test_a_million_objects_take_a_second() -> None:
    index = index_of([8] * 125_000, classes=80)
    start = time.process_time()
    describe(index, "train")
    assert time.process_time() - start < 2


def test_real_annotations(data_root: Path) -> None:
    """Counts that grep finds in the files."""
    index = open_dataset(data_root / "datasets" / "bccd", "train").records.table
    found = describe(index, "train")
    assert (found.images, found.objects, found.empty_images) == (205, 2805, 0)
    assert {count.name: count.objects for count in found.classes} == {"Platelets": 209, "RBC": 2382, "WBC": 214}
