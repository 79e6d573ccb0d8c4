"""Masks pasted into images and cut out of them: by hand, against slow loops, against torchvision."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image, project_masks_on_boxes

from sightline.geometry.masks import crop_masks, paste_masks

SIZE = (120, 160)


def _boxes(count: int, seed: int) -> Tensor:
    """Boxes from half a pixel to twice the image, cut to it."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([160.0, 120.0])
    side = torch.exp(torch.rand(count, 2, generator=generator) * 6 - 0.7)
    boxes = torch.cat([centre - side / 2, centre + side / 2], dim=1)
    return torch.minimum(boxes.clamp(min=0), torch.tensor([160.0, 120.0, 160.0, 120.0]))


def _blobs(count: int, side: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(count, 1, 5, 5, generator=generator), (side, side), mode="bilinear")[:, 0]


def test_a_full_mask_fills_its_box_and_nothing_else():
    (pasted,) = paste_masks(torch.ones(1, 28, 28), torch.tensor([[20.0, 30.0, 60.0, 80.0]]), SIZE)
    wanted = torch.zeros(SIZE, dtype=torch.bool)
    wanted[30:80, 20:60] = True
    rows, columns = (pasted ^ wanted).nonzero().T
    # Corners are cut to whole pixels after the box has grown: the edge may be a pixel off, and no more.
    assert bool(
        (
            ((rows - 30).abs() <= 1)
            | ((rows - 80).abs() <= 1)
            | ((columns - 20).abs() <= 1)
            | ((columns - 60).abs() <= 1)
        ).all()
    )
    assert int(pasted.sum()) > 0.95 * int(wanted.sum())


def test_pasted_masks_are_torchvisions():
    masks, boxes = _blobs(200, 28, 0), _boxes(200, 1)
    ours = paste_masks(masks, boxes, SIZE)
    theirs = paste_masks_in_image(masks[:, None], boxes, SIZE)[:, 0] > 0.5
    shared, either = (ours & theirs).flatten(1).sum(dim=1), (ours | theirs).flatten(1).sum(dim=1)
    assert int((either > 0).sum()) > 150
    assert float((shared / either.clamp(min=1))[either > 0].min()) >= 0.999
    assert torch.equal(either == 0, theirs.flatten(1).sum(dim=1) == 0)


def test_masks_of_boxes_outside_of_the_image_are_empty():
    boxes = torch.tensor([[-50.0, 10, -20, 40], [10, 200, 40, 230], [150, 100, 200, 150]])
    inside = paste_masks(torch.ones(3, 14, 14), boxes, SIZE).flatten(1).sum(dim=1).tolist()
    assert inside[:2] == [0, 0]
    assert inside[2] == 20 * 10


def test_no_masks_are_legal():
    assert paste_masks(torch.zeros(0, 28, 28), torch.zeros(0, 4), SIZE).shape == (0, *SIZE)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert crop_masks(torch.zeros(0, *SIZE, dtype=torch.bool), nothing, torch.zeros(0, 4), 28).shape == (0, 28, 28)


def test_a_crop_tells_the_share_of_each_cell():
    mask = torch.zeros(1, *SIZE, dtype=torch.bool)
    mask[0, 40:60, 50:90] = True
    crop = crop_masks(mask, torch.tensor([0]), torch.tensor([[50.0, 40, 130, 80]]), 4)[0]
    # Samples lie on whole pixels' middles but for half a pixel, which a cell of 20 x 10 pixels hardly sees.
    wanted = torch.tensor([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
    torch.testing.assert_close(crop, wanted, rtol=0, atol=0.11)


def test_crops_are_torchvisions():
    masks = F.interpolate(_blobs(5, 9, 2)[:, None], SIZE, mode="bilinear")[:, 0] > 0.5
    boxes = _boxes(60, 3)
    owner = torch.arange(60) % 5
    ours = crop_masks(masks, owner, boxes, 28)
    theirs = project_masks_on_boxes(masks, boxes, owner, 28)
    assert 0.2 < float(theirs.mean()) < 0.8
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)
