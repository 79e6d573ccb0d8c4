import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.geometry import boxes as box_functions
from sightline.geometry.boxes import areas, at_least, clip, sides, xyxy_to_cxcywh, xyxy_to_xywh

BOX = torch.tensor([10.0, 20.0, 40.0, 60.0])


@pytest.mark.parametrize(
    ("function", "expected"),
    [("xyxy_to_xywh", [10, 20, 30, 40]), ("xyxy_to_cxcywh", [25, 40, 30, 40])],
)
@pytest.mark.parametrize("leading", [(), (0,), (3,), (2, 0), (2, 5)])
def test_forms_and_their_inverses(function, expected, leading):
    boxes = BOX.expand(*leading, 4)
    converted = getattr(box_functions, function)(boxes)
    assert torch.equal(converted, torch.tensor(expected, dtype=torch.float32).expand(*leading, 4))
    source, target = function.split("_to_")
    assert torch.equal(getattr(box_functions, f"{target}_to_{source}")(converted), boxes)


def test_areas_and_sides_of_good_and_degenerate_boxes():
    boxes = torch.tensor([[0.0, 0, 3, 4], [5, 5, 5, 9], [4, 4, 1, 1], [2, 0, 1, 7]])
    assert areas(boxes).tolist() == [12, 0, 0, 0]
    assert [side.tolist() for side in sides(boxes)] == [[3, 0, -3, -1], [4, 4, -3, 7]]
    assert areas(torch.empty(2, 0, 4)).shape == (2, 0)


def test_at_least_needs_both_sides_and_includes_the_minimum():
    boxes = torch.tensor([[0.0, 0, 3, 3], [0, 0, 2.9, 9], [0, 0, 9, 2.9]])
    assert at_least(boxes, 3).tolist() == [True, False, False]


@given(st.lists(st.tuples(*[st.floats(-500, 500, width=32)] * 4), max_size=8))
def test_clipped_boxes_lie_in_the_image_and_inner_ones_stay(rows):
    boxes = torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)
    before = boxes.clone()
    clipped = clip(boxes, (50, 120))
    assert torch.equal(boxes, before)
    assert ((clipped >= 0) & (clipped <= torch.tensor([120.0, 50, 120, 50]))).all()
    assert torch.equal(clip(clipped, (50, 120)), clipped)


def test_functions_are_differentiable():
    boxes = torch.tensor([[3.0, 4, 30, 40], [-5, 7, 90, 70]], dtype=torch.float64, requires_grad=True)
    for function in (areas, xyxy_to_xywh, xyxy_to_cxcywh, lambda b: clip(b, (50, 60))):
        assert torch.autograd.gradcheck(function, boxes)
