import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sightline.geometry.iou import pairwise_iou
from sightline.geometry.nms import batched_nms, nms


@st.composite
def crowds(draw):
    """Boxes that overlap a lot, with ties in position and score, in a few groups."""
    small = st.integers(0, 6)
    rows = draw(st.lists(st.tuples(small, small, st.integers(1, 5), st.integers(1, 5), small, small), max_size=25))
    table = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    boxes = torch.cat((table[:, :2], table[:, :2] + table[:, 2:4]), dim=1)
    return boxes, table[:, 4] / 6, table[:, 5].long() - 2


@settings(deadline=None)
@example((torch.tensor([[0.0, 0, 2, 3], [0, 0, 4, 5]]), torch.zeros(2), torch.ones(2, dtype=torch.int64)), 0.3)
@given(crowds(), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_kept_boxes_are_apart_and_every_dropped_one_has_a_better_keeper(crowd, threshold):
    boxes, scores, groups = crowd
    kept = batched_nms(boxes, scores, groups, threshold)
    # In float64, as torchvision's kernel compares: an IoU of float32's 0.3 is greater than 0.3.
    close = (pairwise_iou(boxes, boxes).double() > threshold) & (groups[:, None] == groups)
    assert not close[kept][:, kept].fill_diagonal_(False).any()
    rank = torch.empty_like(groups).scatter_(0, scores.argsort(descending=True, stable=True), torch.arange(len(boxes)))
    assert torch.equal(rank[kept], rank[kept].sort().values)
    dropped = torch.ones(len(boxes), dtype=torch.bool).index_fill_(0, kept, False).nonzero()[:, 0]
    beaten_by = close[dropped][:, kept] & (rank[kept] < rank[dropped][:, None])
    assert beaten_by.any(dim=1).all()


@settings(deadline=None)
@given(crowds())
def test_one_group_is_plain_suppression(crowd):
    boxes, scores, groups = crowd
    assert torch.equal(batched_nms(boxes, scores, torch.full_like(groups, 9), 0.5), nms(boxes, scores, 0.5))


def test_ties_keep_the_lower_index():
    boxes = torch.tensor([[0.0, 0, 9, 9]]).repeat(5, 1)
    scores = torch.tensor([0.5, 0.7, 0.7, 0.5, 0.7])
    assert nms(boxes, scores, 0.5).tolist() == [1]
    assert batched_nms(boxes, scores, torch.arange(5), 0.5).tolist() == [1, 2, 4, 0, 3]


def test_an_iou_equal_to_the_threshold_is_kept():
    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 1]])
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.5).tolist() == [0, 1]
    assert nms(boxes, torch.tensor([0.9, 0.8]), 0.49).tolist() == [0]


def test_large_coordinates_and_group_numbers_cost_no_precision():
    # An offset of group * 20,000 would leave float32 a precision of whole pixels: both boxes below would merge.
    boxes = torch.tensor([[19990.0, 0, 19990.5, 1], [19990.5, 0, 19991.0, 1]])
    groups = torch.full((2,), 10_000)
    assert batched_nms(boxes, torch.tensor([0.9, 0.8]), groups, 0.5).tolist() == [0, 1]


def test_no_boxes():
    nothing = torch.empty(0, 4)
    assert nms(nothing, torch.empty(0), 0.5).shape == (0,)
    assert batched_nms(nothing, torch.empty(0), torch.empty(0, dtype=torch.int64), 0.5).dtype == torch.int64
