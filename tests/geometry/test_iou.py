import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.geometry.iou import paired_giou, paired_iou, pairwise_giou, pairwise_iou

coordinate = st.floats(-1000, 1000, width=32) | st.integers(-3, 3).map(float)
any_boxes = st.lists(st.tuples(*[coordinate] * 4), max_size=6).map(
    lambda rows: torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
)


@given(any_boxes, any_boxes)
def test_bounded_symmetric_and_consistent_for_any_corners(a, b):
    iou, giou = pairwise_iou(a, b), pairwise_giou(a, b)
    assert iou.shape == giou.shape == (len(a), len(b))
    assert ((iou >= 0) & (iou <= 1)).all()
    assert ((giou >= -1) & (giou <= iou)).all()
    assert torch.equal(iou, pairwise_iou(b, a).mT)
    assert torch.equal(giou, pairwise_giou(b, a).mT)
    assert torch.equal(paired_iou(a, a), pairwise_iou(a, a).diagonal())
    assert torch.equal(paired_giou(a, a), pairwise_giou(a, a).diagonal())


def test_by_hand():
    a = torch.tensor([[0.0, 0, 2, 2]])
    b = torch.tensor([[0.0, 0, 2, 2], [1, 1, 3, 3], [3, 0, 4, 2], [2, 0, 4, 2], [1, 1, 1, 1]])
    assert pairwise_iou(a, b)[0].tolist() == pytest.approx([1, 1 / 7, 0, 0, 0])
    # Hulls 4, 9, 8, 8, 4; unions 4, 7, 6, 8, 4.
    assert pairwise_giou(a, b)[0].tolist() == pytest.approx([1, 1 / 7 - 2 / 9, -2 / 8, 0, 0])


def test_rounding_never_lifts_giou_above_iou():
    # The hull of nested boxes is the outer one, and so is their union but for rounding.
    corners = torch.rand(1000, 2, 4, generator=torch.Generator().manual_seed(0)).sort(-1).values * 500
    outer = corners[..., [0, 3]].mT.flatten(1)
    inner = corners[..., [1, 2]].mT.flatten(1)
    assert (paired_giou(outer, inner) <= paired_iou(outer, inner)).all()


@pytest.mark.parametrize("function", [pairwise_iou, pairwise_giou])
@pytest.mark.parametrize(("n", "m"), [(0, 0), (0, 3), (3, 0), (7, 2), (2, 7)])
def test_batches_broadcast(function, n, m):
    torch.manual_seed(0)
    anchors, truths = torch.rand(n, 4).sort(-1).values, torch.rand(5, m, 4).sort(-1).values
    expected = torch.stack([function(anchors, each) for each in truths])
    assert torch.equal(function(anchors, truths), expected)
    assert expected.shape == (5, n, m)


def test_the_longer_axis_is_contiguous():
    assert pairwise_iou(torch.rand(9, 4), torch.rand(2, 4)).stride() == (1, 9)
    assert pairwise_iou(torch.rand(2, 4), torch.rand(9, 4)).stride() == (9, 1)


@pytest.mark.parametrize("function", [pairwise_iou, pairwise_giou, paired_iou, paired_giou])
def test_gradients_are_right_and_finite_without_area(function):
    a = torch.tensor([[0.0, 0, 2, 3], [1, 1, 4, 4], [8, 8, 9, 9]], dtype=torch.float64, requires_grad=True)
    b = torch.tensor([[0.5, 0.2, 2.2, 2], [0, 2, 3, 6], [5, 5, 6, 7]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(function, (a, b))
    flat = torch.tensor([[3.0, 0, 3, 500], [0, 0, 0, 0], [0, 7, 9000, 7]], requires_grad=True)
    function(flat, flat.detach()).sum().backward()
    assert torch.isfinite(flat.grad).all()
