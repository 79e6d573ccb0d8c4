import colorsys
import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from sightline.evaluation.perturbations import (
    JPEG,
    PERTURBATIONS,
    Blur,
    Brightness,
    Rotation,
    SaltAndPepper,
    Scale,
    inner_size,
)


def noise(height: int, width: int, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (2, 3), (40, 60), (61, 33)])
@pytest.mark.parametrize("change", PERTURBATIONS, ids=lambda change: f"{change.kind} {change.level:g}")
def test_every_change_gives_an_image_and_the_same_again(change, size):
    image = noise(*size)
    before = image.clone()
    changed = change.apply(image)
    assert changed.dtype == torch.uint8 and changed.shape[0] == 3 and min(changed.shape) >= 1
    assert torch.equal(changed, change.apply(image)) and torch.equal(image, before)
    boxes = torch.tensor([[0.0, 0.0, changed.shape[2], changed.shape[1]]])
    reference = change.reference(image)
    back = change.back(boxes, size)
    height, width = reference.shape[1:]
    if change.kind != "rotation" or change.level == 0:
        assert back.tolist() == [pytest.approx([0.0, 0.0, width, height], rel=1e-6)]


def test_no_turn_is_the_reference_itself():
    for size in ((40, 60), (41, 60), (33, 17), (5, 4)):
        image = noise(*size)
        assert torch.equal(Rotation(0).apply(image), Rotation(0).reference(image))


def test_the_inner_box_stays_inside_at_all_angles():
    for height, width in ((300, 500), (500, 300), (400, 400), (37, 91)):
        rows, columns = inner_size((height, width))
        assert abs(rows / columns - height / width) < 0.06
        for degrees in range(-20, 21):
            angle = math.radians(degrees)
            for x, y in ((columns / 2, rows / 2), (columns / 2, -rows / 2)):
                assert abs(math.cos(angle) * x - math.sin(angle) * y) <= width / 2
                assert abs(math.sin(angle) * x + math.cos(angle) * y) <= height / 2
    # The largest such box: at 20 degrees a corner touches the border, to within the rounding to whole pixels.
    rows, columns = inner_size((400, 400))
    reach = (columns * math.cos(math.radians(20)) + rows * math.sin(math.radians(20))) / 2
    assert 200 - 1.5 < reach <= 200


@pytest.mark.parametrize("degrees", [-20, -7, 5, 20])
def test_a_turned_spot_is_carried_back_to_where_it_was(degrees):
    # A bright square of 8 pixels, off the centre. Where it is in the turned image is measured, not computed.
    image = torch.zeros(3, 120, 160, dtype=torch.uint8)
    image[:, 34:42, 98:106] = 255
    turn = Rotation(degrees)
    weights = turn.apply(image).double().mean(dim=0)
    rows, columns = torch.arange(weights.shape[0]) + 0.5, torch.arange(weights.shape[1]) + 0.5
    y = (weights.sum(dim=1) * rows).sum() / weights.sum()
    x = (weights.sum(dim=0) * columns).sum() / weights.sum()
    box = torch.tensor([[x - 4, y - 4, x + 4, y + 4]], dtype=torch.float32)
    reference = turn.reference(image)
    top, left = (120 - reference.shape[1]) // 2, (160 - reference.shape[2]) // 2
    expected = torch.tensor([[98.0 - left, 34 - top, 106 - left, 42 - top]])
    torch.testing.assert_close(turn.back(box, (120, 160)), expected, atol=0.15, rtol=0)
    # Clockwise: what is at the upper right comes further down.
    straight = Rotation(0).apply(image).double().mean(dim=0)
    lower = (straight.sum(dim=1) * rows).sum() / straight.sum()
    assert bool(y > lower) == (degrees > 0)


def test_boxes_whose_centre_leaves_the_picture_are_left_out():
    height, width = inner_size((100, 100))
    corner = torch.tensor([[0.0, 0.0, 2.0, 2.0], [30.0, 30.0, 40.0, 40.0]])
    assert len(Rotation(20).back(corner, (100, 100))) == 1
    with pytest.raises(ValueError, match="within 20 degrees"):
        Rotation(21)
    assert min(height, width) > 60


def test_scale_and_its_way_back():
    image = noise(40, 60)
    half = Scale(0.5)
    assert half.apply(image).shape == (3, 20, 30)
    assert half.back(torch.tensor([[3.0, 4.0, 15.0, 20.0]]), (40, 60)).tolist() == [[6, 8, 30, 40]]
    assert torch.equal(Scale(1.0).apply(image), image)


def test_brightness_is_that_of_hsb():
    image = noise(6, 7)
    for factor in (0.5, 1.3):
        changed = Brightness(100 * factor).apply(image)
        for before, after in zip(image.flatten(1).T.tolist(), changed.flatten(1).T.tolist(), strict=True):
            hue, saturation, value = colorsys.rgb_to_hsv(*(part / 255 for part in before))
            expected = colorsys.hsv_to_rgb(hue, saturation, min(1.0, value * factor))
            assert after == pytest.approx([255 * part for part in expected], abs=0.51)
    assert torch.equal(Brightness(100).apply(image), image)


def test_blur_is_a_gaussian():
    image = noise(30, 41)
    for deviation in (0.5, 2.0):
        expected = np.stack(
            [gaussian_filter(plane, deviation, mode="nearest") for plane in image.numpy().astype(float)]
        )
        assert np.abs(Blur(deviation).apply(image).numpy() - expected).max() < 0.51


def test_salt_and_pepper_changes_as_many_pixels_as_it_says():
    image = torch.full((3, 50, 50), 100, dtype=torch.uint8)
    changed = SaltAndPepper(100).apply(image)
    differs = (changed != image).any(dim=0)
    assert differs.sum() == 100
    assert set(changed[:, differs].unique().tolist()) == {0, 255}
    assert bool((changed == changed[:1]).all())
    assert not torch.equal(changed, SaltAndPepper(100, seed=1).apply(image))
    assert (SaltAndPepper(1000).apply(image[:, :5, :5]) != 100).all()


def test_jpeg_loses_more_at_a_lower_quality():
    image = noise(32, 32)
    losses = [(JPEG(quality).apply(image).float() - image.float()).abs().mean() for quality in (5, 50, 100)]
    assert losses[0] > losses[1] > losses[2] > 0


def test_the_ranges_are_those_of_the_paper():
    levels: dict[str, list[float]] = {}
    for change in PERTURBATIONS:
        levels.setdefault(change.kind, []).append(change.level)
    ends = {kind: (min(found), max(found)) for kind, found in levels.items()}
    assert ends == {
        "scale": (0.5, 2.0),
        "JPEG": (5, 100),
        "rotation": (-20, 20),
        "brightness": (50, 150),
        "blur": (0.5, 8),
        "salt and pepper": (1, 1000),
    }
