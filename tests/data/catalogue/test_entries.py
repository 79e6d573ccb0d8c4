"""The catalogue itself: complete, consistent, and in agreement with torchvision and with the sets at hand."""

import re
from pathlib import Path

import pytest
from torchvision.datasets import OxfordIIITPet
from torchvision.datasets.voc import DATASET_YEAR_DICT

from sightline.data.catalogue.entries import CATALOGUE, find_entry, shown_size
from sightline.errors import DataError


def test_the_seven_sets_are_there() -> None:
    assert list(CATALOGUE) == ["bccd", "voc2007", "voc2012", "coco2017", "pennfudan", "pets", "camvid"]
    assert all(name == entry.name for name, entry in CATALOGUE.items())


@pytest.mark.parametrize("entry", CATALOGUE.values(), ids=list(CATALOGUE))
def test_an_entry_says_all_that_it_must(entry) -> None:
    assert entry.title and entry.tasks and entry.images and entry.licence.text
    assert all(count > 0 for count in entry.images.values())
    for address in (entry.homepage, entry.licence.url, *(archive.url for archive in entry.archives)):
        assert re.fullmatch(r"https?://[a-z0-9.]+\.[a-z]+(/\S*)?", address)
    names = [archive.file for archive in entry.archives]
    assert len(set(names)) == len(names)
    for archive in entry.archives:
        assert Path(archive.file).name == archive.file
        assert archive.md5 is None or re.fullmatch("[0-9a-f]{32}", archive.md5)
        assert archive.git_tree is None or re.fullmatch("[0-9a-f]{40}", archive.git_tree)
        assert archive.bytes is None or archive.bytes > 1_000_000
        assert archive.md5 or archive.git_tree or entry.name == "pennfudan"


@pytest.mark.parametrize(("name", "year"), [("voc2007", "2007"), ("voc2007", "2007-test"), ("voc2012", "2012")])
def test_voc_agrees_with_torchvision(name: str, year: str) -> None:
    theirs = DATASET_YEAR_DICT[year]
    (ours,) = [archive for archive in CATALOGUE[name].archives if archive.file == theirs["filename"]]
    assert (ours.md5, Path(ours.inside)) == (theirs["md5"], Path(theirs["base_dir"]))
    assert ours.url.endswith(theirs["url"].partition("/pascal/")[2])


def test_pets_agree_with_torchvision() -> None:
    ours = tuple((archive.url, archive.md5) for archive in CATALOGUE["pets"].archives)
    assert ours == OxfordIIITPet._RESOURCES


def test_the_splits_of_the_sets_at_hand(data_root: Path) -> None:
    bccd = data_root / "datasets" / "bccd" / "ImageSets" / "Main"
    for split, count in CATALOGUE["bccd"].images.items():
        assert len((bccd / f"{split}.txt").read_text().split()) == count
    camvid = data_root / "datasets" / "camvid"
    for split, count in CATALOGUE["camvid"].images.items():
        assert len(list((camvid / f"{split}annot").glob("*.png"))) == count
    assert len(CATALOGUE["camvid"].classes) == 11


def test_names_and_sizes_for_people() -> None:
    assert find_entry("VOC2007") is CATALOGUE["voc2007"]
    with pytest.raises(DataError, match=r"no data set 'cocco2017'.*did you mean coco2017\?"):
        find_entry("cocco2017")
    assert CATALOGUE["voc2007"].bytes == 460_032_000 + 451_020_800
    assert CATALOGUE["bccd"].bytes is None
    assert [shown_size(n) for n in (None, 53_723_336, 20_405_354_669)] == ["size not known", "54 MB", "20.4 GB"]
