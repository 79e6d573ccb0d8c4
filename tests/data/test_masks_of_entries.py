"""Masks without torch: run lengths, polygons, and label images that entries refer to."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from sightline.data.coco_masks import decode, encode
from sightline.data.mask_files import MASK_FILE, read_labels, with_mask
from sightline.errors import DataError

MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(np.bool_, size))


def counted(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, from a run of zeros, by counting."""
    runs, value = [0], False
    for pixel in mask.T.ravel().tolist():
        if pixel != value:
            runs.append(0)
            value = pixel
        runs[-1] += 1
    return runs


@given(mask=MASKS)
def test_run_lengths_of_all_kinds_are_the_mask(mask: np.ndarray) -> None:
    size = [int(side) for side in mask.shape]
    written = encode(mask)
    assert written["size"] == size and isinstance(written["counts"], str)
    for runs in (written, {"size": size, "counts": counted(mask)}):
        read = decode(runs, (size[0], size[1]))
        assert read.dtype == np.bool_ and read.flags.c_contiguous
        np.testing.assert_array_equal(read, mask)


@given(
    value=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=9)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=7), st.dictionaries(st.sampled_from(["size", "counts"]), inner)
        ),
        max_leaves=9,
    )
)
def test_anything_else_is_a_typed_error(value: Any) -> None:
    try:
        assert decode(value, (5, 7)).shape == (5, 7)
    except DataError as error:
        assert error.what


@pytest.mark.parametrize(
    "counts", ["", "0", "~~~~~~~~", "\x7f", "é", "1" * 99, "oooooooooooooooooooo", "PPPPPPPPPPPPPPPPPPPP0"]
)
def test_texts_that_are_no_run_lengths(counts: str) -> None:
    try:
        assert decode({"size": [5, 7], "counts": counts}, (5, 7)).shape == (5, 7)
    except DataError as error:
        assert error.what


@pytest.mark.parametrize(
    ("mode", "pixels"),
    [("L", [[0, 7], [255, 7]]), ("P", [[0, 7], [255, 7]]), ("I;16", [[0, 7], [60000, 7]]), ("1", [[0, 1], [1, 0]])],
)
def test_label_images_give_their_values(tmp_path: Path, mode: str, pixels: list[list[int]]) -> None:
    path = tmp_path / "a.png"
    if mode == "I;16":
        image = Image.fromarray(np.asarray(pixels, np.uint16))
    else:
        image = Image.fromarray(np.asarray(pixels, np.uint8) * (255 if mode == "1" else 1), "P" if mode == "P" else "L")
        image = image.convert("1") if mode == "1" else image
    if mode == "P":
        image.putpalette(bytes(range(256)) * 3)
    image.save(path)
    labels = read_labels(str(path))
    assert labels.tolist() == pixels and labels.dtype == np.int32 and not labels.flags.writeable
    entry = {"id": 1, "bbox": [0, 0, 1, 1], MASK_FILE: {"path": str(path), "value": pixels[0][1]}}
    resolved = with_mask(entry)
    assert set(resolved) == {"id", "bbox", "segmentation"} and MASK_FILE in entry
    wanted = np.asarray(pixels) == pixels[0][1]
    np.testing.assert_array_equal(decode(resolved["segmentation"], (2, 2)), wanted)
    assert with_mask({"id": 1}) == {"id": 1}


@pytest.mark.parametrize("kind", ["missing", "colours", "no image", "folder", "cut"])
def test_a_label_image_that_cannot_be_read_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    if kind == "folder":
        path.mkdir()
    elif kind != "missing":
        Image.effect_noise((40, 40), 90).convert("RGB" if kind == "colours" else "L").save(path)
        if kind != "colours":
            path.write_bytes(path.read_bytes()[:300] if kind == "cut" else b"text")
    with pytest.raises(DataError) as raised:
        with_mask({MASK_FILE: {"path": str(path), "value": 1}})
    assert raised.value.place == str(path)
