"""Masks against pycocotools, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as reference

from sightline.data.segmentation import decode_segmentation, encode_mask
from sightline.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # pycocotools on numpy 2


def runs_by_loop(mask: np.ndarray) -> list[int]:
    """Uncompressed run lengths, down the columns, zeros first."""
    runs, current = [0], False
    for value in mask.T.reshape(-1):
        if bool(value) == current:
            runs[-1] += 1
        else:
            runs.append(1)
            current = bool(value)
    return runs


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 7))
def test_run_lengths_of_both_kinds_come_back(seed: int, height: int, width: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.5
    truth = torch.from_numpy(mask)
    plain = {"size": [height, width], "counts": runs_by_loop(mask)}
    assert torch.equal(decode_segmentation(plain, (height, width)), truth)
    written = encode_mask(truth)
    assert written["counts"] == reference.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    assert torch.equal(decode_segmentation(written, (height, width)), truth)


@given(st.lists(st.lists(st.floats(-5, 25), min_size=6, max_size=12).filter(lambda p: len(p) % 2 == 0), min_size=1))
def test_polygons_are_filled_as_pycocotools_does(polygons: list[list[float]]) -> None:
    expected = reference.decode(reference.merge(reference.frPyObjects(polygons, 15, 20)))
    assert np.array_equal(decode_segmentation(polygons, (15, 20)).numpy(), expected.astype(bool))


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ([], "must be a list of polygons"),
        ("text", "must be a list of polygons"),
        ([[0, 0, 3, 3]], "at least three"),
        ([[0, 0, 3, 3, 1, 2, 5]], "at least three"),
        ([[0, 0, 3, 3, 1, float("nan")]], "finite"),
        ([[0, 0, 3, 3, 1, 1e9]], "finite"),
        ([[0, 0, 3, 3, 1, "x"]], "cannot be decoded"),
        ([[0, 0, 3, 3, 1, [2]]], "cannot be decoded"),
        ({"size": [4, 5], "counts": [21]}, "add up"),
        ({"size": [4, 5], "counts": [-1, 21]}, "add up"),
        ({"size": [5, 4], "counts": [20]}, "for an image of size"),
        ({"size": [4, 5]}, "must be a list of numbers or"),
        ({"size": [4, 5], "counts": "!!"}, "cannot be decoded"),
    ],
)
def test_what_is_no_segmentation_is_refused(segmentation: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        decode_segmentation(segmentation, (4, 5))


def test_masks_of_real_photographs(data_root: Path) -> None:
    from opened import opened_coco
    from pycocotools.coco import COCO

    file = data_root / "datasets/coco_tiny/annotations/instances_val2017.json"
    expected = COCO(str(file))
    compared = 0
    for record in opened_coco(file).records:
        annotations = expected.imgToAnns[record.image_id]
        assert len(annotations) == len(record.segmentation)
        for annotation, segmentation in zip(annotations, record.segmentation, strict=True):
            ours = decode_segmentation(segmentation, record.size)
            assert np.array_equal(ours.numpy(), expected.annToMask(annotation).astype(bool))
            compared += 1
    assert compared == 815
