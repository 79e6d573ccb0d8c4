import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sightline.assign.samplers import BalancedSampler


@given(
    st.lists(st.lists(st.integers(-1, 1), min_size=9, max_size=9), max_size=4),
    st.integers(0, 12),
    st.sampled_from([0.0, 0.25, 0.5, 1.0]),
)
def test_counts_are_exact_and_draws_are_eligible(rows, count, fraction):
    labels = torch.tensor(rows, dtype=torch.int64).reshape(-1, 9)
    positive, negative = BalancedSampler(count, fraction)(labels, torch.rand(labels.shape))
    assert positive.dtype == negative.dtype == torch.bool
    assert (labels[positive] == 1).all()
    assert (labels[negative] == 0).all()
    positives = (labels == 1).sum(1).clamp(max=int(count * fraction))
    assert torch.equal(positive.sum(1), positives)
    assert torch.equal(negative.sum(1), torch.minimum((labels == 0).sum(1), count - positives))


def test_every_entry_is_equally_likely():
    labels = torch.tensor([1] * 8 + [-1] * 4 + [0] * 12).expand(4000, -1)
    keys = torch.rand(labels.shape, generator=torch.Generator().manual_seed(0))
    positive, negative = BalancedSampler(8, 0.25)(labels, keys)
    share = (positive | negative).float().mean(0)
    # Standard error of a share: sqrt(0.25 * 0.75 / 4000) = 0.007.
    assert torch.allclose(share[:8], torch.tensor(2 / 8), atol=0.03)
    assert torch.allclose(share[12:], torch.tensor(6 / 12), atol=0.04)
    # Independent of each other: a pair of positives is drawn in 1 of 28 rows.
    assert (positive[:, 0] & positive[:, 1]).float().mean().item() == pytest.approx(1 / 28, abs=0.015)


def test_the_highest_keys_are_drawn():
    labels = torch.tensor([[1, 1, 0, 0, 0, -1], [0, 0, 0, 0, 1, 1]])
    keys = torch.tensor([[0.1, 0.9, 0.3, 0.8, 0.5, 1.0], [0.4, 0.3, 0.2, 0.1, 0.0, 0.05]])
    positive, negative = BalancedSampler(3, 0.4)(labels, keys)
    assert positive.nonzero().tolist() == [[0, 1], [1, 5]]
    assert negative.nonzero().tolist() == [[0, 3], [0, 4], [1, 0], [1, 1]]


@pytest.mark.parametrize("shape", [(0,), (2, 0), (0, 5)])
def test_nothing_to_draw(shape):
    positive, negative = BalancedSampler(16, 0.5)(torch.zeros(shape, dtype=torch.int64), torch.zeros(shape))
    assert positive.shape == negative.shape == shape


@pytest.mark.parametrize(("count", "fraction"), [(-1, 0.5), (4, 1.5), (4, -0.1)])
def test_settings_out_of_range_are_refused(count, fraction):
    with pytest.raises(ValueError, match="BalancedSampler needs"):
        BalancedSampler(count, fraction)
