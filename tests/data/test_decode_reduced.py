"""JPEGs decoded at a fraction of their size: how large, how exact, and that nothing else is reduced."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2 import functional as v2

from sightline.data.decode import decode_image, read_image


def photo(path: Path, height: int, width: int, mode: str = "RGB", **options: object) -> Path:
    """Waves of many lengths, so that what is lost or moved shows."""
    y, x = np.mgrid[:height, :width] / 40
    waves = [np.sin(x * k) + np.cos(y * (4 - k)) for k in (1, 2, 3)]
    pixels = np.stack([(wave + 2) * 60 for wave in waves], axis=2).astype(np.uint8)
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return path


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize(
    ("size", "at_least", "factor"),
    [
        ((400, 640), 400, 1),
        ((400, 640), 81, 1),  # 2.5 times 81 is over 200
        ((400, 640), 80, 2),
        ((400, 640), 41, 2),
        ((400, 640), 40, 4),
        ((400, 640), 20, 8),
        ((400, 640), 1, 8),
        ((404, 640), 1, 4),
        ((402, 640), 1, 2),
        ((400, 641), 1, 1),
    ],
)
def test_the_smallest_fraction_that_is_exact_enough_is_taken(
    tmp_path: Path, size: tuple[int, int], at_least: int, factor: int
) -> None:
    decoded = decode_image(photo(tmp_path / "a.jpg", *size), at_least=at_least)
    assert tuple(decoded.image.shape) == (3, size[0] // factor, size[1] // factor)
    assert decoded.size == size
    assert decoded.image.is_contiguous() or decoded.image.permute(1, 2, 0).is_contiguous()
    assert decoded.remarks == ()


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_reduced_picture_is_the_whole_one_averaged(tmp_path: Path, mode: str) -> None:
    path = photo(tmp_path / "a.jpg", 480, 640, mode)
    whole = read_image(path).float()
    for at_least, factor in ((90, 2), (40, 4), (20, 8)):
        reduced = decode_image(path, at_least=at_least).image.float()
        difference = (reduced - torch.nn.functional.avg_pool2d(whole, factor)).abs()
        assert difference.mean() < 0.8 and difference.max() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_reduced_picture_is_upright(tmp_path: Path, orientation: int) -> None:
    path = photo(tmp_path / "a.jpg", 320, 480, exif=turned(orientation))
    whole = read_image(path)
    decoded = decode_image(path, at_least=30)
    assert decoded.size == tuple(whole.shape[1:])
    averaged = torch.nn.functional.avg_pool2d(whole.float(), 4)
    assert (decoded.image.float() - averaged).abs().mean() < 0.8


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif"])
def test_only_jpegs_are_reduced(tmp_path: Path, suffix: str) -> None:
    path = photo(tmp_path / f"a.{suffix}", 80, 160)
    assert decode_image(path, at_least=1).image.equal(read_image(path))


def test_what_is_salvaged_is_not_reduced(tmp_path: Path) -> None:
    path = photo(tmp_path / "a.jpg", 320, 480)
    path.write_bytes(path.read_bytes()[:-200])
    decoded = decode_image(path, on_damage="salvage", at_least=10)
    assert tuple(decoded.image.shape) == (3, 320, 480) and decoded.size == (320, 480)


def test_a_size_below_one_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at_least is 0"):
        decode_image(photo(tmp_path / "a.jpg", 16, 16), at_least=0)


def test_photographs_differ_by_less_than_a_grey_level(data_root: Path) -> None:
    names = sorted((data_root / "datasets" / "coco_tiny" / "val2017").glob("*.jpg"))
    compared = 0
    for path in names[:60]:
        whole = decode_image(path)
        for divisor in (2, 4, 8):
            at_least = int(min(whole.size) / divisor / 2.5)
            reduced = decode_image(path, at_least=at_least)
            if reduced.image.shape == whole.image.shape:
                continue
            compared += 1
            assert (shrunk(whole.image, at_least) - shrunk(reduced.image, at_least)).abs().mean() < 1
    assert compared > 10


def shrunk(image: Tensor, side: int) -> Tensor:
    height, width = image.shape[1:]
    size = [round(height * side / min(height, width)), round(width * side / min(height, width))]
    resized: Tensor = v2.resize(image, size, antialias=True)
    return resized.float()
