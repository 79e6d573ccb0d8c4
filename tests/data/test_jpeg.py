"""The quick way for plain JPEGs against Pillow: the same pixels, and nothing damaged is let through."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data.decode import decode_image, read_image
from sightline.data.image_header import opened
from sightline.data.jpeg import decode_plain_jpeg
from sightline.errors import DataError


def photograph(size: tuple[int, int] = (61, 83), mode: str = "RGB") -> Image.Image:
    """Noise that is smooth enough to look like something."""
    coarse = np.random.default_rng(0).integers(0, 256, (size[0] // 6 + 1, size[1] // 6 + 1, 3), np.uint8)
    return Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC).convert(mode)


def by_pillow(path: Path) -> torch.Tensor:
    with Image.open(path) as image:
        return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize("options", [{}, {"quality": 30}, {"subsampling": 0}, {"progressive": True}])
def test_the_pixels_are_pillows(tmp_path: Path, options: dict[str, object]) -> None:
    path = tmp_path / "a.jpg"
    photograph().save(path, **options)
    with opened(path) as image:
        quick = decode_plain_jpeg(image, path)
    assert quick is not None
    assert torch.equal(quick, by_pillow(path))
    assert torch.equal(read_image(path), quick)


def test_real_photographs_are_pillows(data_root: Path) -> None:
    paths = sorted((data_root / "datasets" / "coco_tiny" / "val2017").glob("*.jpg"))[:12]
    assert all(torch.equal(read_image(path), by_pillow(path)) for path in paths)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_turned_as_pillow_turns_it(tmp_path: Path, orientation: int) -> None:
    path, exif = tmp_path / "a.jpg", Image.Exif()
    exif[0x0112] = orientation
    photograph().save(path, exif=exif)
    from PIL import ImageOps

    with Image.open(path) as image:
        expected = torch.from_numpy(np.array(ImageOps.exif_transpose(image))).permute(2, 0, 1)
    assert torch.equal(read_image(path), expected)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_modes_are_left_to_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.jpg"
    photograph(mode=mode).save(path)
    with opened(path) as image:
        assert decode_plain_jpeg(image, path) is None
    assert read_image(path).shape == (3, 61, 83)


def test_components_that_are_rgb_already_are_left_to_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photograph().save(path, keep_rgb=True)
    assert torch.equal(read_image(path), by_pillow(path))


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.99])
def test_a_cut_file_is_an_error(tmp_path: Path, share: float) -> None:
    path = tmp_path / "a.jpg"
    photograph((200, 300)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(DataError, match="damaged"):
        read_image(path)
    assert decode_image(path, on_damage="salvage").damage is not None


def test_bytes_behind_the_end_are_left_to_pillow(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    photograph().save(path)
    whole = read_image(path)
    path.write_bytes(path.read_bytes() + b"\0" * 100)
    assert torch.equal(read_image(path), whole)
