"""The gallery and the contact sheet of a set: what is chosen, what is drawn and where."""

import base64
import re
import shutil
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from data_room_fabricated import EVIL, OUTSIDE, RLE, read_tables, write_set
from PIL import Image
from test_html import Page

from sightline.data.findings import Finding
from sightline.data.segmentation import decode_segmentation
from sightline.errors import DataError
from sightline.report.contact_sheet import FLAGGED, THUMBNAIL, contact_sheet, thumbnail
from sightline.report.data_gallery import GalleryPage, figure, render
from sightline.report.data_pictures import (
    Choice,
    DataPicture,
    all_masked,
    choose,
    class_names,
    read_picture,
    scaled,
    visible_box,
)
from sightline.report.draw import PALETTE


@pytest.fixture
def tables(tmp_path):
    return read_tables(write_set(tmp_path / "set"))


def pictures(tables, masks=True, findings=None) -> list[DataPicture]:
    chosen = choose(tables, 3, findings=findings) if findings else choose({"train": tables["train"]}, 99)
    readable = [choice for choice in chosen.choices if choice.path.name != "4.png"]
    return [read_picture(choice, tables["train"], class_names(tables), masks=masks) for choice in readable]


def names(chosen):
    return [choice.path.name for choice in chosen.choices]


def test_images_are_drawn_by_seed_and_filtered_by_class(tables):
    assert names(choose(tables, 99)) == ["1.png", "2.png", "3.png", "4.png"]
    assert names(choose(tables, 99, classes=["dog", "person"])) == ["1.png", "3.png"]
    two = choose(tables, 2, seed=1)
    assert (len(two.choices), two.matching) == (2, 4)
    assert names(two) == names(choose(tables, 2, seed=1)) == sorted(names(two))
    assert len({tuple(names(choose(tables, 2, seed=seed))) for seed in range(20)}) > 1


def test_findings_lead_to_their_images(tables, tmp_path):
    path = tmp_path / "set" / "train" / "3.png"
    about_image = Finding("image-empty", "nothing on it", "set.json", image=str(path), split="train")
    unlisted = Finding("image-unlisted", "not listed", "set.json", image=str(tmp_path / "other.png"))
    about_nothing = Finding("class-unused", "unused", "set.json", split="train")
    chosen = choose(tables, 99, findings=[OUTSIDE, about_image, unlisted, about_nothing, replace(OUTSIDE, what="b")])
    assert [(c.path.name, c.row, len(c.findings)) for c in chosen.choices] == [
        *(("2.png", 1, 2), ("3.png", 2, 1), ("other.png", None, 1))
    ]
    assert (chosen.matching, chosen.unseen) == (3, 1)
    assert names(choose(tables, 99, findings=[OUTSIDE, about_image], classes=["person"])) == ["3.png"]
    # A finding without a split is about every split that has the picture.
    assert names(choose(tables, 99, findings=[replace(about_image, split="")])) == ["3.png"]


def test_an_image_of_two_splits_is_shown_once_where_both_have_one_annotation_file(tmp_path, data_root):
    tables = read_tables(data_root / "datasets" / "bccd")
    assert set(tables) == {"train", "val", "test", "trainval"}
    assert choose(tables, 1).matching == len({name for t in tables.values() for name in t.images.files.to_list()})


def test_what_is_read_is_what_is_written(tables):
    first, second, third = pictures(tables)
    assert [(found.name, found.box, found.ignore) for found in first.objects] == [
        (EVIL, (10, 5, 30, 35), False),
        ("dog", (0, 0, 3, 40), True),
    ]
    assert torch.equal(first.objects[1].mask, decode_segmentation(RLE, (40, 60)))
    assert first.objects[0].polygons == ([10, 5, 30, 5, 30, 35, 10, 35],)
    assert [found.box for found in second.objects] == [(500, 10, 520, 30), (30, 10, 30, 30)]
    # The third point is not labelled, the ninth does not exist.
    assert third.objects[0].skeleton == ((0, 1), (1, 2))
    assert pictures(tables, masks=False)[0].objects[1].mask is None
    assert second.objects[0].keypoints is None


def test_an_image_that_cannot_be_read_and_a_mask_that_cannot_be_drawn(tables, tmp_path):
    with pytest.raises(DataError, match="not an image"):
        read_picture(Choice("train", 3, tmp_path / "set/train/4.png"), tables["train"], (), masks=False)
    Image.new("RGB", (30, 40)).save(tmp_path / "set/train/1.png")
    (picture, *_) = pictures(tables)
    assert picture.objects[1].mask is None
    assert picture.remarks[0].startswith("annotations[1]: the mask is not drawn: the run lengths are for an image")


def test_large_pictures_are_made_smaller_and_so_are_their_masks(tables, tmp_path):
    Image.new("RGB", (1200, 800)).save(tmp_path / "set/train/1.png")
    (picture, *_) = pictures(tables)
    assert (picture.image.shape, picture.size) == ((3, 427, 640), (800, 1200))
    assert picture.objects[0].mask.shape == (427, 640)
    assert scaled(picture.image, 640) is picture.image


def test_masks_are_shown_by_themselves_only_where_every_object_has_one(tables):
    choices = choose(tables, 99).choices
    assert all_masked(tables, choices[:1])
    assert not all_masked(tables, choices)
    assert not all_masked(tables, choices[3:])


