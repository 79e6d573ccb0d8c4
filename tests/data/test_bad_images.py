"""The three ways with bad images, and what is counted."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.data.bad_images import ImageReader, OnBadImage, on_bad_image
from sightline.errors import ConfigError, DataError


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """A sound picture, one that ends early, one that is empty, one that is not there, and an animation."""
    picture = Image.fromarray(np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3))
    sound, cut, empty, gone, moving = (
        tmp_path / name for name in ("sound.png", "cut.png", "empty.png", "gone.png", "moving.gif")
    )
    picture.save(sound)
    cut.write_bytes(sound.read_bytes()[: sound.stat().st_size * 2 // 3])
    empty.touch()
    picture.save(moving, save_all=True, append_images=[Image.new("RGB", (64, 64))])
    return [sound, cut, empty, gone, moving]


def test_raise_ends_at_the_first(files: list[Path]) -> None:
    reader = ImageReader("raise")
    assert reader.read(files[0]) is not None
    for bad in files[1:4]:
        with pytest.raises(DataError) as caught:
            reader.read(bad)
        assert caught.value.place == str(bad)
    assert (reader.skipped, reader.counts) == ([], {})


def test_skip_leaves_bad_images_out_and_counts_them_by_reason(files: list[Path]) -> None:
    reader = ImageReader("skip")
    assert [reader.read(file) is None for file in files] == [False, True, True, True, False]
    assert reader.counts == {
        "image skipped: damaged image": 1,
        "image skipped: the file is empty": 1,
        "image skipped: there is no such image file": 1,
        "first of several frames": 1,
    }
    assert [line.split(": ")[0] for line in reader.skipped] == [str(file) for file in files[1:4]]


def test_salvage_uses_what_is_left_and_leaves_out_the_rest(files: list[Path]) -> None:
    reader = ImageReader("salvage")
    assert [reader.read(file) is None for file in files] == [False, False, True, True, False]
    assert reader.counts["image salvaged: damaged image"] == 1
    assert len(reader.skipped) == 2


def test_a_reader_can_be_content_with_less(tmp_path: Path) -> None:
    Image.new("RGB", (160, 160)).save(tmp_path / "a.jpg")
    decoded = ImageReader().read(tmp_path / "a.jpg", at_least=30)
    assert decoded is not None
    assert (decoded.size, tuple(decoded.image.shape)) == ((160, 160), (3, 80, 80))


@pytest.mark.parametrize("name", ["raise", "skip", "salvage"])
def test_policies_have_names(name: OnBadImage) -> None:
    assert on_bad_image(name) == name


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"'ignore'.*valid: raise, skip, salvage"):
        on_bad_image("ignore")
