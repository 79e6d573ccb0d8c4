"""Which image files words name: files, folders, patterns, and names in any script."""

from pathlib import Path

import pytest
from PIL import Image

from sightline.data.image_files import list_images
from sightline.errors import DataError


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


def test_names_in_any_script_are_found_in_files_folders_and_patterns(tmp_path: Path) -> None:
    names = ["猫 和 狗.png", "قطة.png", "собака.png", "🐈‍⬛ 1.png"]
    (tmp_path / "фото 写真").mkdir()
    files = [tmp_path / "фото 写真" / name for name in names]
    for file in files:
        Image.new("L", (1, 1)).save(file)
    for argument in ("фото 写真", "фото*/*.png", "**/*.png"):
        assert sorted(list_images([str(tmp_path / argument)])) == sorted(files)
    assert list_images([str(file) for file in files]) == files
