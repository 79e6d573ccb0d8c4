"""SSD's augmentation in one pass against its plain chain, given the same seed."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sightline.structures import Sample, Target
from sightline.transforms.colour import PhotometricDistortion
from sightline.transforms.crop import IoUCrop
from sightline.transforms.expand import Expand
from sightline.transforms.flip import HorizontalFlip
from sightline.transforms.pipeline import apply
from sightline.transforms.presets import ssd_augmentation
from sightline.transforms.ssd import SSDAugmentation

PAIRS = ((0, 1),)


def a_sample(seed: int, size: tuple[int, int] = (240, 320)) -> Sample:
    """A smooth picture with 8 objects, masks and keypoints."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((1, 3, size[0] // 16, size[1] // 16), generator=generator)
    image = F.interpolate(coarse, size=size, mode="bicubic")[0].clamp(0, 1).mul(255).to(torch.uint8)
    corners = torch.rand((8, 2), generator=generator) * 0.7
    boxes = torch.cat([corners, corners + 0.05 + torch.rand((8, 2), generator=generator) * 0.2], dim=1)
    boxes = boxes * torch.tensor([size[1], size[0]] * 2)
    columns, rows = torch.arange(size[1]) + 0.5, torch.arange(size[0])[:, None] + 0.5
    x1, y1, x2, y2 = boxes[..., None, None].unbind(dim=1)
    masks = (columns > x1) & (columns < x2) & (rows > y1) & (rows < y2)
    points = torch.stack([boxes[:, :2], boxes[:, 2:]], dim=1)
    keypoints = torch.cat([points, torch.full((8, 2, 1), 2.0)], dim=2)
    return Sample(image, Target(boxes, torch.arange(8), size, masks=masks, keypoints=keypoints), seed)


@pytest.mark.parametrize("floating", [False, True])
def test_one_pass_equals_the_plain_chain(floating: bool) -> None:
    (fused,) = ssd_augmentation(300, keypoint_pairs=PAIRS)
    assert isinstance(fused, SSDAugmentation)
    differences = []
    for seed in range(30):
        sample = a_sample(seed)
        if floating:
            sample = Sample(sample.image / 255, sample.target, seed)
        ours = fused(sample, np.random.default_rng(seed))
        plain = apply(fused.chain(), sample, np.random.default_rng(seed))
        white = 1 if floating else 255
        differences.append(float((ours.image.float() - plain.image.float()).abs().mean()) / white * 255)
        one, other = ours.target, plain.target
        assert one.labels.tolist() == other.labels.tolist()
        torch.testing.assert_close(one.boxes, other.boxes, atol=0.75, rtol=0)
        torch.testing.assert_close(one.areas, other.areas, atol=8.0, rtol=0.06)
        assert one.keypoints is not None and other.keypoints is not None
        torch.testing.assert_close(one.keypoints, other.keypoints, atol=0.75, rtol=0)
        assert one.masks is not None and other.masks is not None
        assert (one.masks ^ other.masks).float().mean() < 0.01 if len(one) else True
    assert np.mean(differences) < 1.0 and max(differences) < 2.0


def test_without_chance_it_is_a_resize() -> None:
    sample = a_sample(0)
    parts = PhotometricDistortion(p=0.0), Expand(p=0.0), IoUCrop((1.0,)), HorizontalFlip(0.0)
    still = SSDAugmentation((100, 90), *parts)
    out, expected = still(sample, np.random.default_rng(0)), still.chain()[-1](sample, np.random.default_rng(0))
    assert torch.equal(out.image, expected.image) and torch.equal(out.target.boxes, expected.target.boxes)


def test_the_canvas_keeps_its_colour() -> None:
    (fused,) = ssd_augmentation((64, 96), fill=(1, 2, 3))
    sample = a_sample(1)
    seen = 0
    for seed in range(40):
        image = fused(sample, np.random.default_rng(seed)).image
        assert image.shape == (3, 64, 96)
        filled = (image == torch.tensor([1, 2, 3])[:, None, None]).all(dim=0)
        seen += int(filled.sum() > 64)
    assert 10 < seen < 30  # half of all images are zoomed out


def test_without_a_size_it_is_the_chain_without_a_resize() -> None:
    assert [type(part).__name__ for part in ssd_augmentation(None)] == [
        "PhotometricDistortion",
        "Expand",
        "IoUCrop",
        "HorizontalFlip",
    ]
