"""Formulas of geometry and assign against slow loops in plain Python."""

import pytest
import torch

from sightline.assign.greedy import greedy_assignment
from sightline.assign.iou_matcher import BACKGROUND
from sightline.geometry.iou import pairwise_giou, pairwise_iou
from sightline.geometry.nms import batched_nms


def random_boxes(count, seed, span=60.0):
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator, dtype=torch.float64) * span
    return torch.cat((low, low + torch.rand(count, 2, generator=generator, dtype=torch.float64) * 40 + 1), dim=1)


def loop_iou_and_giou(a, b):
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    inter = width * height
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - inter
    hull = (max(a[2], b[2]) - min(a[0], b[0])) * (max(a[3], b[3]) - min(a[1], b[1]))
    return inter / union, inter / union - (hull - union) / hull


def test_iou_and_giou():
    a, b = random_boxes(12, 0), random_boxes(9, 1)
    expected = torch.tensor([[loop_iou_and_giou(x, y) for y in b.tolist()] for x in a.tolist()], dtype=torch.float64)
    assert torch.allclose(pairwise_iou(a, b), expected[..., 0])
    assert torch.allclose(pairwise_giou(a, b), expected[..., 1])


@pytest.mark.parametrize("threshold", [0.2, 0.5])
def test_suppression_is_the_lectures_loop(threshold):
    boxes = random_boxes(80, 2, span=20)
    scores = (torch.rand(80, generator=torch.Generator().manual_seed(3), dtype=torch.float64) * 20).round() / 20
    groups = torch.arange(80) % 3
    waiting = sorted(range(80), key=lambda i: (-scores[i].item(), i))
    kept = []
    while waiting:
        best = waiting.pop(0)
        kept.append(best)
        waiting = [
            i
            for i in waiting
            if groups[i] != groups[best] or loop_iou_and_giou(boxes[i].tolist(), boxes[best].tolist())[0] <= threshold
        ]
    assert 10 < len(kept) < 75
    assert batched_nms(boxes, scores, groups, threshold).tolist() == kept


def loop_assignment(iou, threshold):
    anchors, truths = iou.shape
    values = iou.tolist()
    free_rows, free_columns, matched = set(range(anchors)), set(range(truths)), [BACKGROUND] * anchors
    while free_rows and free_columns:
        row, column = max(
            ((r, c) for r in sorted(free_rows) for c in sorted(free_columns)), key=lambda rc: values[rc[0]][rc[1]]
        )
        matched[row] = column
        free_rows.remove(row)
        free_columns.remove(column)
    for row in free_rows:
        column = max(range(truths), key=lambda c: values[row][c])
        if values[row][column] >= threshold:
            matched[row] = column
    return matched


@pytest.mark.parametrize("seed", range(30))
def test_assignment_in_rounds_is_assignment_one_by_one(seed):
    generator = torch.Generator().manual_seed(seed)
    anchors, truths = (int(torch.randint(1, 12, (), generator=generator)) for _ in range(2))
    # Few distinct values, so that ties decide often.
    iou = torch.randint(0, 4 + seed, (anchors, truths), generator=generator) / (4 + seed)
    assert greedy_assignment(iou, 0.5).tolist() == loop_assignment(iou, 0.5)
