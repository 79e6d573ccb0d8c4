import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from sightline.evaluation.calibration import TEMPERATURES, fit_temperature, reliability


def test_ece_by_hand():
    # Five bins. (0.2, 0.4] holds 0.4 and 0.3, one right: |0.5 - 0.35|. (0.8, 1] holds 0.9 and 1.0, one right.
    scores, correct = np.asarray([0.4, 0.3, 0.9, 1.0]), np.asarray([True, False, True, False])
    found = reliability(scores, correct, bins=5)
    assert found.counts.tolist() == [0, 2, 0, 0, 2]
    assert found.scores == pytest.approx([math.nan, 0.35, math.nan, math.nan, 0.95], nan_ok=True)
    assert found.right == pytest.approx([math.nan, 0.5, math.nan, math.nan, 0.5], nan_ok=True)
    assert found.ece == pytest.approx(2 / 4 * 0.15 + 2 / 4 * 0.45)
    assert found.brier == pytest.approx((0.6**2 + 0.3**2 + 0.1**2 + 1) / 4)
    assert found.detections == 4


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("bins", [1, 7, 15])
def test_ece_is_that_of_a_plain_loop(seed, bins):
    rng = np.random.default_rng(seed)
    scores = rng.choice([rng.random(), 0.0, 1.0, 0.2, 0.4], 200) if seed == 0 else rng.random(200)
    correct = rng.random(200) < scores**2
    total = 0.0
    for index in range(bins):
        low, high = index / bins, (index + 1) / bins
        rows = [k for k in range(200) if low < scores[k] <= high or (index == 0 and scores[k] == 0)]
        if rows:
            total += abs(sum(correct[k] for k in rows) - sum(scores[k] for k in rows)) / 200
    assert reliability(scores, correct, bins).ece == pytest.approx(total, abs=1e-12)


def test_nll_by_hand():
    found = reliability(np.asarray([0.8, 0.3]), np.asarray([True, False]))
    assert found.nll == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2)


def test_without_detections_nothing_is_measured():
    found = reliability(np.zeros(0), np.zeros(0, bool))
    assert all(math.isnan(value) for value in (found.ece, found.brier, found.nll))
    assert found.counts.sum() == 0
    with pytest.raises(ValueError, match=r"scores in 0\.\.1"):
        reliability(np.asarray([1.5]), np.asarray([True]))


def sample(temperature, seed, count=4000):
    """Scores whose log-odds are too large by a factor."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(0, 1.5, count)
    correct = rng.random(count) < 1 / (1 + np.exp(-odds))
    return 1 / (1 + np.exp(-np.clip(odds * temperature, -16, 16))), correct


@pytest.mark.parametrize("temperature", [0.7, 1.0, 1.8, 4.0])
def test_the_temperature_is_the_one_that_an_optimiser_of_scipys_finds(temperature):
    scores, correct = sample(temperature, seed=int(temperature * 10))

    def loss(value):
        probability = 1 / (1 + np.exp(-np.log(scores / (1 - scores)) / value))
        return -np.mean(np.where(correct, np.log(probability), np.log(1 - probability)))

    reference = minimize_scalar(loss, bounds=TEMPERATURES, method="bounded", options={"xatol": 1e-9})
    fitted = fit_temperature(scores, correct)
    assert fitted.value == pytest.approx(reference.x, rel=1e-5)
    assert fitted.value == pytest.approx(temperature, rel=0.1)
    assert (fitted.detections, fitted.note) == (4000, "")


@pytest.mark.parametrize(
    ("scores", "correct"),
    [
        ([], []),
        ([0.9] * 99, [True] * 50 + [False] * 49),
        ([0.9] * 200, [True] * 200),
        ([0.9] * 200, [True] * 9 + [False] * 191),
    ],
)
def test_too_few_detections_leave_scores_alone_and_say_so(scores, correct):
    fitted = fit_temperature(np.asarray(scores), np.asarray(correct, dtype=bool))
    assert fitted.value == 1.0
    assert "too few" in fitted.note
    assert fitted.detections == len(scores)


def test_limits_are_told():
    # Sure and wrong as often as right: no temperature is high enough.
    half = np.arange(200) % 2 == 0
    hot = fit_temperature(np.full(200, 0.999), half)
    assert (hot.value, "greatest" in hot.note) == (10.0, True)
    cold = fit_temperature(np.where(half, 0.6, 0.4), half | (np.arange(200) == 1))
    assert (cold.value, "least" in cold.note) == (0.5, True)


def test_scores_of_0_and_1_do_not_break_the_fit():
    scores, correct = sample(1.5, seed=3)
    scores[:40], correct[:20], correct[20:40] = 1.0, True, False
    scores[40:60] = 0.0
    fitted = fit_temperature(scores, correct)
    assert 1 < fitted.value < 10
    assert math.isfinite(reliability(scores, correct).nll)
