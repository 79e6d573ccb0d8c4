import pytest
import torch

from sightline.assign.greedy import greedy_assignment
from sightline.assign.iou_matcher import BACKGROUND


@pytest.mark.parametrize("shape", [(0, 0), (4, 0), (0, 2)])
def test_nothing_to_assign(shape):
    assert greedy_assignment(torch.empty(shape), 0.5).tolist() == [BACKGROUND] * shape[0]


def test_every_truth_gets_an_anchor_however_low_and_the_rest_need_the_threshold():
    iou = torch.tensor([[0.9, 0.8], [0.6, 0.1], [0.4, 0.3], [0.1, 0.2]])
    assert greedy_assignment(iou, 0.5).tolist() == [0, 0, 1, BACKGROUND]
    assert greedy_assignment(iou, 0.95).tolist() == [0, BACKGROUND, 1, BACKGROUND]


def test_more_truths_than_anchors():
    assert greedy_assignment(torch.tensor([[0.3, 0.9, 0.5]]), 0.5).tolist() == [1]


def test_padding_is_never_assigned():
    iou = torch.tensor([[0.9, -1.0], [0.2, -1.0], [0.0, -1.0]])
    assert greedy_assignment(iou, 0.0).tolist() == [0, 0, 0]
    assert greedy_assignment(iou, 0.5).tolist() == [0, BACKGROUND, BACKGROUND]
    assert greedy_assignment(torch.full((2, 2), -1.0), 0.0).tolist() == [BACKGROUND] * 2


def test_the_input_stays():
    iou = torch.rand(6, 3)
    before = iou.clone()
    greedy_assignment(iou, 0.5)
    assert torch.equal(iou, before)
