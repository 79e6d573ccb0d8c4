"""No transform ever emits an invalid target, whatever it is given; none changes its input; the seed decides all."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.structures import Sample, Target
from sightline.transforms.colour import ColourJitter, PhotometricDistortion
from sightline.transforms.crop import IoUCrop, RandomCrop
from sightline.transforms.expand import Expand
from sightline.transforms.flip import HorizontalFlip
from sightline.transforms.pipeline import Transform, apply
from sightline.transforms.presets import flip_augmentation, light_augmentation, ssd_augmentation
from sightline.transforms.resize import Letterbox, Resize, ResizeShortSide
from sightline.transforms.ssd import SSDAugmentation

PAIRS = ((0, 1),)
CHAINS: dict[str, tuple[Transform, ...]] = {
    "resize": (Resize((37, 23)),),
    "short side": (ResizeShortSide(20, 50),),
    "letterbox": (Letterbox((31, 40)),),
    "letterbox small": (Letterbox((1, 3), enlarge=False),),
    "flip": (HorizontalFlip(1.0, PAIRS),),
    "distortion": (PhotometricDistortion(p=1.0),),
    "jitter": (ColourJitter(hue=(-0.5, 0.5)),),
    "expand": (Expand(p=1.0),),
    "crop": (RandomCrop((0.1, 1.0)),),
    "iou crop": (IoUCrop((0.0, 0.3, 0.9)),),
    "ssd": ssd_augmentation(32, keypoint_pairs=PAIRS),
    "ssd plain": SSDAugmentation((32, 48)).chain(),
    "ssd without resize": ssd_augmentation(None),
    "faster r-cnn": flip_augmentation(),
    "scenes": light_augmentation(keypoint_pairs=PAIRS),
}
SIZES = st.sampled_from([(1, 1), (1, 40), (2, 1200), (700, 3), (17, 29), (60, 48)])


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Any picture with 0 to 6 boxes inside it (some thin, some at the border), masks and keypoints or not."""
    height, width = draw(SIZES)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    count = draw(st.integers(0, 6))
    corners = torch.rand((count, 2, 2), generator=generator)
    if draw(st.booleans()):
        corners = corners.mul(4).round().div(4)
    if draw(st.booleans()):
        corners[:, 1, 0] = corners[:, 0, 0] + 1e-6
    corners = corners.sort(dim=1).values.clamp_(0, 1) * torch.tensor([width, height])
    boxes = corners.flatten(1)
    boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(dim=1)]
    count = len(boxes)
    masks = keypoints = None
    if draw(st.booleans()):
        masks = torch.zeros((count, height, width), dtype=torch.bool)
        for index, box in enumerate(boxes):
            masks[index] = inner(box, (height, width))
    if draw(st.booleans()):
        keypoints = torch.rand((count, 3, 3), generator=generator) * torch.tensor([width, height, 3.0])
        keypoints[..., 2].floor_()
    labels = torch.arange(count)
    ignore = torch.rand(count, generator=generator) < 0.3
    target = Target(boxes, labels, (height, width), ignore, None, masks, keypoints)  # type: ignore[arg-type]
    image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
    if draw(st.booleans()):
        image = image / 255
    return Sample(image, target, 7, "somewhere.png")


def inner(box: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """The pixels that lie wholly inside a box."""
    x1, y1, x2, y2 = box.tolist()
    mask = torch.zeros(size, dtype=torch.bool)
    mask[int(np.ceil(y1)) : int(y2), int(np.ceil(x1)) : int(x2)] = True
    return mask


def tensors(sample: Sample) -> list[torch.Tensor]:
    target = sample.target
    optional = [value for value in (target.masks, target.keypoints) if value is not None]
    return [sample.image, target.boxes, target.labels, target.ignore, target.areas, *optional]


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=40, deadline=None)
@given(sample=samples(), seed=st.integers(0, 2**31))
def test_what_comes_out_is_valid(name: str, sample: Sample, seed: int) -> None:
    before = [tensor.clone() for tensor in tensors(sample)]
    out = apply(CHAINS[name], sample, np.random.default_rng(seed))  # Sample and Target validate shapes and order
    target = out.target
    height, width = target.size
    limits = torch.tensor([width, height, width, height])
    assert (target.boxes >= 0).all() and (target.boxes <= limits).all()
    assert (target.boxes[:, 2:] > target.boxes[:, :2]).all()
    assert torch.isfinite(target.areas).all() and (target.areas >= 0).all()
    assert set(target.labels.tolist()) <= set(sample.target.labels.tolist())
    assert len(set(target.labels.tolist())) == len(target)
    assert torch.equal(target.ignore, sample.target.ignore[target.labels])
    assert out.image.dtype == sample.image.dtype and out.image.is_contiguous()
    assert (out.image_id, out.path) == (sample.image_id, sample.path)
    assert (target.masks is None) == (sample.target.masks is None)
    if target.keypoints is not None:
        seen = target.keypoints[..., 2] > 0
        points = target.keypoints[seen]
        assert (points[:, :2] >= 0).all() and (points[:, 0] <= width).all() and (points[:, 1] <= height).all()
    assert all(torch.equal(old, new) for old, new in zip(before, tensors(sample), strict=True))
    again = apply(CHAINS[name], sample, np.random.default_rng(seed))
    assert all(torch.equal(old, new) for old, new in zip(tensors(out), tensors(again), strict=True))


@pytest.mark.parametrize("name", CHAINS)
@settings(max_examples=25, deadline=None)
@given(sample=samples(), seed=st.integers(0, 2**31))
def test_masks_stay_inside_their_boxes(name: str, sample: Sample, seed: int) -> None:
    out = apply(CHAINS[name], sample, np.random.default_rng(seed)).target
    if out.masks is None or sample.target.masks is None:
        return
    for mask, (x1, y1, x2, y2) in zip(out.masks, out.boxes.tolist(), strict=True):
        y, x = (torch.nonzero(mask) + 0.5).unbind(dim=1)  # the centres of the mask's pixels
        assert ((x >= x1 - 1e-3) & (x <= x2 + 1e-3) & (y >= y1 - 1e-3) & (y <= y2 + 1e-3)).all()


@pytest.mark.parametrize("size", [(20000, 20), (20, 20000)])
@pytest.mark.parametrize("name", ["resize", "letterbox", "flip", "distortion", "crop", "iou crop", "ssd", "scenes"])
def test_very_long_images(name: str, size: tuple[int, int]) -> None:
    target = Target(torch.tensor([[2.0, 3.0, 15.0, 18.0]]), torch.tensor([0]), size)
    sample = Sample(torch.zeros((3, *size), dtype=torch.uint8), target, 0)
    for seed in range(3):
        out = apply(CHAINS[name], sample, np.random.default_rng(seed))
        assert min(out.target.size) >= 1
