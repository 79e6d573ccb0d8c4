"""How images become a batch: sizes, pixels and targets, against torchvision's own preparation."""

import pytest
import torch
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from sightline.structures import Target
from sightline.transforms.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation

SIZES = [(48, 64), (64, 48), (30, 200), (1, 1), (7, 500), (100, 100)]


@pytest.mark.parametrize("size", SIZES)
def test_pixels_boxes_and_masks_are_torchvisions(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    height, width = size
    image = torch.rand(3, height, width)
    box = torch.tensor([[0.0, 0.0, width * 0.5, height * 0.75]])
    peer = GeneralizedRCNNTransform(80, 133, list(IMAGENET_MEAN), list(IMAGENET_STD))
    images, targets = peer([image], [{"boxes": box.clone()}])
    preparation = Preparation(80, 133)
    batch = preparation.batch([image])
    assert batch.sizes == tuple(images.image_sizes)
    torch.testing.assert_close(batch.images, images.tensors)
    target = preparation.target(Target(box, torch.tensor([0]), size))
    torch.testing.assert_close(target.boxes, targets[0]["boxes"])
    torch.testing.assert_close(batch.to_original(target.boxes, 0), box)


def test_uint8_and_float_images_are_the_same_batch() -> None:
    image = torch.randint(0, 256, (3, 20, 30), dtype=torch.uint8)
    preparation = Preparation(20, 40)
    torch.testing.assert_close(preparation.image(image), preparation.image(image / 255))
    with pytest.raises(ValueError, match="uint8, or float"):
        preparation.image(image.to(torch.int32))
    with pytest.raises(ValueError, match=r"\(3, H, W\)"):
        preparation.image(image[0])


def test_images_of_a_batch_are_padded_with_zeros_at_the_right_and_at_the_bottom() -> None:
    preparation = Preparation(32, 64, divisor=16)
    batch = preparation.batch([torch.ones(3, 32, 40), torch.ones(3, 40, 32)])
    assert batch.images.shape == (2, 3, 48, 48)
    assert batch.sizes == ((32, 40), (40, 32))
    assert float(batch.images[0, :, 32:].abs().sum()) == 0
    assert float(batch.images[0, :, :, 40:].abs().sum()) == 0


def test_masks_and_keypoints_follow_the_boxes_and_no_object_is_legal() -> None:
    preparation = Preparation(40, 80)
    mask = torch.zeros(1, 20, 30, dtype=torch.bool)
    mask[0, 5:10, 10:20] = True
    keypoints = torch.tensor([[[10.0, 5.0, 2.0]]])
    target = Target(torch.tensor([[10.0, 5, 20, 10]]), torch.tensor([0]), (20, 30), masks=mask, keypoints=keypoints)
    prepared = preparation.target(target)
    rows, columns = prepared.masks[0].nonzero(as_tuple=True)
    assert prepared.boxes.tolist() == [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]]
    assert prepared.keypoints.tolist() == [[[20.0, 10.0, 2.0]]]
    assert float(prepared.areas) == float(mask.sum()) * 4
    empty = preparation.target(target.select(torch.zeros(1, dtype=torch.bool)))
    assert empty.masks.shape == (0, 40, 60)
