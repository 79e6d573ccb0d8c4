"""The cache of features: what is appended is read, whatever was being written when the process ended."""

import json
import shutil

import numpy as np
import pytest

from sightline.errors import ConfigError, SightlineError
from sightline.regions.feature_cache import FeatureCache, describe_bytes

WIDTHS = {"fc7": 5, "pool5": 3}
SETTINGS = {"crop_side": 96, "weights": "abc"}


def image_features(index):
    rng = np.random.default_rng(index)
    return {"fc7": rng.normal(size=(index % 4, 5)), "pool5": rng.normal(size=(index % 2, 3))}


def filled(folder, images, number="float16"):
    cache = FeatureCache.open(folder, SETTINGS, WIDTHS, number)
    for index in range(cache.images, images):
        cache.append(image_features(index), 2**40 + index)
    return cache


def bytes_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("number", ["float16", "float32"])
def test_what_was_appended_is_read(tmp_path, number):
    filled(tmp_path / "f", 6, number)
    cache = FeatureCache.open(tmp_path / "f", SETTINGS, WIDTHS, number)
    assert cache.images == 6 and cache.marks.tolist() == [2**40 + index for index in range(6)]
    assert cache.starts("fc7").tolist() == [0, 0, 1, 3, 6, 6, 7]
    for index in range(6):
        start, end = cache.starts("fc7")[index : index + 2]
        assert np.array_equal(cache.rows("fc7")[start:end], image_features(index)["fc7"].astype(number))
    size = sum(path.stat().st_size for path in (tmp_path / "f").glob(f"*.{number}"))
    assert cache.bytes == size == (7 * 5 + 3 * 3) * np.dtype(number).itemsize


def test_it_may_end_at_any_byte_of_any_file_and_goes_on_to_the_same_bytes(tmp_path):
    whole = bytes_of(filled(tmp_path / "whole", 8).folder)
    tried = 0
    for name in ("fc7.float16", "pool5.float16", "progress.bin"):
        for size in range(0, len(whole[name]) + 1, 11):
            folder = tmp_path / "cut"
            shutil.copytree(tmp_path / "whole", folder)
            (folder / name).write_bytes(whole[name][:size])
            filled(folder, 8)
            assert bytes_of(folder) == whole, (name, size)
            shutil.rmtree(folder)
            tried += 1
    assert tried > 20


def test_a_torn_record_and_rows_beyond_it_are_cut_off(tmp_path):
    whole = bytes_of(filled(tmp_path / "whole", 8).folder)
    shutil.copytree(tmp_path / "whole", tmp_path / "torn")
    progress = bytearray(whole["progress.bin"])
    progress[-3] ^= 1
    (tmp_path / "torn" / "progress.bin").write_bytes(progress)
    with (tmp_path / "torn" / "fc7.float16").open("ab") as file:
        file.write(b"half a row")
    cut = FeatureCache.open(tmp_path / "torn", SETTINGS, WIDTHS)
    assert cut.images == 7 and (tmp_path / "torn" / "fc7.float16").stat().st_size == cut.rows("fc7").nbytes
    assert bytes_of(filled(tmp_path / "torn", 8).folder) == whole


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"crop_side": 128}, "crop_side is 96 there and 128 here"),
        ({"weights": "xyz"}, "weights is abc there and xyz here"),
        ({"context": 8}, "context is None there and 8 here"),
    ],
)
def test_a_cache_of_other_settings_is_refused_by_name_and_left_alone(tmp_path, changed, told):
    before = bytes_of(filled(tmp_path / "f", 3).folder)
    with pytest.raises(ConfigError, match=told) as refused:
        FeatureCache.open(tmp_path / "f", SETTINGS | changed, WIDTHS)
    assert "delete the folder f, then go on with --resume" in str(refused.value) and bytes_of(tmp_path / "f") == before


def test_other_widths_and_a_setting_that_is_gone_are_refused(tmp_path):
    filled(tmp_path / "f", 3)
    with pytest.raises(ConfigError, match="widths"):
        FeatureCache.open(tmp_path / "f", SETTINGS, {"fc7": 5, "pool5": 4})
    with pytest.raises(ConfigError, match="weights is abc there and None here"):
        FeatureCache.open(tmp_path / "f", {"crop_side": 96}, WIDTHS)
    with pytest.raises(ConfigError, match="number is float16 there and float32 here"):
        FeatureCache.open(tmp_path / "f", SETTINGS, WIDTHS, "float32")


@pytest.mark.parametrize("left", ['{"format"', "[1, 2]", "7"])
def test_a_damaged_header_is_told(tmp_path, left):
    filled(tmp_path / "f", 1)
    (tmp_path / "f" / "features.json").write_text(left)
    with pytest.raises(SightlineError, match=r"features\.json: the header .* delete the folder f"):
        FeatureCache.open(tmp_path / "f", SETTINGS, WIDTHS)


def test_numbers_that_half_floats_cannot_hold_are_refused_and_nothing_is_kept(tmp_path):
    cache = filled(tmp_path / "f", 2)
    before = bytes_of(cache.folder)
    with pytest.raises(SightlineError, match="cached=float32"):
        cache.append({"fc7": np.full((1, 5), 70000.0), "pool5": np.zeros((0, 3))}, 0)
    assert bytes_of(cache.folder) == before
    wide = filled(tmp_path / "g", 2, "float32")
    wide.append({"fc7": np.full((1, 5), 70000.0), "pool5": np.zeros((0, 3))}, 0)
    assert float(wide.rows("fc7")[-1, 0]) == 70000.0


def test_the_header_tells_what_the_features_are(tmp_path):
    filled(tmp_path / "f", 0)
    header = json.loads((tmp_path / "f" / "features.json").read_text())
    assert header["crop_side"] == 96 and header["widths"] == WIDTHS and header["number"] == "float16"


def test_bytes_for_people():
    told = [describe_bytes(count) for count in (900, 812_000, 35e6, 1.234e9, 2e11, 1.5e12)]
    assert told == ["0.9 kB", "812 kB", "35 MB", "1.23 GB", "200 GB", "1.5 TB"]
