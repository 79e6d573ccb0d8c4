"""Geometric transforms against torchvision's functionals, against pixels that mark the boxes, and by hand."""

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as v2

from sightline.errors import ConfigError
from sightline.structures import Sample, Target
from sightline.transforms.crop import IoUCrop, RandomCrop
from sightline.transforms.expand import Expand
from sightline.transforms.flip import HorizontalFlip
from sightline.transforms.pipeline import Transform, apply
from sightline.transforms.placement import Placement, cut, move_keypoints, move_target, place, resize_image, whole
from sightline.transforms.presets import light_augmentation
from sightline.transforms.resize import Letterbox, Resize, ResizeShortSide, resized
from sightline.transforms.ssd import SSDAugmentation

SIZE = (60, 80)
BOXES = torch.tensor([[10.0, 20, 40, 50], [0, 0, 80, 60], [70, 5, 80, 15], [3, 52, 7, 60]])


def a_target(**fields: torch.Tensor) -> Target:
    return Target(BOXES, torch.arange(len(BOXES)), SIZE, **fields)


def a_sample(target: Target | None = None) -> Sample:
    image = torch.randint(0, 256, (3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Sample(image, target or a_target(), 0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def tv_boxes() -> tv_tensors.BoundingBoxes:
    return tv_tensors.BoundingBoxes(BOXES, format="XYXY", canvas_size=SIZE)


def check(sample: Sample, image: torch.Tensor, boxes: torch.Tensor) -> None:
    assert torch.equal(sample.image, image)
    torch.testing.assert_close(sample.target.boxes, boxes.as_subclass(torch.Tensor))


def test_resize_agrees_with_torchvision() -> None:
    sample = a_sample()
    expected = v2.resize(sample.image, [33, 91], antialias=True), v2.resize(tv_boxes(), [33, 91])
    check(Resize((33, 91))(sample, rng()), *expected)
    torch.testing.assert_close(Resize((120, 160))(sample, rng()).target.areas, sample.target.areas * 4)


def test_flip_agrees_with_torchvision_and_undoes_itself() -> None:
    sample, flip = a_sample(), HorizontalFlip(1.0)
    once = flip(sample, rng())
    check(once, v2.horizontal_flip(sample.image), v2.horizontal_flip(tv_boxes()))
    check(flip(once, rng()), sample.image, sample.target.boxes)
    assert HorizontalFlip(0.0)(sample, rng()) is sample


def test_crop_agrees_with_torchvision() -> None:
    sample = a_sample()
    out = place(sample, cut(SIZE, (5, 10, 60, 58)))
    expected = v2.crop(tv_boxes(), top=10, left=5, height=48, width=55)
    check(out, v2.crop(sample.image, 10, 5, 48, 55), expected[[0, 1]])
    assert out.target.labels.tolist() == [0, 1]  # 2 and 3 have their centres on or beyond the border


def test_expand_agrees_with_torchvision() -> None:
    sample, expand = a_sample(), Expand(p=1.0, fill=(1, 2, 3))
    placement = expand.draw(SIZE, rng(3))
    (top, left), (height, width) = placement.offset, placement.size
    padding = [left, top, width - left - SIZE[1], height - top - SIZE[0]]
    assert min(padding) >= 0 and width > 81
    expected = v2.pad(sample.image, padding, fill=[1, 2, 3]), v2.pad(tv_boxes(), padding)
    check(expand(sample, rng(3)), *expected)


def test_short_side_and_its_limit() -> None:
    assert ResizeShortSide(120).size_for((60, 80)) == (120, 160)
    assert ResizeShortSide(120, 140).size_for((60, 80)) == (105, 140)
    assert ResizeShortSide(10, 40).size_for((20000, 20)) == (40, 1)


def test_letterbox_keeps_proportions_and_fills_the_bars() -> None:
    out = Letterbox((100, 40), fill=(9, 8, 7))(a_sample(), rng())
    torch.testing.assert_close(out.target.boxes, BOXES / 2 + torch.tensor([0.0, 35, 0, 35]))
    assert out.image[:, :35].flatten(1).unique(dim=1).flatten().tolist() == [9, 8, 7]
    assert torch.equal(out.image[:, 35:65], resize_image(a_sample().image, (30, 40)))
    assert Letterbox((100, 140), enlarge=False).placement(SIZE).content == SIZE


def test_one_pixel_wide_results_keep_their_channels() -> None:
    image = torch.tensor([10, 100, 200], dtype=torch.uint8)[:, None, None].expand(3, 40, 2).contiguous()
    for size in ((1, 1), (7, 1), (100, 1)):
        assert torch.equal(resize_image(image, size), image[:, :1, :1].expand(3, *size))


def test_thin_objects_go_only_where_something_is_cut_off() -> None:
    boxes = torch.tensor([[10.0, 10, 10.5, 40], [19.5, 10, 23, 40], [19, 10, 30, 40], [19.1, 10, 20.95, 40]])
    target = Target(boxes, torch.arange(4), SIZE)
    assert move_target(target, whole(SIZE, mirrored=True)).labels.tolist() == [0, 1, 2, 3]
    assert move_target(target, resized(SIZE, (6, 8))).labels.tolist() == [0, 1, 2, 3]
    # Window from x = 20: 0 is outside, 1 keeps 3 pixels, 2 keeps 10, 3 has 0.95 and is thinner than a pixel.
    assert move_target(target, cut(SIZE, (20, 0, 80, 60))).labels.tolist() == [1, 2]


def test_areas_shrink_with_the_mask_or_with_the_box() -> None:
    window = (0, 0, 30, 60)
    own = torch.tensor([100.0, 50, 7, 8])
    out = move_target(a_target(areas=own), cut(SIZE, window))
    assert out.labels.tolist() == [0, 3]
    torch.testing.assert_close(out.areas, torch.tensor([100.0 * 20 / 30, 8]))
    masks = torch.zeros(4, *SIZE, dtype=torch.bool)
    masks[0, 20:50, 25:40] = True
    out = move_target(a_target(areas=own, masks=masks), cut(SIZE, window))
    torch.testing.assert_close(out.areas, torch.tensor([5.0 * 30, 8]))
    assert out.masks is not None and out.masks[0].sum() == 150
    masks[0, :, :30] = False  # what is left of object 0 now lies outside the window
    assert move_target(a_target(masks=masks), cut(SIZE, window)).labels.tolist() == [3]


def test_keypoints_go_along_and_vanish_outside() -> None:
    points = torch.tensor([[[10.0, 10, 2], [70, 30, 1], [5, 5, 0], [0, 60, 2]]])
    moved = move_keypoints(points, cut(SIZE, (5, 5, 50, 60)))
    assert moved.tolist() == [[[5, 5, 2], [0, 0, 0], [0, 0, 0], [0, 0, 0]]]
    moved = move_keypoints(points, whole(SIZE, mirrored=True), ((0, 1),))
    assert moved.tolist() == [[[10, 30, 1], [70, 10, 2], [0, 0, 0], [80, 60, 2]]]
    placement = Placement(SIZE, (0, 0, 40, 60), (120, 80), (7, 3), (200, 100), mirrored=True)
    assert move_keypoints(points, placement)[0, 0].tolist() == [3 + 80 - 20, 7 + 20, 2]
    with pytest.raises(ConfigError, match="keypoint 4"):
        move_keypoints(points, whole(SIZE, mirrored=True), ((0, 4),))


@pytest.mark.parametrize(
    "chain",
    [
        (Resize((47, 130)),),
        (Letterbox((90, 90)),),
        (HorizontalFlip(1.0),),
        (RandomCrop((0.5, 1.0)),),
        (IoUCrop(),),
        (Expand(p=1.0),),
        light_augmentation(),
        SSDAugmentation((150, 150)).chain()[1:],
        (SSDAugmentation((150, 150)),),
    ],
    ids=lambda chain: type(chain[0]).__name__ + str(len(chain)),
)
def test_boxes_still_fit_the_pixels_they_mark(chain: tuple[Transform, ...]) -> None:
    image = torch.zeros((3, 120, 160), dtype=torch.uint8)
    box = torch.tensor([[40.0, 30, 104, 90]])
    image[0, 30:90, 40:104] = 255
    masks = image[:1] > 0
    sample = Sample(image, Target(box, torch.tensor([0]), (120, 160), masks=masks), 0)
    for seed in range(30):
        out = apply(chain, sample, rng(seed))
        colourful = out.image.float().amax(dim=0) - out.image.float().amin(dim=0)
        marked = colourful > colourful.max() / 2  # the marker in any colour; all else is nearly grey
        rows, columns = torch.nonzero(marked, as_tuple=True)
        assert len(out.target) == 1 and out.target.masks is not None
        found = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert (found - out.target.boxes[0]).abs().max() <= 1.5
        assert (out.target.masks[0] ^ marked).float().mean() < 0.02


@pytest.mark.parametrize(
    "make",
    [
        lambda: Resize((0, 5)),
        lambda: ResizeShortSide(0),
        lambda: ResizeShortSide(10, 5),
        lambda: Letterbox((10, 10), fill=(0, 0, 256)),
        lambda: HorizontalFlip(1.5),
        lambda: HorizontalFlip(0.5, ((0, 1), (1, 2))),
        lambda: Expand((0.5, 2.0)),
        lambda: RandomCrop((0.9, 0.1)),
        lambda: IoUCrop(()),
        lambda: IoUCrop(trials=0),
        lambda: SSDAugmentation((300, 0)),
    ],
)
def test_senseless_arguments_are_refused(make: object) -> None:
    with pytest.raises(ConfigError, match="cure: give"):
        make()  # type: ignore[operator]
