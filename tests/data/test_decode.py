"""Every colour mode, every EXIF orientation and every kind of damage, on pictures made here."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.data import decode
from sightline.data.decode import read_image, read_size
from sightline.data.image_files import list_images
from sightline.errors import DataError


def colours(height: int = 6, width: int = 9) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def read_back(path: Path) -> np.ndarray:
    image = read_image(path)
    assert image.dtype == torch.uint8
    assert image.is_contiguous()
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


@pytest.mark.parametrize("orientation", [0, 1, 6, 8, 9])
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


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_and_not_cut(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 257], [32768, 40000, 65406, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"deep.{suffix}")
    assert read_back(tmp_path / f"deep.{suffix}")[..., 2].tolist() == [[0, 0, 1, 1], [128, 156, 254, 255]]


def test_float_pixels_are_shares_of_white(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32)).save(tmp_path / "f.tif")
    assert read_back(tmp_path / "f.tif")[0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize("bad", [[[0.0, 7.0]], [[-0.1, 1.0]], [[float("nan"), 1.0]]])
def test_float_pixels_of_unknown_scale_are_refused(tmp_path: Path, bad: list[list[float]]) -> None:
    Image.fromarray(np.array(bad, np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(DataError, match=r"f\.tif: float pixels outside 0\.\.1"):
        read_image(tmp_path / "f.tif")


def test_palette_and_first_frame(tmp_path: Path) -> None:
    flat = [Image.new("RGB", (5, 4), colour).convert("P") for colour in ((255, 0, 0), (0, 0, 255))]
    flat[0].save(tmp_path / "moving.gif", save_all=True, append_images=flat[1:])
    assert (read_back(tmp_path / "moving.gif") == (255, 0, 0)).all()


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


def test_a_mode_without_rgb_is_refused(tmp_path: Path) -> None:
    Image.new("LAB", (4, 4)).save(tmp_path / "lab.tif")
    with pytest.raises(DataError, match="colour mode LAB"):
        read_image(tmp_path / "lab.tif")


@pytest.mark.parametrize("size", [(1, 1), (20, 20000)])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size[::-1]).save(tmp_path / "odd.png")
    assert read_back(tmp_path / "odd.png").shape == (*size, 3)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp", "tif", "ppm"])
def test_truncated_files_are_named(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut.{suffix}"
    Image.fromarray(colours(64, 64)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    with pytest.raises(DataError, match=rf"cut\.{suffix}: .*cure"):
        read_image(path)


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


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_mutated_files_raise_nothing_but_data_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "MAX_PIXELS", 10_000)  # a header that promises more would only take time
    rng = np.random.default_rng(0)
    for suffix in ("jpg", "png", "gif", "tif", "webp"):
        path = tmp_path / f"m.{suffix}"
        Image.fromarray(colours()).save(path, **({} if suffix == "gif" else {"exif": with_orientation(6)}))
        sound = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(40):
            damaged = sound.copy()
            damaged[rng.integers(0, len(sound), 3)] = rng.integers(0, 256, 3)
            path.write_bytes(damaged.tobytes())
            for read in (read_image, read_size):
                try:
                    read(path)
                except DataError as error:
                    assert error.place == str(path)


def make_tree(folder: Path) -> None:
    for name in ("b.jpg", "a.PNG", "sub/c.webp", ".hidden/d.jpg", "sub/._c.jpg"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("L", (1, 1)).save(folder / name, "png")
    (folder / "notes.txt").write_text("no image")


def test_list_images_takes_files_folders_and_patterns(tmp_path: Path) -> None:
    make_tree(tmp_path)

    def names(*arguments: str) -> list[str]:
        return [str(p.relative_to(tmp_path)) for p in list_images([str(tmp_path / a) for a in arguments])]

    assert names(".") == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert names("b.jpg", ".") == ["b.jpg", "a.PNG", "sub/c.webp"]
    assert names("*.jpg") == ["b.jpg"]
    assert names("*") == ["a.PNG", "b.jpg", "sub/c.webp"]
    assert names("**/*.webp") == ["sub/c.webp"]


def test_list_images_takes_a_literal_name_with_brackets(tmp_path: Path) -> None:
    Image.new("L", (1, 1)).save(tmp_path / "a[1].png")
    Image.new("L", (1, 1)).save(tmp_path / "unusual.name", "png")
    assert len(list_images([str(tmp_path / "a[1].png"), str(tmp_path / "unusual.name")])) == 2


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("gone.jpg", "no such file"),
        ("notes.txt", "not an image"),
        ("*.tiff", "no images found"),
        ("empty", "no images found"),
    ],
)
def test_list_images_says_what_is_wrong(tmp_path: Path, argument: str, message: str) -> None:
    make_tree(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        list_images([str(tmp_path / argument)])
    assert argument in str(caught.value)
    with pytest.raises(DataError, match="no images given"):
        list_images([])
