"""Damaged files: what is an error, what can be saved of them, whatever switch somebody has set in Pillow."""

import threading
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from sightline.data import image_header
from sightline.data.decode import decode_image, read_image
from sightline.data.image_header import read_size
from sightline.errors import DataError

HEIGHT, WIDTH = 96, 128


def picture() -> Image.Image:
    """Smooth, so that a decoder's guesses at edges are small, and nowhere mid-grey."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return Image.fromarray(np.stack([x // 2, 160 + y, (x + y) // 4], axis=2).astype(np.uint8))


def encoded(name: str) -> bytes:
    """A sound file: of one format, or of one way to use it."""
    rgb = picture()
    deep = np.array(rgb)[..., 0]
    kinds = {
        "jpg": (rgb, "jpeg", {}),
        "progressive": (rgb, "jpeg", {"progressive": True}),
        "restarts": (rgb, "jpeg", {"restart_marker_rows": 1}),
        "cmyk": (rgb.convert("CMYK"), "jpeg", {}),
        "grey jpg": (rgb.convert("L"), "jpeg", {}),
        "turned jpg": (rgb, "jpeg", {"exif": _turned()}),
        "png": (rgb, "png", {}),
        "palette png": (rgb.convert("P"), "png", {}),
        "deep png": (Image.fromarray(deep.astype(np.uint16) * 257), "png", {}),
        "clear png": (rgb.convert("RGBA"), "png", {"exif": _turned()}),
        "gif": (rgb.convert("P"), "gif", {}),
        "clear gif": (rgb.convert("P"), "gif", {"transparency": 3}),
        "bmp": (rgb, "bmp", {}),
        "ppm": (rgb, "ppm", {}),
        "tif": (rgb, "tiff", {}),
        "turned tif": (rgb, "tiff", {"exif": _turned()}),
        "mirrored tif": (rgb, "tiff", {"exif": _turned(2)}),
        "packed tif": (rgb, "tiff", {"compression": "tiff_lzw"}),
        "float tif": (Image.fromarray(deep.astype(np.float32) / 255), "tiff", {}),
        "webp": (rgb, "webp", {}),
    }
    image, form, options = kinds[name]
    buffer = BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def _turned(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


JPEGS = ["jpg", "progressive", "restarts", "cmyk", "grey jpg", "turned jpg"]
PARTIAL = ["png", "palette png", "deep png", "clear png", "gif", "bmp", "ppm", "tif", "float tif"]
ALL_OR_NOTHING = ["webp", "packed tif", "turned tif", "mirrored tif"]
ENDS_UNREAD = {"png": 12 + 8, "gif": 2, "cmyk": 2}
"""Bytes at the end, a marker or a checksum, that a reader may do without: the pixels are all there."""


def cuts(data: bytes, count: int) -> list[int]:
    return [*range(len(data) - 8, len(data)), *np.linspace(4, len(data) - 9, count).astype(int).tolist()]


@pytest.mark.parametrize("foreign_switch", [False, True])
@pytest.mark.parametrize("name", [*JPEGS, *PARTIAL, "clear gif", *ALL_OR_NOTHING])
def test_a_file_that_ends_early_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, foreign_switch: bool
) -> None:
    path, data = tmp_path / "cut.dat", encoded(name)
    path.write_bytes(data)
    whole = read_image(path)
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", foreign_switch)
    assert read_image(path).equal(whole)
    spare = ENDS_UNREAD.get(name.rsplit(maxsplit=1)[-1], 0)
    for cut in cuts(data, 52 if name in JPEGS else 12):
        path.write_bytes(data[:cut])
        try:
            image = read_image(path)
        except DataError as error:
            assert error.place == str(path) and error.cure
        else:
            assert cut >= len(data) - spare and image.equal(whole)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is foreign_switch


@pytest.mark.parametrize("name", PARTIAL)
def test_salvage_gives_the_pixels_that_are_there_and_grey_for_the_rest(tmp_path: Path, name: str) -> None:
    path, data = tmp_path / "cut.dat", encoded(name)
    path.write_bytes(data)
    whole = read_image(path)
    path.write_bytes(data[: int(len(data) * 0.7)])
    decoded = decode_image(path, on_damage="salvage")
    missing = (decoded.image == 128).all(dim=0)
    assert decoded.image.shape == whole.shape and decoded.size == whole.shape[1:]
    assert decoded.image[:, ~missing].equal(whole[:, ~missing])
    assert 0.05 < missing.float().mean() < 0.6
    (remark,) = decoded.remarks
    assert remark.startswith(f"salvaged: damaged image (about {missing.float().mean():.0%} of its pixels are missing; ")


@pytest.mark.parametrize("name", ["jpg", "restarts", "cmyk", "grey jpg", "turned jpg"])
def test_salvage_of_a_jpeg_gives_the_blocks_that_are_there(tmp_path: Path, name: str) -> None:
    path, data = tmp_path / "cut.jpg", encoded(name)
    path.write_bytes(data)
    whole = read_image(path).int()
    path.write_bytes(data[: -(len(data) - data.rindex(b"\xff\xda")) // 2])
    decoded = decode_image(path, on_damage="salvage")
    missing = (decoded.image == 128).all(dim=0)
    assert 0.1 < missing.float().mean() < 0.9
    differs = (decoded.image.int() - whole).abs().amax(dim=0) > 4
    assert (differs & ~missing).float().mean() < 0.07  # the block that was cut, and its neighbours' colours


def test_salvage_of_a_progressive_jpeg_gives_a_coarser_picture(tmp_path: Path) -> None:
    path, data = tmp_path / "cut.jpg", encoded("progressive")
    path.write_bytes(data)
    whole = read_image(path).int()
    path.write_bytes(data[:-30])
    assert (decode_image(path, on_damage="salvage").image.int() - whole).abs().float().mean() < 4


@pytest.mark.parametrize("name", [*JPEGS, *PARTIAL, *ALL_OR_NOTHING])
def test_a_sound_file_is_not_touched_by_salvage(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sound.dat"
    path.write_bytes(encoded(name))
    decoded = decode_image(path, on_damage="salvage")
    assert decoded.image.equal(read_image(path)) and decoded.remarks == ()


@pytest.mark.parametrize("name", ["jpg", "png", "gif", *ALL_OR_NOTHING])
def test_what_cannot_be_salvaged_is_an_error_as_before(tmp_path: Path, name: str) -> None:
    path, data = tmp_path / "gone.dat", encoded(name)
    headers = {"jpg": data.find(b"\xff\xda") + 14, "png": data.find(b"IDAT") + 4, "gif": data.find(b",") + 12}
    path.write_bytes(data[: headers.get(name, len(data) - 9)])
    with pytest.raises(DataError) as caught:
        decode_image(path, on_damage="salvage")
    assert caught.value.place == str(path)


def test_damage_behind_the_first_frame_does_not_reach_it(tmp_path: Path) -> None:
    path, data = tmp_path / "pages.tif", bytearray(encoded("turned tif"))
    path.write_bytes(data)
    whole = read_image(path)
    directory = int.from_bytes(data[4:8], "little")
    entries = int.from_bytes(data[directory : directory + 2], "little")
    following = directory + 2 + 12 * entries
    data[following : following + 4] = (len(data) - 3).to_bytes(4, "little")
    path.write_bytes(data)
    decoded = decode_image(path)
    assert decoded.image.equal(whole)
    assert (decoded.frames, decoded.remarks) == (None, ("first of several frames",))


def test_salvage_says_nothing_to_other_threads(tmp_path: Path) -> None:
    cut, data = tmp_path / "cut.png", encoded("png")
    cut.write_bytes(data[: len(data) // 2])
    done = threading.Event()

    def salvage_on() -> None:
        while not done.is_set():
            decode_image(cut, on_damage="salvage")

    thread = threading.Thread(target=salvage_on)
    thread.start()
    try:
        for _ in range(100):
            with pytest.raises(DataError):
                read_image(cut)
    finally:
        done.set()
        thread.join()


KINDS = [*JPEGS, *PARTIAL, "clear gif", *ALL_OR_NOTHING]


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(KINDS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
    kept=st.floats(0, 1) | st.just(1.0),
    salvage=st.booleans(),
)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
def test_mutated_files_give_an_image_or_a_data_error(
    tmp_path: Path, name: str, changes: list[tuple[float, int]], kept: float, salvage: bool
) -> None:
    data = bytearray(encoded(name))
    for where, value in changes:
        # Half of the places in the first 200 bytes, where the headers are.
        data[int(where * 2 * len(data)) if where < 0.5 else int((where - 0.5) * 400) % len(data)] = value
    path = tmp_path / "mutated.dat"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_header, "MAX_PIXELS", 100_000)  # a header that promises more would only take time
        try:
            size = read_size(path)
        except DataError as error:
            assert error.place == str(path)
            size = None
        try:
            decoded = decode_image(path, on_damage="salvage" if salvage else "raise")
        except DataError as error:
            assert error.place == str(path)
        else:
            assert decoded.size == tuple(decoded.image.shape[1:])
            assert decoded.image.shape[0] == 3 and decoded.image.dtype == torch.uint8
            assert size == decoded.size or decoded.damage is not None


@pytest.mark.parametrize("name", KINDS)
def test_sizes_of_sound_files_agree(tmp_path: Path, name: str) -> None:
    path = tmp_path / "sound.dat"
    path.write_bytes(encoded(name))
    expected = (WIDTH, HEIGHT) if "turned" in name or name == "clear png" else (HEIGHT, WIDTH)
    assert read_size(path) == tuple(read_image(path).shape[1:]) == expected
