"""Annotations and the size of the picture that a file holds now; leaving out images that cannot be read."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.data.dataset import open_dataset
from sightline.data.fit import why_unfit
from sightline.data.screening import screened
from sightline.errors import DataError

INSIDE = np.asarray([[1.0, 1, 20, 10]])
NOTHING = np.zeros((0, 4))


@pytest.mark.parametrize(
    ("annotated", "actual", "boxes", "cause"),
    [
        ((20, 30), (20, 30), np.asarray([[0.0, 0, 900, 900]]), None),
        ((20, 30), (30, 20), NOTHING, "orientation"),
        ((20, 30), (40, 60), NOTHING, "resized"),
        ((20, 30), (10, 15), NOTHING, "resized"),
        ((20, 31), (40, 61), NOTHING, "resized"),
        ((20, 30), (22, 32), INSIDE, None),
        ((20, 30), (19, 29), INSIDE, None),
        ((20, 30), (19, 19), INSIDE, "resized"),
        ((20, 30), (19, 20), INSIDE, None),
        ((20, 30), (50, 30), INSIDE, None),
        ((200, 300), (199, 301), NOTHING, None),
    ],
)
def test_why_boxes_cannot_be_used(
    annotated: tuple[int, int], actual: tuple[int, int], boxes: np.ndarray, cause: str | None
) -> None:
    found = why_unfit(annotated, actual, boxes)
    assert found is None if cause is None else found is not None and cause in found


def make(folder: Path) -> Path:
    """Four images: sound, cut short, empty, sound."""
    for name in "abcd":
        Image.effect_noise((64, 64), 90).save(folder / f"{name}.jpg")
    whole = (folder / "b.jpg").read_bytes()
    (folder / "b.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "c.jpg").write_bytes(b"")
    images = [{"id": i, "file_name": f"{name}.jpg", "height": 64, "width": 64} for i, name in enumerate("abcd")]
    path = folder / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": [], "categories": [{"id": 1, "name": "x"}]}))
    return path


def test_images_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    data = open_dataset(make(tmp_path))
    assert screened(data, "raise") is data
    seen: list[tuple[int, int]] = []
    skipping = screened(data, "skip", lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [sample.image_id for sample in skipping] == [0, 3] and not skipping.salvage
    assert sum(n for what, n in skipping.findings.items() if what.startswith("image skipped")) == 2
    salvaging = screened(data, "salvage")
    assert [sample.image_id for sample in salvaging] == [0, 1, 3] and salvaging.salvage
    assert sum(n for what, n in salvaging.findings.items() if what.startswith("image salvaged")) == 1


def test_a_part_of_a_set_is_screened_as_a_part(tmp_path: Path) -> None:
    part = open_dataset(make(tmp_path))[1:]
    assert [sample.image_id for sample in screened(part, "skip")] == [3]


def test_no_image_left_is_an_error(tmp_path: Path) -> None:
    data = open_dataset(make(tmp_path))[2:3]
    with pytest.raises(DataError, match="no image of split 'set' can be read"):
        screened(data, "salvage")
