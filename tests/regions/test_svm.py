"""SVMs against their objective, hard-negative mining against a fit to everything, and classes that are bare."""

import numpy as np
import pytest

from sightline.regions.svm import NEVER, Examples, SVMSettings, fit_svm, mine

SETTINGS = SVMSettings(cost=0.05, new_negatives=60)


def two_clouds(positives: int, negatives: int, gap: float, seed: int = 0):
    rng = np.random.default_rng(seed)
    width = 6
    centre = np.zeros(width)
    centre[0] = gap
    return np.concatenate([rng.normal(size=(positives, width)) + centre, rng.normal(size=(negatives, width))])


def objective(weight, bias, features, positives, settings):
    """The primal: the bias is the weight of a constant feature and is held back as one."""
    sign = np.where(np.arange(len(features)) < positives, 1.0, -1.0)
    cost = np.where(sign > 0, settings.cost * settings.positive_weight, settings.cost)
    hinge = np.maximum(0, 1 - sign * (features @ weight + bias))
    return 0.5 * (weight @ weight + (bias / settings.offset) ** 2) + (cost * hinge).sum()


def test_the_hyperplane_minimises_the_hinge_loss():
    features = two_clouds(20, 60, 1.5)
    weight, bias, finished = fit_svm(features, 20, SETTINGS, seed=0)
    best = objective(weight, bias, features, 20, SETTINGS)
    rng = np.random.default_rng(0)
    assert finished
    for step in (1e-1, 1e-2):
        for _ in range(200):
            other, shift = weight + step * rng.normal(size=6), bias + step * rng.normal()
            assert objective(other, shift, features, 20, SETTINGS) > best - 2e-4


def examples_of(features, positives, images=10):
    """The positives in the first image, the rest spread over all."""
    count = len(features)
    starts = np.linspace(0, count, images + 1).astype(np.int64)
    starts[1] = max(starts[1], positives)
    negative = (np.arange(count) >= positives)[:, None]
    return Examples(features.astype(np.float32), starts, [np.arange(positives)], negative)


def test_mining_finds_what_a_fit_to_all_negatives_finds():
    """Two passes: what was easy for the first hyperplanes and is not for the last is found in the second."""
    features = two_clouds(30, 2000, 2.5)
    settings = SVMSettings(cost=0.05, new_negatives=60, passes=3)
    examples = examples_of(features, 30)
    found = mine(examples, settings, seed=0)
    norm = settings.norm / np.linalg.norm(examples.features, axis=1).mean()
    weight, bias, _ = fit_svm(examples.features.astype(np.float64) * norm, 30, settings, 0)
    everything, mined = features @ weight * norm + bias, features @ found.weight[0] + found.bias[0]
    assert np.abs(everything - mined).max() < 0.1 * everything.std()
    # It held far fewer, and let go of those that had become easy.
    assert 0 < found.hard[0] <= (mined[30:] > -1.2).sum() < 1500


def test_without_mining_hard_negatives_would_be_missed():
    """Easy background in the first images, a look-alike in the last one: the first fit alone takes it for an object."""
    rng = np.random.default_rng(0)
    objects = rng.normal(size=(20, 4)) * 0.1 + [3, 0, 0, 0]
    easy = rng.normal(size=(200, 4)) * 0.1 - [3, 0, 0, 0]
    alike = rng.normal(size=(20, 4)) * 0.1 + [3, 2, 0, 0]
    features = np.concatenate([objects, easy, alike]).astype(np.float32)
    starts = np.array([0, 120, 220, 240])
    negatives = (np.arange(240) >= 20)[:, None]
    settings = SVMSettings(cost=1.0, new_negatives=100)
    found = mine(Examples(features, starts, [np.arange(20)], negatives), settings, 0)
    margins = features @ found.weight[0] + found.bias[0]
    assert margins[:20].min() > 0 > margins[220:].max()
    blind = mine(Examples(features[:220], starts[:3], [np.arange(20)], negatives[:220]), settings, 0)
    assert (alike @ blind.weight[0] + blind.bias[0]).min() > 0


def test_regions_between_object_and_background_are_never_learned_from():
    features = two_clouds(10, 100, 3.0)
    examples = examples_of(features, 10)
    between = np.concatenate([features, features[:10] + 0.1])
    negatives = np.concatenate([examples.negatives, np.zeros((10, 1), bool)])
    starts = np.concatenate([examples.starts, [120]])
    settings = SVMSettings(cost=0.05, norm=1.0)
    one = mine(examples, settings, 0)
    other = mine(Examples(between.astype(np.float32), starts, examples.positives, negatives), settings, 0)
    cosine = (one.weight[0] @ other.weight[0]) / np.linalg.norm(one.weight[0]) / np.linalg.norm(other.weight[0])
    assert cosine > 0.999
    negatives[100 + 10 :] = True
    wrong = mine(Examples(between.astype(np.float32), starts, examples.positives, negatives), settings, 0)
    assert (features[:10] @ wrong.weight[0] + wrong.bias[0]).mean() < 0 < (features[:10] @ other.weight[0]).mean()


@pytest.mark.parametrize("positives", [0, 1])
def test_a_class_with_no_or_one_example(positives):
    features = two_clouds(positives, 100, 6.0)
    found = mine(examples_of(features, positives), SETTINGS, 0)
    margins = features @ found.weight[0] + found.bias[0]
    if positives:
        assert margins[0] > margins[1:].max()
    else:
        assert (margins == NEVER).all() and found.fits == 0


def test_objects_without_any_background_never_fire():
    found = mine(examples_of(two_clouds(10, 0, 1.0), 10, images=1), SETTINGS, 0)
    assert (found.bias == NEVER).all() and not found.weight.any()


def test_no_regions_at_all():
    nothing = Examples(np.zeros((0, 3), np.float16), np.zeros(3, np.int64), [np.zeros(0, int)], np.zeros((0, 1), bool))
    assert (mine(nothing, SETTINGS, 0).bias == NEVER).all()


def test_the_same_seed_gives_the_same_hyperplanes_and_half_floats_serve():
    features = two_clouds(20, 300, 2.0)
    examples = examples_of(features, 20)
    one, other = mine(examples, SETTINGS, 3), mine(examples, SETTINGS, 3)
    assert np.array_equal(one.weight, other.weight) and np.array_equal(one.bias, other.bias)
    halves = Examples(features.astype(np.float16), examples.starts, examples.positives, examples.negatives)
    assert np.allclose(mine(halves, SETTINGS, 3).weight, one.weight, atol=0.05)
