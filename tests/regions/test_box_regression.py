"""Ridge regression in closed form against the gradient of its objective, and the lectures' targets."""

import math

import numpy as np
import pytest
import torch

from sightline.geometry.coding import rcnn_coder
from sightline.regions.box_regression import fit_ridge


def objective(weight, bias, features, targets, ridge):
    misses = targets - features @ weight.T - bias
    return (misses**2).sum() + ridge * (weight**2).sum()


@pytest.mark.parametrize(("count", "width"), [(40, 7), (7, 40), (20, 20), (1, 5)])
def test_nothing_near_the_answer_is_better(count, width):
    rng = np.random.default_rng(count)
    features = rng.normal(3, 2, (count, width)).astype(np.float32)
    targets = rng.normal(1, 1, (count, 4))
    found = fit_ridge(features, targets, ridge=3.0)
    x = torch.tensor(features, dtype=torch.float64)
    weight = torch.tensor(found.weight, requires_grad=True)
    bias = torch.tensor(found.bias, requires_grad=True)
    objective(weight, bias, x, torch.tensor(targets), 3.0).backward()
    assert weight.grad.abs().max() < 1e-6 and bias.grad.abs().max() < 1e-6


def test_both_normal_matrices_give_the_same_answer():
    """One more column of zeros, again and again, turns many examples into few without changing the problem."""
    rng = np.random.default_rng(0)
    features, targets = rng.normal(size=(30, 10)).astype(np.float32), rng.normal(size=(30, 4))
    few = fit_ridge(features, targets, 5.0)
    many = fit_ridge(np.concatenate([features, np.zeros((30, 30), np.float32)], axis=1), targets, 5.0)
    assert np.allclose(few.weight, many.weight[:, :10], atol=1e-9) and np.allclose(few.bias, many.bias, atol=1e-9)


def test_blocks_make_no_difference(monkeypatch):
    rng = np.random.default_rng(0)
    for shape in ((50, 6), (6, 50)):
        features, targets = rng.normal(size=shape).astype(np.float32), rng.normal(size=(shape[0], 4))
        whole = fit_ridge(features, targets, 2.0)
        monkeypatch.setattr("sightline.regions.box_regression._BLOCK", 7)
        parts = fit_ridge(features, targets, 2.0)
        monkeypatch.undo()
        assert np.allclose(whole.weight, parts.weight, atol=1e-10)


def test_no_example_moves_nothing():
    found = fit_ridge(np.zeros((0, 6), np.float32), np.zeros((0, 4)), 1000.0)
    assert not found.weight.any() and not found.bias.any() and found.weight.shape == (4, 6)


def test_a_strong_penalty_leaves_the_mean_shift():
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(10, 4)) + 2
    found = fit_ridge(rng.normal(size=(10, 3)).astype(np.float32), targets, 1e12)
    assert np.allclose(found.weight, 0, atol=1e-9) and np.allclose(found.bias, targets.mean(axis=0))


def test_the_lectures_three_regions():
    """Lecture D's regions of one object: it fits, it lies a quarter to the left, it is an eighth too wide.

    The picture writes the change of width as a share, -0.125; the paper's target is the logarithm of the same factor.
    """
    target = torch.tensor([[40.0, 40.0, 120.0, 120.0]])
    regions = torch.tensor([[40.0, 40.0, 120.0, 120.0], [20.0, 40.0, 100.0, 120.0]])
    wide = torch.tensor([[40.0 - 40 / 7, 40.0, 120.0 + 40 / 7, 120.0]])
    coder = rcnn_coder((1.0, 1.0, 1.0, 1.0))
    assert torch.allclose(coder.encode(target, regions), torch.tensor([[0, 0, 0, 0], [0.25, 0, 0, 0]]))
    assert torch.allclose(coder.encode(target, wide), torch.tensor([[0, 0, math.log(1 - 0.125), 0]]), atol=1e-6)
    assert torch.allclose(coder.encode(target, wide)[0, 2].exp() - 1, torch.tensor(-0.125))


def test_a_shift_that_the_features_tell_is_undone():
    """The feature is how far a region lies off: the regression learns to put it back."""
    rng = np.random.default_rng(1)
    shift = rng.uniform(-0.3, 0.3, (200, 1))
    targets = np.concatenate([-shift, np.zeros((200, 3))], axis=1)
    found = fit_ridge((shift * 100).astype(np.float32), targets, 1000.0)
    assert np.allclose(found.weight[0], -0.01, rtol=0.02) and np.allclose(found.weight[1:], 0, atol=1e-6)
