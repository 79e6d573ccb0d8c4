"""Mask and Keypoint R-CNN: which maps learn, from where, and what left and right are."""

import math

import pytest
import torch

from sightline.detectors.keypoint_rcnn import COCO_KEYPOINTS, KeypointRCNN, KeypointRCNNConfig
from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
from sightline.recipes import GradientStage
from sightline.regions.keypoint_branch import mirror_pairs
from sightline.structures import Classes, Target
from sightline.transforms.flip import HorizontalFlip

SMALL = {
    "backbone": "resnet18",
    "channels": 16,
    "head_width": 32,
    "short_side": 64,
    "long_side": 96,
    "proposals": 20,
    "region_samples": 16,
}
BOXES = torch.tensor([[8.0, 8, 56, 60], [30, 10, 60, 40]])
IMAGE = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))


def mask_rcnn(classes: int) -> MaskRCNN:
    torch.manual_seed(0)
    config = MaskRCNNConfig(**SMALL, mask_width=8, mask_depth=2)
    return MaskRCNN(config, Classes(tuple(f"class {i}" for i in range(classes))))


def masked(ignore: torch.Tensor | None = None) -> Target:
    masks = torch.zeros(2, 64, 64, dtype=torch.bool)
    masks[0, 8:60, 8:30] = masks[1, 10:25, 30:60] = True
    return Target(BOXES, torch.tensor([0, 0]), (64, 64), ignore=ignore, masks=masks)


@pytest.mark.parametrize("classes", [1, 12])
def test_masks_begin_at_one_half_whatever_the_number_of_classes(classes: int) -> None:
    system = mask_rcnn(classes)
    loss = system.loss(system.prepare(IMAGE), [masked()])["mask"]
    assert float(loss.count) > 0
    assert float(loss.value.detach()) == pytest.approx(math.log(2), abs=0.02)


def test_the_maps_of_other_classes_learn_nothing_from_a_mask() -> None:
    system = mask_rcnn(3)
    system.loss(system.prepare(IMAGE), [masked()])["mask"].value.backward()
    gradient = system.mask_branch.logits.weight.grad.flatten(1).abs().sum(dim=1)
    assert float(gradient[0]) > 0
    assert gradient[1:].tolist() == [0, 0]


def test_ignored_objects_give_no_masks_and_shift_no_others() -> None:
    """The first of two objects is ignored: what is learned is the second's mask, at its place."""
    system = mask_rcnn(1)
    regions: list[object] = []
    sampler = system.sampler

    def noted(*arguments: object) -> object:
        regions.append(sampler(*arguments))
        return regions[-1]

    system.sampler = noted
    target = masked(torch.tensor([True, False]))
    with_both = system.loss(system.prepare(IMAGE), [target])["mask"]
    alone = target.select(torch.tensor([False, True]))
    torch.manual_seed(0)
    again = system.mask_loss(system.features(system.prepare(IMAGE)), regions[0], [alone])
    assert float(with_both.count) == float(again.count) > 0
    torch.testing.assert_close(with_both.total, again.total)


@pytest.mark.parametrize("form", ["masks", "keypoints"])
def test_targets_without_what_is_learned_are_refused(form: str) -> None:
    if form == "masks":
        system = mask_rcnn(1)
    else:
        system = KeypointRCNN(KeypointRCNNConfig(**SMALL, keypoint_width=8, keypoint_depth=1), Classes(("one",)))
    bare = Target(BOXES, torch.tensor([0, 0]), (64, 64))
    with pytest.raises(ValueError, match=f"targets that have {form}"):
        system.loss(system.prepare(IMAGE), [bare])


def test_keypoints_that_are_not_labelled_cost_nothing() -> None:
    torch.manual_seed(0)
    config = KeypointRCNNConfig(**SMALL, keypoints=("tip", "base"), keypoint_width=8, keypoint_depth=1)
    system = KeypointRCNN(config, Classes(("one",)))
    points = torch.tensor([[[20.0, 20, 2], [30, 30, 0]], [[40.0, 20, 0], [40, 30, 0]]])
    loss = system.loss(system.prepare(IMAGE), [Target(BOXES, torch.tensor([0, 0]), (64, 64), keypoints=points)])
    loss["keypoint"].value.backward()
    # The second keypoint is never labelled: its map learns nothing.
    gradient = system.keypoint_branch.maps.weight.grad.abs().sum(dim=(0, 2, 3))
    assert float(gradient[0]) > 0
    assert float(gradient[1]) == 0


def test_left_and_right_trade_places_in_a_flip() -> None:
    pairs = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
    assert mirror_pairs(COCO_KEYPOINTS) == pairs
    assert mirror_pairs(("top", "left end", "right end", "leftover")) == ((1, 2),)
    system = KeypointRCNN(KeypointRCNNConfig(**SMALL, keypoint_width=8, keypoint_depth=1), Classes(("person",)))
    (stage,) = system.recipe().stages
    assert isinstance(stage, GradientStage)
    (flip,) = [each for each in stage.augmentation if isinstance(each, HorizontalFlip)]
    assert flip.keypoint_pairs == pairs


def test_the_gradient_of_keypoints_is_held_within_bounds_whatever_their_names() -> None:
    for names in (COCO_KEYPOINTS, ("tip", "base")):
        config = KeypointRCNNConfig(**SMALL, keypoints=names, keypoint_width=8, keypoint_depth=1)
        (stage,) = KeypointRCNN(config, Classes(("one",))).recipe().stages
        assert isinstance(stage, GradientStage) and stage.clip_norm == 10
