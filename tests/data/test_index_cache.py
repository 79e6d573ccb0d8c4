"""The cache of indices: the same arrays, never out of date, never in the way."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from sightline.data import index_cache, opening
from sightline.data.opening import OpenedSplit, open_split
from sightline.errors import DataError
from sightline.files import cache_folder

COLUMNS = ("image_ids", "sizes", "first", "boxes", "labels", "ignore", "areas", "masked", "spans")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(index_cache, "SMALLEST", 0)
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "index"


def make(folder: Path, boxes: int = 2, *, keypoints: bool = True) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    images = [{"id": i, "file_name": name, "height": 20, "width": 30} for i, name in ((5, "b.png"), (3, "a.png"))]
    annotations = [
        {"id": i, "image_id": 3, "category_id": 7, "bbox": [i, 1, 40, 5], "segmentation": [[1, 1, 5, 1, 5, 5]]}
        | ({"keypoints": [1, 2, 2]} if keypoints else {})
        for i in range(boxes)
    ]
    category = {"id": 7, "name": "cät"} | ({"keypoints": ["nose"]} if keypoints else {})
    path = folder / "set.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": [category]}))
    return path


def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Filled with a name for each time that a file is really read."""
    seen: list[str] = []
    real = opening._read

    def read(layout: opening.Layout, split: str) -> object:
        seen.append(split)
        return real(layout, split)

    monkeypatch.setattr(opening, "_read", read)
    return seen


def assert_same(first: OpenedSplit, second: OpenedSplit) -> None:
    one, other = first.index, second.index
    for name in COLUMNS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b, err_msg=name)
    assert (one.keypoints is None) == (other.keypoints is None)
    if one.keypoints is not None:
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
    assert one.files.to_list() == other.files.to_list()
    assert (one.classes, one.keypoint_names, one.image_root) == (other.classes, other.keypoint_names, other.image_root)
    assert (first.findings, first.root, first.split) == (second.findings, second.root, second.split)
    assert one.details.read(*one.spans[0].tolist()) == other.details.read(*other.spans[0].tolist())


@pytest.mark.parametrize("keypoints", [True, False])
def test_the_second_opening_gives_the_same_without_reading(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, keypoints: bool
) -> None:
    path = make(tmp_path / "set", keypoints=keypoints)
    seen = reads(monkeypatch)
    first = open_split(path)
    assert len(list(cache.iterdir())) == 1
    assert_same(first, open_split(path))
    assert (seen == ["set"] and first.findings["box clipped to the image"] == first.findings.total()) or first.findings


def test_small_files_are_not_kept(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "set")
    monkeypatch.setattr(index_cache, "SMALLEST", path.stat().st_size + 1)
    open_split(path)
    assert not cache.exists()


def test_other_content_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = reads(monkeypatch)
    assert len(open_split(make(tmp_path / "set", 2)).index.boxes) == 2
    assert len(open_split(make(tmp_path / "set", 3)).index.boxes) == 3
    assert len(seen) == 2


def test_the_same_content_at_another_time_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "set")
    seen = reads(monkeypatch)
    first = open_split(path)
    os.utime(path, ns=(0, 10**9))
    second = open_split(path)
    assert len(seen) == 1
    second.index.details.read(*second.index.spans[0].tolist())
    with pytest.raises(DataError, match="changed since"):
        first.index.details.read(*first.index.spans[0].tolist())


def test_the_same_file_elsewhere_has_its_own_images(tmp_path: Path) -> None:
    one, other = (open_split(make(tmp_path / name)) for name in ("one", "other"))
    assert one.index.image_root == tmp_path / "one" and other.index.image_root == tmp_path / "other"


def test_missing_images_are_noticed(tmp_path: Path) -> None:
    path = make(tmp_path / "set")
    open_split(path)
    (tmp_path / "set" / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png"):
        open_split(path)


@pytest.mark.parametrize("damage", ["empty", "cut", "zeros", "noise", "no words", "column missing", "folder"])
def test_a_damaged_cache_is_made_again(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    path = make(tmp_path / "set")
    first = open_split(path)
    (kept,) = cache.iterdir()
    data = kept.read_bytes()
    if damage == "folder":
        kept.unlink()
        kept.mkdir()
    elif damage == "no words":
        index_cache.save_file({"boxes": np.zeros(1)}, kept)
    elif damage == "column missing":
        index_cache.save_file({"boxes": np.zeros(1)}, kept, {"about": '{"image_root": "."}'})
    else:
        kept.write_bytes({"empty": b"", "cut": data[:-9], "zeros": bytes(len(data)), "noise": data[::-1]}[damage])
    seen = reads(monkeypatch)
    assert_same(first, open_split(path))
    assert len(seen) == 1
    if damage != "folder":
        assert kept.read_bytes() == data


def test_the_oldest_are_thrown_away(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_cache, "_KEPT", 2)
    cache.mkdir(parents=True)
    for age, name in ((10, "old"), (5, "newer")):
        (cache / f"{name}.safetensors").touch()
        os.utime(cache / f"{name}.safetensors", ns=(0, (100 - age) * 10**9))
    open_split(make(tmp_path / "set"))
    names = {place.name for place in cache.iterdir()}
    assert len(names) == 2 and "newer.safetensors" in names


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "set")
    (tmp_path / "file").touch()
    monkeypatch.setenv("SIGHTLINE_CACHE", str(tmp_path / "file"))  # a file where the folder should be
    assert_same(open_split(path), open_split(path))


def test_a_user_without_a_home_has_no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("SIGHTLINE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    assert len(open_split(make(tmp_path / "set")).index.boxes) == 2


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder("index") == tmp_path / "cache" / "index"
    monkeypatch.delenv("SIGHTLINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("index") == tmp_path / "xdg" / "sightline" / "index"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("index") == tmp_path / "home" / ".cache" / "sightline" / "index"


@pytest.mark.parametrize("kind", ["gone", "loop"])
def test_a_file_that_cannot_be_looked_at_is_an_answer(tmp_path: Path, kind: str) -> None:
    (tmp_path / "annotations").mkdir()
    link = tmp_path / "annotations" / "instances_train2017.json"
    link.symlink_to("nowhere" if kind == "gone" else link.name)
    with pytest.raises(DataError, match=r"cannot be read|no annotations recognised"):
        open_split(tmp_path, "train")
