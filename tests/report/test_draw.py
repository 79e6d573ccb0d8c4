import pytest
import torch
from PIL import Image

from sightline.errors import ConfigError
from sightline.report.draw import (
    PALETTE,
    class_colours,
    draw,
    draw_detections,
    encode,
    font_size,
    from_pillow,
    line_width,
    save_image,
    side_by_side,
    to_pillow,
)
from sightline.structures import Classes, Detections


def grey(height=200, width=300):
    return torch.full((3, height, width), 128, dtype=torch.uint8)


def changed(image, picture):
    return (picture != image).any(dim=0)


def test_a_box_without_a_name_changes_its_border_and_nothing_else():
    image = grey()
    picture = draw(image, torch.tensor([[50.0, 60, 150, 160]]), [""], colours=[(255, 0, 0)])
    line = line_width((300, 200)) + 1  # the dark line within is one pixel wide
    expected = torch.zeros(200, 300, dtype=torch.bool)
    expected[60:160, 50:150] = True
    expected[60 + line : 160 - line, 50 + line : 150 - line] = False
    assert torch.equal(changed(image, picture), expected)
    assert picture[:, 60, 50].tolist() == [255, 0, 0]
    assert image.unique().tolist() == [128]


@pytest.mark.parametrize("side", [100, 15])
def test_a_broken_line_has_gaps_in_small_boxes_too(side):
    box = torch.tensor([[50.0, 60, 50 + side, 60 + side]])
    picture = draw(grey(), box, [""], colours=[(255, 0, 0)], dashed=[True])
    for border in (picture[:, 60, 50 : 50 + side], picture[:, 60 : 60 + side, 50]):
        red = (border == torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None]).all(dim=0)
        assert 0.3 < red.float().mean() < 0.7
    assert not changed(grey(), picture)[64 : 56 + side, 54 : 46 + side].any()


@pytest.mark.parametrize(
    "box", [(0, 0, 40, 30), (260, 0, 300, 30), (0, 170, 40, 200), (250, 180, 300, 200), (0, 0, 300, 200)]
)
def test_labels_are_inside_the_picture(box):
    def label_width(at):
        boxes, colour = torch.tensor([at], dtype=torch.float32), (255, 0, 0)
        named, bare = (draw(grey(), boxes, [name], colours=[colour]) for name in ("platelet", ""))
        columns = changed(bare, named).any(dim=0).nonzero()
        return int(columns.max() - columns.min())

    # A label that left the picture would be cut; the box's own line may hide a little of it.
    assert label_width(box) >= label_width((100, 100, 140, 130)) - 2 * line_width((300, 200))


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (20, 20), (2000, 20), (20, 2000)])
def test_every_size_of_picture_is_drawn_on(size):
    picture = draw(grey(*size), torch.tensor([[0.0, 0, size[1], size[0]]]), ["a rather long name"], torch.tensor([0.5]))
    assert picture.shape == (3, *size)


def test_boxes_outside_are_cut_and_no_boxes_are_legal():
    image = grey()
    assert draw(image, torch.tensor([[-50.0, -50, 1000, 1000], [400, 400, 500, 500]]), ["a", "b"]).shape == image.shape
    assert torch.equal(draw(image, torch.zeros(0, 4), []), image)


def test_lines_and_letters_grow_with_the_picture():
    assert line_width((2000, 1500)) > line_width((640, 480)) >= 2
    assert font_size((2000, 1500)) > font_size((640, 480)) > 9
    assert font_size((16, 16)) >= 9


def test_equal_boxes_keep_both_labels():
    box = torch.tensor([[50.0, 60, 150, 160]])
    one = draw(grey(), box, ["cat"], colours=[(255, 0, 0)])
    two = draw(grey(), box.repeat(2, 1), ["cat", "dog"], colours=[(255, 0, 0), (0, 0, 255)])
    blue = ((two == torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None]).all(dim=0)).sum()
    assert blue > 100
    assert (two[0] == one[0]).float().mean() > 0.9


