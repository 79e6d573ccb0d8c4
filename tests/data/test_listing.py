"""Names of files looked up in listed folders."""

import unicodedata
from pathlib import Path

import pytest

from sightline.data.listing import Listing


def files(folder: Path, *names: str) -> str:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return str(folder)


def test_what_is_missing_is_told_by_place(tmp_path: Path) -> None:
    root = files(tmp_path / "set", "a.png", "b/c.png", "b/d/e.png")
    (tmp_path / "set" / "folder.png").mkdir()
    elsewhere = files(tmp_path / "other", "x.png")
    names = ["a.png", "A.png", "b/c.png", "b/C.png", "c.png", "b/d/e.png", "none/a.png", "folder.png", "./a.png"]
    names += [f"{elsewhere}/x.png", f"{elsewhere}/y.png", "../other/x.png", "b", "", "a.png/"]
    expected = [name for name in names if not (tmp_path / "set" / name).is_file() or name.endswith("/")]
    assert [names[place] for place in Listing().missing(root, names)] == expected


@pytest.mark.parametrize(
    "name", ["x" * 300, "y" * 300 + "/a.png", "/".join("z" * 3000), "\0", "a\0/b.png", "\ud800/a.png"]
)
def test_names_that_no_file_can_have_are_missing(tmp_path: Path, name: str) -> None:
    root = files(tmp_path, "a.png")
    assert Listing().missing(root, ["a.png", name]) == [1]
    assert Listing().other_form(f"{root}/{name}") is None


def test_another_form_is_found_by_letter_case_and_composition(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "é.png")
    apart = unicodedata.normalize("NFD", composed)
    assert composed != apart
    root = files(tmp_path, "A.PNG", apart, "b/Straße.jpg")
    listing = Listing()
    assert listing.other_form(f"{root}/a.png") == tmp_path / "A.PNG"
    assert listing.other_form(f"{root}/b/STRASSE.JPG") == tmp_path / "b" / "Straße.jpg"
    found = listing.other_form(f"{root}/{composed}")
    assert found is not None and found.is_file()
    assert listing.other_form(f"{root}/none.png") is None
    assert listing.other_form(f"{root}/nowhere/a.png") is None
    if apart in {path.name for path in tmp_path.iterdir()}:
        assert listing.missing(root, [apart, composed]) == [1]


def test_a_folder_is_listed_once(tmp_path: Path) -> None:
    root = files(tmp_path, "a.png")
    listing = Listing()
    assert listing.has(f"{root}/a.png") and not listing.has(f"{root}/b.png")
    files(tmp_path, "b.png")
    assert not listing.has(f"{root}/b.png") and Listing().has(f"{root}/b.png")
    assert listing.names(root) == {"a.png"}


def test_links_count_as_what_they_lead_to(tmp_path: Path) -> None:
    root = files(tmp_path, "a.png")
    for name, target in (("good.png", "a.png"), ("gone.png", "none"), ("loop.png", "loop.png"), ("up.png", "..")):
        (tmp_path / name).symlink_to(target)
    assert Listing().missing(root, ["good.png", "gone.png", "loop.png", "up.png"]) == [1, 2, 3]