@pytest.mark.parametrize(
    ("box", "seen"),
    [
        ((10, 20, 30, 35), (10, 20, 30, 35)),
        ((30, 35, 10, 20), (10, 20, 30, 35)),
        ((-50, -5, 900, 900), (0, 0, 60, 40)),
        ((500, 10, 520, 30), (59.4, 10, 60, 30)),
        ((30, 10, 30, 30), (29.7, 10, 30.3, 30)),
        ((-9, -9, -9, -9), (0, 0, 0.6, 0.6)),
    ],
)
def test_every_box_can_be_seen(box, seen):
    assert visible_box(box, (40, 60)) == pytest.approx(seen)


def gallery(tables, **changes):
    found = pictures(tables, **changes)
    figures = tuple(figure(picture, ("train",)) for picture in found)
    page = GalleryPage(EVIL, ("A note <i>.",), class_names(tables), ("train",), figures, {"box-outside": "a title"})
    return render(page)


def test_the_page_is_whole_and_nothing_comes_from_elsewhere(tables):
    text = gallery(tables)
    page = Page(text)
    assert text.count("<figure") == 3
    for _, name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith("data:")
    assert not re.search(r"@import|url\(|<script src|https?://", text)
    assert '<b> "' not in text and page.words.count(EVIL) >= 3  # the title, the choice, the object


def test_annotations_are_drawn_in_pixels_of_the_image(tables):
    first, second, third = gallery(tables).split("<figure")[1:]
    assert 'viewBox="0 0 60 40"' in first
    assert '<rect class="boxes" x="10.00" y="5.00" width="20.00" height="30.00"/>' in first
    assert '<path class="masks" d="M10.0 5.0 30.0 5.0 30.0 35.0 10.0 35.0Z"/>' in first
    assert 'data-classes="0 1"' in first and 'data-split="0"' in first
    assert 'class="object ignored" data-class="1"' in first
    assert '<rect class="boxes" x="59.40"' in second and "x1, y1, x2, y2 = 500, 10, 520, 30" in second
    assert third.count("<line") == 1 and third.count("<circle") == 2
    assert '<circle class="hidden" cx="20.0" cy="20.0"' in third


def test_a_mask_of_run_lengths_is_a_picture_of_its_place(tables):
    (first, *_) = pictures(tables)
    drawn = figure(first, ("train",))
    x, y, width, height = (
        float(re.search(rf'<image [^>]*\b{name}="([\d.]+)"', drawn)[1]) for name in ("x", "y", "width", "height")
    )
    data = base64.b64decode(re.search(r'href="data:image/png;base64,([^"]+)"', drawn)[1])
    shown = np.asarray(Image.open(BytesIO(data)).convert("RGBA"))
    mask = decode_segmentation(RLE, (40, 60)).numpy()
    cut = mask[int(y) : int(y + height), int(x) : int(x + width)]
    assert cut.sum() == mask.sum() and np.array_equal(shown[..., 3] > 0, cut)
    assert (shown[cut][:, :3] == PALETTE[1]).all()


def test_findings_are_told_and_their_objects_stand_out(tables):
    (picture,) = pictures(tables, findings=[OUTSIDE])
    drawn = figure(picture, ("train",))
    assert drawn.count('class="object flagged"') == 2  # its shape and its name
    assert drawn.rindex("<rect") < drawn.index("<text")
    assert drawn.index("500, 10, 520, 30") > drawn.index("30, 10, 30, 30")  # on top
    assert "the box &lt;is&gt; outside" in drawn and 'data-findings="box-outside"' in drawn


def test_only_what_is_there_can_be_switched(tables):
    layers = re.findall(r'data-layer="(\w+)"', gallery(tables, masks=False))
    assert layers == ["boxes", "keypoints", "names"]
    assert "No pictures" in render(GalleryPage("empty", (), (), (), ()))


def test_a_thumbnail_shows_boxes_in_the_colour_of_their_class(tables):
    first, second, _ = pictures(tables)
    drawn = thumbnail(first)
    assert max(drawn.shape[1] - THUMBNAIL[0], drawn.shape[2] - THUMBNAIL[1]) <= 0
    assert drawn[:, 30, 10].tolist() == list(PALETTE[0])  # the left edge of the box that begins at x = 10
    flagged = replace(second, objects=(replace(second.objects[0], flagged=True),))
    assert (thumbnail(flagged) == torch.tensor(FLAGGED)[:, None, None]).all(dim=0)[:, -1].sum() >= 20
    assert thumbnail(replace(first, objects=())).equal(first.image)
    # What is flagged is drawn above a smaller box with the same left edge.
    small = replace(first.objects[0], box=(10, 25, 15, 30), name="")
    both = thumbnail(replace(first, objects=(small, replace(first.objects[0], flagged=True))))
    assert both[:, 27, 10].tolist() == list(FLAGGED)


def test_the_sheet_has_a_place_for_each_and_cuts_long_names():
    small = [torch.full((3, 20, 30), shade, dtype=torch.uint8) for shade in range(8)]
    sheet = contact_sheet(small, [("a name " * 30, "a line")] * 8)
    assert sheet.shape[2] == 6 * (THUMBNAIL[1] + 10) + 10
    for shade in range(1, 8):
        assert (sheet == shade).all(dim=0).sum() >= 590, shade
    two = contact_sheet(small[:2], [("one",), ("two",)])
    assert two.shape[2] == 2 * (THUMBNAIL[1] + 10) + 10
    with pytest.raises(ValueError):
        contact_sheet([], [])


def test_reading_leaves_the_set_alone(tmp_path):
    folder = write_set(tmp_path / "set")
    shutil.copytree(folder, tmp_path / "copy")
    pictures(read_tables(folder))
    for path in Path(tmp_path / "copy").rglob("*.*"):
        assert (folder / path.relative_to(tmp_path / "copy")).read_bytes() == path.read_bytes()
