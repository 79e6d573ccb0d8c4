import pytest
import torch

from sightline.assign.iou_matcher import BACKGROUND, BETWEEN, IoUMatcher

IOU = torch.tensor([[0.8, 0.1], [0.5, 0.6], [0.2, 0.1], [0.3, 0.3], [0.7, 0.0], [0.0, 0.29]])


def test_thresholds_are_inclusive_and_equal_columns_give_the_first():
    assert IoUMatcher(0.7, 0.3)(IOU).tolist() == [0, BETWEEN, BACKGROUND, BETWEEN, 0, BACKGROUND]
    assert IoUMatcher(0.3, 0.3)(IOU).tolist() == [0, 1, BACKGROUND, 0, 0, BACKGROUND]


def test_keep_best_gives_an_anchor_its_own_best_truth():
    # Anchor 1 is the best of ground truth 1; anchor 2 below is the best of 1 but overlaps 0 more.
    assert IoUMatcher(0.7, 0.3, keep_best=True)(IOU).tolist() == [0, 1, BACKGROUND, BETWEEN, 0, BACKGROUND]
    low = torch.tensor([[0.9, 0.0], [0.0, 0.1], [0.25, 0.2], [0.0, 0.2]])
    assert IoUMatcher(0.7, 0.3, keep_best=True)(low).tolist() == [0, BACKGROUND, 0, 1]


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("shape", [(0, 0), (5, 0), (0, 3), (2, 5, 0), (2, 0, 3)])
def test_nothing_to_match(shape, keep_best):
    matches = IoUMatcher(0.7, 0.3, keep_best)(torch.empty(shape))
    assert matches.dtype == torch.int64
    assert torch.equal(matches, torch.full(shape[:-1], BACKGROUND))


@pytest.mark.parametrize("keep_best", [False, True])
def test_padding_changes_nothing_and_batches_are_images(keep_best):
    generator = torch.Generator().manual_seed(0)
    iou = (torch.rand(4, 50, 3, generator=generator) * 10).round() / 10 * torch.rand(4, 1, 1, generator=generator)
    matcher = IoUMatcher(0.5, 0.3, keep_best)
    expected = torch.stack([matcher(each) for each in iou])
    padded = torch.cat((iou, torch.full((4, 50, 2), -1.0)), dim=2)
    assert torch.equal(matcher(padded), expected)
    assert (expected >= 0).any()


@pytest.mark.parametrize("keep_best", [False, True])
@pytest.mark.parametrize("low", [0.0, 0.3])
def test_an_image_of_padding_alone_is_background(keep_best, low):
    matches = IoUMatcher(0.5, low, keep_best)(torch.full((2, 4, 3), -1.0))
    assert (matches == BACKGROUND).all()


def test_the_input_stays():
    iou = IOU.clone()
    IoUMatcher(0.7, 0.3, keep_best=True)(iou)
    assert torch.equal(iou, IOU)


def test_thresholds_in_the_wrong_order_are_refused():
    with pytest.raises(ValueError, match="must not exceed"):
        IoUMatcher(0.3, 0.7)
