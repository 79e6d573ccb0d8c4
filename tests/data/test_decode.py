"""Every colour mode, every EXIF orientation, files of several frames and names in every script, all made here."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data.decode import decode_image, read_image
from sightline.data.image_header import read_size
from sightline.errors import DataError


def colours(height: int = 6, width: int = 9) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read_back(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.dtype == torch.uint8
    assert image.is_contiguous() or image.permute(1, 2, 0).is_contiguous()
    assert tuple(image.shape[1:]) == read_size(path)
    return image.permute(1, 2, 0).numpy()


def with_orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_exactly(tmp_path: Path, orientation: int, suffix: str) -> None:
    stored = colours()
    path = tmp_path / f"turned.{suffix}"
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(stored).save(path, exif=with_orientation(orientation), **options)
    assert np.array_equal(read_back(path), UPRIGHT[orientation](stored))


@pytest.mark.parametrize("orientation", range(10))
def test_jpeg_is_turned_after_decoding(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.jpg"
    Image.fromarray(colours(16, 24)).save(path, exif=with_orientation(orientation))
    with Image.open(path) as stored:
        expected = UPRIGHT.get(orientation, UPRIGHT[1])(np.array(stored))
    assert np.array_equal(read_back(path), expected)


def test_png_orientation_behind_the_pixels_is_found(tmp_path: Path) -> None:
    path = tmp_path / "late.png"
    Image.fromarray(colours()).save(path, exif=with_orientation(6))
    data = path.read_bytes()
    start = data.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(data[start : start + 4], "big")
    last = data.index(b"IEND") - 4
    path.write_bytes(data[:start] + data[end:last] + data[start:end] + data[last:])
    assert np.array_equal(read_back(path), UPRIGHT[6](colours()))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_rgb_without_loss_comes_back_exactly(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(colours()).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(read_back(tmp_path / f"a.{suffix}"), colours())


def test_grey_and_one_bit_become_three_equal_planes(tmp_path: Path) -> None:
    grey = colours()[..., 0]
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(read_back(tmp_path / "grey.png"), np.stack([grey] * 3, axis=2))
    Image.fromarray(grey > 127).save(tmp_path / "bits.png")
    assert np.array_equal(read_back(tmp_path / "bits.png")[..., 1], np.where(grey > 127, 255, 0))


DEEP = np.array([[0, 128, 129, 257], [32768, 40000, 65406, 65535]], np.uint16)
"""Sixteen bits, and what eight bits are nearest to them."""
SHALLOW = [[0, 0, 1, 1], [128, 156, 254, 255]]


@pytest.mark.parametrize(
    ("suffix", "kind"), [("png", "<u2"), ("png", ">u2"), ("tif", "<u2"), ("tif", ">u2"), ("tif", "i4")]
)
def test_sixteen_bit_grey_is_scaled_and_not_cut(tmp_path: Path, suffix: str, kind: str) -> None:
    Image.fromarray(DEEP.astype(kind)).save(tmp_path / f"deep.{suffix}")
    assert read_back(tmp_path / f"deep.{suffix}")[..., 2].tolist() == SHALLOW


@pytest.mark.parametrize("value", [-1, 65536])
def test_integers_of_unknown_scale_are_refused(tmp_path: Path, value: int) -> None:
    Image.fromarray(np.array([[0, value]], np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(DataError, match=r"i\.tif: integer pixels outside 0\.\.65535"):
        read_image(tmp_path / "i.tif")


def test_sixteen_bit_colour_keeps_its_high_bytes(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (5, 7, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    chunks = {b"IHDR": struct.pack(">IIBBBBB", 7, 5, 16, 2, 0, 0, 0), b"IDAT": zlib.compress(rows), b"IEND": b""}
    data = b"\x89PNG\r\n\x1a\n"
    for name, content in chunks.items():
        data += struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    (tmp_path / "deep.png").write_bytes(data)
    assert np.array_equal(read_back(tmp_path / "deep.png"), values >> 8)


def test_float_pixels_are_shares_of_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "f.tif")
    assert read_back(tmp_path / "f.tif")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("bad", [[[0.0, 7.0]], [[-0.1, 1.0]], [[float("nan"), 1.0]]])
def test_float_pixels_of_unknown_scale_are_refused(tmp_path: Path, bad: list[list[float]]) -> None:
    Image.fromarray(np.array(bad, np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match=r"f\.tif: float pixels outside 0\.\.1"):
        read_image(tmp_path / "f.tif")


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_a_palette_becomes_its_colours(tmp_path: Path, suffix: str) -> None:
    palette = Image.fromarray(colours()).quantize(16)
    palette.save(tmp_path / f"p.{suffix}")
    assert np.array_equal(read_back(tmp_path / f"p.{suffix}"), np.array(palette.convert("RGB")))


def test_the_transparent_colour_of_a_palette_lies_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (3, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    palette.putdata([0, 1, 2])
    for suffix in ("png", "gif"):
        palette.save(tmp_path / f"p.{suffix}", transparency=1)
        assert read_back(tmp_path / f"p.{suffix}").tolist() == [[[10, 20, 30], [255, 255, 255], [70, 80, 90]]]
    palette.save(tmp_path / "half.png", transparency=bytes([255, 255, 51]))
    assert read_back(tmp_path / "half.png")[0, 2].tolist() == [218, 220, 222]


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "tif"])
def test_the_first_of_several_frames_is_read_and_said(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (16, 8), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    options = {"lossless": True} if suffix == "webp" else {}
    frames[0].save(tmp_path / f"moving.{suffix}", save_all=True, append_images=frames[1:], **options)
    assert (read_back(tmp_path / f"moving.{suffix}") == (255, 0, 0)).all()
    decoded = decode_image(tmp_path / f"moving.{suffix}")
    assert (decoded.frames, decoded.remarks) == (3, ("first of 3 frames",))
    frames[0].save(tmp_path / f"still.{suffix}")
    assert decode_image(tmp_path / f"still.{suffix}").remarks == ()


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 51]]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "clear.png")
    assert read_back(tmp_path / "clear.png").tolist() == [[[10, 20, 30], [255, 255, 255], [204, 204, 204]]]
    Image.fromarray(pixels).convert("LA").save(tmp_path / "la.png")
    assert read_back(tmp_path / "la.png")[0, 1].tolist() == [255, 255, 255]
    Image.fromarray(np.zeros((1, 1), np.uint8)).save(tmp_path / "key.png", transparency=0)
    assert read_back(tmp_path / "key.png").tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_the_colour_that_was_meant(tmp_path: Path, suffix: str) -> None:
    Image.new("RGB", (16, 16), (200, 30, 60)).convert("CMYK").save(tmp_path / f"print.{suffix}")
    difference = read_back(tmp_path / f"print.{suffix}").astype(int) - (200, 30, 60)
    assert np.abs(difference).max() <= 3


def test_ycbcr_becomes_the_colour_that_was_meant(tmp_path: Path) -> None:
    flat = Image.new("RGB", (16, 16), (200, 30, 60)).convert("YCbCr")
    for suffix in ("tif", "jpg"):
        flat.save(tmp_path / f"video.{suffix}")
        difference = read_back(tmp_path / f"video.{suffix}").astype(int) - (200, 30, 60)
        assert np.abs(difference).max() <= 3


def test_a_mode_without_rgb_is_refused(tmp_path: Path) -> None:
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match="colour mode LAB"):
        read_image(tmp_path / "lab.tif")


@pytest.mark.parametrize("size", [(1, 1), (20, 20000)])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size[::-1]).save(tmp_path / "odd.png")
    assert read_back(tmp_path / "odd.png").shape == (*size, 3)


def test_what_is_no_image_is_named_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").touch()
    cases = {
        "text.jpg": "not an image",
        "empty.jpg": "the file is empty",
        "gone.jpg": "no such image file",
        ".": "no such",
    }
    for name, message in cases.items():
        for read in (read_image, read_size):
            with pytest.raises(DataError, match=message) as caught:
                read(tmp_path / name)
            assert caught.value.place == str(tmp_path / name)


def test_a_decompression_bomb_is_refused_from_its_header(tmp_path: Path) -> None:
    path = tmp_path / "bomb.bmp"
    Image.new("L", (4, 4)).save(path)
    data = bytearray(path.read_bytes())
    data[18:26] = (60000).to_bytes(4, "little") * 2
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"more than 178,956,970 pixels"):
        read_image(path)


@pytest.mark.parametrize(
    "name", ["照片 一", "صورة", "снимок", "🐈‍⬛ and 🐕", "two  spaces", "a#b%20c", "'quoted\"", "é" * 60]
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_names_in_any_script(tmp_path: Path, name: str, suffix: str) -> None:
    path = tmp_path / f"{name}.{suffix}"
    Image.new("RGB", (8, 8), "white").save(path)
    assert (read_back(path) == 255).all()
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert caught.value.place == str(path)
