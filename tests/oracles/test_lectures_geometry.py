"""The lectures' worked examples of anchors, assignment and box regression.

The picture is the dog and the cat of "Dive into Deep Learning", 728 pixels wide and 561 high.
"""

import math

import pytest
import torch

from sightline.assign.greedy import greedy_assignment
from sightline.geometry.anchors import multibox_prior
from sightline.geometry.coding import BoxCoder, lecture_coder
from sightline.geometry.iou import pairwise_iou

HEIGHT, WIDTH = 561, 728
SIZES, RATIOS = (0.75, 0.5, 0.25), (1, 2, 0.5)
DOG, CAT = (60, 45, 378, 516), (400, 112, 655, 493)

TRUTHS = torch.tensor([[0.1, 0.08, 0.52, 0.92], [0.55, 0.2, 0.9, 0.88]])
ANCHORS = torch.tensor(
    [
        [0, 0.1, 0.2, 0.3],
        [0.15, 0.2, 0.4, 0.4],
        [0.63, 0.05, 0.88, 0.98],
        [0.66, 0.45, 0.8, 0.8],
        [0.57, 0.3, 0.92, 0.9],
    ]
)


def test_anchors_at_one_pixel_of_the_picture():
    anchors = multibox_prior((HEIGHT, WIDTH), SIZES, RATIOS).reshape(HEIGHT, WIDTH, 5, 4)
    # The book prints this very anchor.
    assert anchors[250, 250, 0].tolist() == pytest.approx([0.06, 0.07, 0.63, 0.82], abs=0.005)
    pixels = anchors[250, 250] * torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    sides = (pixels[:, 2:] - pixels[:, :2]).tolist()
    expected = [(0.75, 1), (0.75, 2), (0.75, 0.5), (0.5, 1), (0.25, 1)]
    for side, (size, ratio) in zip(sides, expected, strict=True):
        assert side == pytest.approx([HEIGHT * size * math.sqrt(ratio), HEIGHT * size / math.sqrt(ratio)], rel=1e-4)


def test_the_two_forms_of_the_truths_are_the_same_boxes():
    pixels = TRUTHS * torch.tensor([WIDTH, HEIGHT, WIDTH, HEIGHT])
    iou = pairwise_iou(pixels, torch.tensor([DOG, CAT], dtype=torch.float32))
    assert iou.diagonal().min() > 0.95
    assert iou[0, 1] == iou[1, 0] == 0


def test_labels_of_the_dog_and_cat_anchors():
    matches = greedy_assignment(pairwise_iou(ANCHORS, TRUTHS), threshold=0.5)
    labels = torch.cat((torch.zeros(1), torch.tensor([0.0, 1.0]) + 1))[matches + 1]
    assert labels[None].tolist() == [[0, 1, 2, 0, 2]]


def test_offsets_of_the_dog_and_cat_anchors():
    offsets = lecture_coder().encode(TRUTHS[[0, 1, 1]], ANCHORS[[1, 2, 4]])
    # As the book prints them, to three digits.
    book = [[1.40, 10.0, 2.59, 7.18], [-1.20, 0.269, 1.68, -1.57], [-0.571, -1.00, 0.0, 0.626]]
    assert torch.allclose(offsets, torch.tensor(book), rtol=0.004, atol=2e-5)


def test_the_matrix_of_nine_anchors_and_four_truths():
    # The lectures give the order and no numbers: box 3 to anchor 2, 1 to 7, 4 to 5, 2 to 9 (counted from 1).
    iou = torch.full((9, 4), 0.05)
    iou[1] = torch.tensor([0.90, 0.70, 0.95, 0.93])
    iou[6] = torch.tensor([0.85, 0.80, 0.83, 0.75])
    iou[4] = torch.tensor([0.60, 0.30, 0.20, 0.65])
    iou[8] = torch.tensor([0.10, 0.40, 0.10, 0.55])
    iou[0, 2] = 0.55
    matches = greedy_assignment(iou, threshold=0.5)
    assert {anchor: truth for anchor, truth in enumerate(matches.tolist(), 1) if truth >= 0} == {
        1: 2,  # not chosen by any box, yet over the threshold with box 3
        2: 2,
        5: 3,
        7: 0,
        9: 1,
    }


def test_the_regression_triple_is_linear_in_the_lectures_and_logarithmic_here():
    proposal = torch.tensor([0.0, 0, 8, 8])
    coder = BoxCoder()
    assert coder.encode(proposal, proposal).tolist() == [0, 0, 0, 0]
    too_far_left = torch.tensor([2.0, 0, 10, 8])
    assert coder.encode(too_far_left, proposal).tolist() == [0.25, 0, 0, 0]
    too_wide = torch.tensor([0.5, 0, 7.5, 8])  # 7/8 as wide about the same centre
    assert (7 - 8) / 8 == -0.125
    assert coder.encode(too_wide, proposal).tolist() == pytest.approx([0, 0, math.log(7 / 8), 0])
