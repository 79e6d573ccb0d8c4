"""Image folders: recognised only where nothing speaks against it, read, and written."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from sightline.data.findings import Findings
from sightline.data.formats import folders, folders_write
from sightline.data.formats.writing import Output
from sightline.data.tables import Tables, TablesBuilder
from sightline.errors import DataError

Thing = tuple[str, tuple[float, float, float, float], dict[str, Any]]


def put(folder: Path, *files: str) -> None:
    """Images of 2 x 3 pixels."""
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 2)).save(folder / file, format="PNG")


def read(folder: Path, split: str) -> Tables:
    findings = Findings()
    tables = folders.read(folder, split, findings)
    assert not findings.counts
    return tables


def seen(tables: Tables) -> dict[str, str]:
    """Class by image."""
    names = [category["name"] for category in tables.categories]
    files = tables.images.files.to_list()
    return {files[i]: names[k] for i, k in zip(tables.objects.images, tables.objects.labels, strict=True)}


def test_folders_of_classes_in_folders_of_splits(tmp_path: Path) -> None:
    put(tmp_path, "train/big dog/a.jpg", "train/big dog/deep/a.PNG", "train/猫/b.c.jpg", "val/ant/a.jpg")
    (tmp_path / "train" / "empty").mkdir()
    (tmp_path / "README.txt").write_text("words")
    (tmp_path / "train" / "猫" / "Thumbs.db").write_bytes(b"")
    (tmp_path / "train" / "猫" / ".DS_Store").write_bytes(b"")
    assert tuple(folders.find_splits(tmp_path)) == ("train", "val")
    tables = read(tmp_path, "train")
    assert [category["name"] for category in tables.categories] == ["ant", "big dog", "empty", "猫"]
    assert tables.categories == read(tmp_path, "val").categories
    assert seen(tables) == {
        "train/big dog/a.jpg": "big dog",
        "train/big dog/deep/a.PNG": "big dog",
        "train/猫/b.c.jpg": "猫",
    }
    assert tables.objects.boxes.tolist() == [[0, 0, 3, 2]] * 3
    assert tables.object_entry(0)["whole_image"] == 1
    assert tables.images.sizes.tolist() == [[2, 3]] * 3
    assert read(tmp_path, "val").images.ids.tolist() == [4]
    assert tables.locate_image(0) == (str(tmp_path / "train" / "big dog" / "a.jpg"), "")


def test_folders_of_classes_alone(tmp_path: Path) -> None:
    put(tmp_path, "dog/a.jpg", "train/b.jpg", ".git/c.jpg")
    assert seen(read(tmp_path, "all")) == {"dog/a.jpg": "dog", "train/b.jpg": "train"}


@pytest.mark.parametrize(
    ("images", "others"),
    [
        (["dog/a.jpg"], []),
        (["dog/a.jpg", "cat/b.jpg", "c.jpg"], []),
        (["dog/a.jpg", "cat/b.jpg"], ["notes.json"]),
        (["dog/a.jpg", "cat/b.jpg"], ["cat/b.xml"]),
        (["dog/a.jpg", "cat/deep/b.jpg"], ["cat/deep/b.txt"]),
        (["images/a.jpg", "masks/b.png"], []),
        (["train/a.jpg", "trainannot/b.png"], []),
        (["train/images/a.jpg", "train/other/a.jpg", "val/images/a.jpg"], []),
        (["train/dog/a.jpg", "val/dog/a.jpg"], ["train/labels.csv"]),
        (["train/dog/a.jpg", "val/dog/a.jpg"], ["notes.json"]),
        (["train/dog/a.jpg", "test/a.jpg"], []),
        (["train/dog/a.jpg", "train/cat/a.jpg", "extra/a.jpg"], []),
        (["train/a.jpg", "val/a.jpg"], []),
        ([], ["train/dog/words.md"]),
        ([], []),
    ],
)
def test_what_may_be_another_format_is_not_taken(tmp_path: Path, images: list[str], others: list[str]) -> None:
    put(tmp_path, *images)
    for other in others:
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).write_text("")
    assert folders.find_splits(tmp_path) == {}


def test_damaged_images_are_left_out_and_noted(tmp_path: Path) -> None:
    put(tmp_path, "dog/a.jpg", "cat/b.jpg")
    (tmp_path / "cat" / "bad.jpg").write_bytes(b"no image")
    (tmp_path / "cat" / "film.mp4").write_bytes(b"")
    findings = Findings()
    assert seen(folders.read(tmp_path, "all", findings)) == {"dog/a.jpg": "dog", "cat/b.jpg": "cat"}
    assert dict(findings.counts) == {"image-damaged": 1, "file-not-image": 1}


def tables_of(folder: Path, pictures: dict[str, list[Thing]], names: list[str]) -> Tables:
    builder = TablesBuilder("made", folder, folder, object_place="object {}")
    for file, things in pictures.items():
        put(folder, file)
        row = builder.add_image(file)
        for name, box, extra in things:
            builder.add_object(row, names.index(name), box, row=0, extra=extra)
    return builder.build([{"id": i, "name": name} for i, name in enumerate(names, start=1)])


def written(folder: Path, splits: dict[str, Tables]) -> tuple[Path, Counter[str]]:
    target = folder / "written"
    target.mkdir()
    output = Output(target)
    folders_write.write(splits, output)
    return target, output.losses


def test_an_image_goes_to_the_class_that_covers_most(tmp_path: Path) -> None:
    one, two, most = (0, 0, 1, 1), (0, 0, 1, 2), (0, 0, 3, 2)
    pictures: dict[str, list[Thing]] = {
        "images/one.jpg": [("a", one, {}), ("a", most, {})],
        "sums.jpg": [("a", two, {}), ("b", one, {}), ("b", one, {}), ("b", one, {})],
        "areas.jpg": [("a", most, {"area": 0.5}), ("b", one, {"area": 0.75})],
        "crowd.jpg": [("a", most, {"iscrowd": 1}), ("b", one, {})],
        "difficult.jpg": [("b", two, {"difficult": 1}), ("a", one, {"difficult": 1})],
        "point.jpg": [("b", (1, 1, 1, 1), {})],
        "empty.jpg": [],
    }
    folder, losses = written(tmp_path, {"train": tables_of(tmp_path, pictures, ["a", "b", "c"])})
    again = read(folder, "train")
    assert {file.removeprefix("train/"): name for file, name in seen(again).items()} == {
        "a/one.jpg": "a",
        **{f"b/{stem}.jpg": "b" for stem in ("sums", "areas", "crowd", "difficult", "point")},
    }
    assert [category["name"] for category in again.categories] == ["a", "b", "c"]
    assert losses == {"image with several classes written to its largest": 4, "image without objects left out": 1}


def test_what_was_read_is_written_alike(tmp_path: Path) -> None:
    files = ["big dog/a b.jpg", "big dog/deep/a b.jpg", "猫/a b.jpg", "猫/x.y.png"]
    put(tmp_path / "first", *files)
    folder, losses = written(tmp_path, {"all": read(tmp_path / "first", "all")})
    assert sorted(read(folder, "all").images.files.to_list()) == sorted(files)
    assert not losses


def test_two_images_of_one_name_are_both_kept(tmp_path: Path) -> None:
    box = (0.0, 0.0, 1.0, 1.0)
    pictures: dict[str, list[Thing]] = {"images/a.jpg": [("c", box, {})], "train/A.jpg": [("c", box, {})]}
    folder, _ = written(tmp_path, {"val": tables_of(tmp_path, pictures, ["c"])})
    assert sorted(seen(read(folder, "val"))) == ["val/c/A-2.jpg", "val/c/a.jpg"]


BAD_NAMES = [
    "",
    " a",
    "a ",
    ".a",
    "a.",
    "a/b",
    "a\\b",
    "a:b",
    "a\nb",
    "\ud800",
    "images",
    "Annotations",
    "x" * 256,
    "é" * 128,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_class_that_cannot_be_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match=r"cannot be a folder: .*cure: rename the class"):
        written(tmp_path, {"train": tables_of(tmp_path, {}, [name])})
    assert list((tmp_path / "written").iterdir()) == []


def test_classes_that_would_be_one_folder_or_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the same as 'Dog'"):
        written(tmp_path, {"train": tables_of(tmp_path, {}, ["Dog", "dog"])})
    with pytest.raises(DataError, match="would be read as splits"):
        folders_write.write({"all": tables_of(tmp_path, {}, ["train", "test"])}, Output(tmp_path))
    with pytest.raises(DataError, match="cannot have a split 'mine'"):
        folders_write.write({"mine": tables_of(tmp_path, {}, ["a"])}, Output(tmp_path))


names = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=8)


@settings(max_examples=25, deadline=None)
@given(st.lists(names, min_size=2, max_size=4, unique_by=str.casefold))
def test_any_name_comes_back_or_is_refused(tmp_path_factory: pytest.TempPathFactory, classes: list[str]) -> None:
    folder = tmp_path_factory.mktemp("any")
    pictures: dict[str, list[Thing]] = {f"{i}.jpg": [(name, (0, 0, 1, 1), {})] for i, name in enumerate(classes)}
    try:
        target, _ = written(folder, {"all": tables_of(folder, pictures, classes)})
    except DataError:
        return
    assert seen(read(target, "all")) == {f"{name}/{i}.jpg": name for i, name in enumerate(classes)}