def test_masks_are_tinted_inside_and_keypoints_unlabelled_are_not_drawn():
    image = grey()
    mask = torch.zeros(1, 200, 300, dtype=torch.bool)
    mask[0, 80:120, 80:120] = True
    keypoints = torch.tensor([[[20.0, 20, 2], [250, 150, 0]]])
    box = torch.tensor([[50.0, 60, 150, 160]])
    plain = draw(image, box, [""], colours=[(255, 0, 0)])
    picture = draw(image, box, [""], colours=[(255, 0, 0)], masks=mask, keypoints=keypoints)
    difference = changed(plain, picture)
    assert difference[80:120, 80:120].all()
    assert difference[18:23, 18:23].any()
    assert not difference[140:160, 240:260].any()
    assert 128 < picture[0, 100, 100] < 255


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="uint8"):
        draw(grey().float(), torch.zeros(0, 4), [])
    with pytest.raises(ValueError, match="1 boxes but 2"):
        draw(grey(), torch.tensor([[0.0, 0, 9, 9]]), ["a", "b"])


def test_detections_have_the_colours_of_their_classes():
    classes = Classes(("a", "b"))
    boxes = torch.tensor([[10.0, 50, 60, 90], [100, 50, 160, 90]])
    detections = Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([1, 0]), (200, 300))
    shown = draw_detections(grey(), detections, classes, threshold=0.5)
    assert tuple(shown[:, 89, 59].tolist()) == PALETTE[1]
    assert not changed(grey(), shown)[:, 100:].any()


def test_colours_repeat_after_the_palette():
    assert len(set(PALETTE)) == len(PALETTE)
    assert class_colours(torch.tensor([0, len(PALETTE)])) == [PALETTE[0], PALETTE[0]]


def test_pictures_stand_side_by_side_with_titles():
    sheet = side_by_side([grey(100, 200), grey(50, 80)], ["truth", "an overlong title " * 9])
    assert sheet.shape[1] > 100
    assert sheet.shape[2] > 280
    assert torch.equal(sheet[:, -100:, :200], grey(100, 200))
    with pytest.raises(ValueError, match="one title"):
        side_by_side([grey()], [])


@pytest.mark.parametrize("suffix", ["png", "PNG", "jpg", "jpeg", "webp"])
def test_pictures_are_written_whole_by_their_suffix(tmp_path, suffix):
    path = tmp_path / f"x.{suffix}"
    path.write_bytes(b"old")
    save_image(grey(), path)
    with Image.open(path) as picture:
        assert picture.size == (300, 200)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"x\.tiff.*cure.*png"):
        save_image(grey(), tmp_path / "x.tiff")


def test_pillow_and_back_is_the_same():
    image = torch.randint(0, 256, (3, 7, 5), dtype=torch.uint8)
    assert torch.equal(from_pillow(to_pillow(image)), image)
    assert encode(image, "PNG").startswith(b"\x89PNG")


def test_a_persons_keypoints_are_joined_and_others_are_not():
    """COCO's 17 have limbs: between the shoulders, 5 and 6, there is a line; a set of 16 has none."""
    black, box = torch.zeros(3, 100, 100, dtype=torch.uint8), torch.tensor([[5.0, 5, 95, 95]])
    keypoints = torch.zeros(1, 17, 3)
    keypoints[0, 5], keypoints[0, 6] = torch.tensor([20.0, 50, 2]), torch.tensor([80.0, 50, 2])
    between = [
        int(draw(black, box, [""], colours=[(255, 255, 255)], keypoints=points)[:, 50, 50].max())
        for points in (keypoints, keypoints[:, :16])
    ]
    assert between == [255, 0]
    keypoints[0, 6, 2] = 0
    assert int(draw(black, box, [""], colours=[(255, 255, 255)], keypoints=keypoints)[:, 50, 50].max()) == 0
