import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.geometry.coding import BoxCoder, lecture_coder, rcnn_coder

# No side is more than 62.5 times another, where decoding is clipped.
corner, side = st.floats(0, 1000, width=32), st.floats(10, 500, width=32)
box = st.tuples(corner, corner, side, side).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
CODERS = [BoxCoder(), rcnn_coder(), lecture_coder(), BoxCoder(mean=(0.1, -0.2, 0.3, 0), std=(0.1, 1, 2, 3), clip=9)]


@pytest.mark.parametrize("coder", CODERS)
@given(st.lists(st.tuples(box, box), max_size=5))
def test_decoding_inverts_encoding(coder, pairs):
    boxes, anchors = torch.tensor(pairs, dtype=torch.float64).reshape(-1, 2, 4).unbind(1)
    assert torch.allclose(coder.decode(coder.encode(boxes, anchors), anchors), boxes, rtol=0, atol=1e-4)
    # In float32 as well, up to its seven digits.
    boxes, anchors = boxes.float(), anchors.float()
    assert torch.allclose(coder.decode(coder.encode(boxes, anchors), anchors), boxes, rtol=2e-6, atol=1e-3)


def test_growth_is_bounded_and_shrinking_is_not():
    anchor = torch.tensor([[0.0, 0, 16, 16]])
    huge = BoxCoder().decode(torch.tensor([[0.0, 0, 50, -50]]), anchor)
    assert (huge[0, 2] - huge[0, 0]).item() == pytest.approx(1000, rel=1e-5)
    assert (huge[0, 3] - huge[0, 1]).item() == pytest.approx(0, abs=1e-5)
    assert BoxCoder(clip=0.0).decode(torch.tensor([[0.0, 0, 3, 3]]), anchor).tolist() == anchor.tolist()


def test_mean_and_std_are_the_lectures_normalisation():
    coder = BoxCoder(mean=(0.5, 0.0, 0.1, 0.0), std=(0.1, 0.2, 0.3, 0.4))
    anchor, target = torch.tensor([0.0, 0, 10, 20]), torch.tensor([5.0, 4, 25, 44])
    # Centres (5, 10) and (15, 24); sides (10, 20) and (20, 40).
    expected = [(1.0 - 0.5) / 0.1, 0.7 / 0.2, (math.log(2) - 0.1) / 0.3, math.log(2) / 0.4]
    assert coder.encode(target, anchor).tolist() == pytest.approx(expected, rel=1e-5)


def test_anchors_broadcast_and_zero_boxes_are_legal():
    anchors = torch.tensor([[0.0, 0, 8, 8], [4, 4, 8, 20]])
    deltas = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    decoded = rcnn_coder().decode(deltas, anchors)
    assert torch.equal(decoded[1], rcnn_coder().decode(deltas[1], anchors))
    assert rcnn_coder().encode(torch.empty(3, 0, 4), torch.empty(0, 4)).shape == (3, 0, 4)


def test_low_precision_deltas_keep_the_anchors_precision():
    anchors = torch.tensor([[1000.25, 0, 1008.75, 8]])
    deltas = torch.tensor([[0.3, -0.2, 0.1, 0.5]], dtype=torch.bfloat16)
    coder = BoxCoder(mean=(0.1, 0.1, 0.1, 0.1), std=(0.3, 0.3, 0.3, 0.3))
    decoded = coder.decode(deltas, anchors)
    assert decoded.dtype == torch.float32
    assert torch.equal(decoded, coder.decode(deltas.float(), anchors))


def test_decoding_is_differentiable():
    anchors = torch.tensor([[0.0, 0, 8, 8], [4, 4, 8, 20]], dtype=torch.float64)
    deltas = torch.full((2, 4), 0.3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: lecture_coder().decode(d, anchors), deltas)


def test_a_std_of_zero_is_refused():
    with pytest.raises(ValueError, match="std must be positive"):
        BoxCoder(std=(1, 1, 0, 1))
