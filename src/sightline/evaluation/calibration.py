"""Whether scores mean what they say, and the temperature that makes them: of all detections scored 0.8, are 80% right?

Source: Guo, Pleiss, Sun, Weinberger: On Calibration of Modern Neural Networks, ICML 2017: reliability diagrams and the
expected calibration error (section 2, equations 2 and 3), temperature scaling (section 4.2). A detection is right if it
found an object at IoU 0.5, by the matching that average precision uses; detections that matched an ignored object or
come after the 100 best are left out. Objects that are missed do not enter: a score is about a box that was given.

Departure: a detection has one score and not one of each class, so that the temperature divides its log-odds:
s' = 1 / (1 + exp(-logit(s) / T)). ``contract.NeuralSystem.predict`` applies it.
"""

import math
from dataclasses import dataclass

import numpy as np

from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.columns import Bools, Floats, Ints

BINS = 15
"""Bins of equal width in which ECE is summed (Guo et al. use 15)."""

LEAST_DETECTIONS, LEAST_OF_A_KIND = 100, 10
"""Detections that a temperature is fitted to, and how many of them are right and wrong, at least."""

TEMPERATURES = (0.5, 10.0)
"""Least and greatest temperature; below 0.5 scores above 0.9998 would all become 1 in float32."""

# Scores of 0 and 1 have no logarithm; this is nearer to both than any other float32.
_NEAREST = 2.0**-26


@dataclass(frozen=True, eq=False)
class Reliability:
    """A reliability diagram, and how far it is from the diagonal.

    Args:
        edges: (B + 1,) limits of the bins, 0 ... 1; a bin holds the scores above its lower limit up to its upper one,
            the first also 0.
        counts: (B,) detections in each bin.
        scores: (B,) mean score of each; NaN where empty.
        right: (B,) share of each that is right; NaN where empty.
        ece: expected calibration error, in 0..1; NaN without detections.
        brier: mean squared difference of score and being right (Brier 1950); NaN without detections.
        nll: mean negative log-likelihood in nats; NaN without detections.
    """

    edges: Floats
    counts: Ints
    scores: Floats
    right: Floats
    ece: float
    brier: float
    nll: float

    @property
    def detections(self) -> int:
        """How many there are in all bins."""
        return int(self.counts.sum())

    def to_dict(self) -> dict[str, object]:
        """What ``metrics.json`` holds under ``calibration``; ``None`` where there is nothing to measure."""
        bins = [
            {"from": low, "to": high, "detections": count, "score": none_if_nan(score), "right": none_if_nan(right)}
            for low, high, count, score, right in zip(
                self.edges[:-1].tolist(),
                self.edges[1:].tolist(),
                self.counts.tolist(),
                self.scores.tolist(),
                self.right.tolist(),
                strict=True,
            )
        ]
        numbers = {"ECE": self.ece, "Brier": self.brier, "NLL": self.nll}
        return {
            "IoU": 0.5,
            "detections": self.detections,
            **{name: none_if_nan(value) for name, value in numbers.items()},
            "bins": bins,
        }


@dataclass(frozen=True)
class Temperature:
    """A fitted temperature.

    Args:
        value: above 1 scores were too sure, below 1 not sure enough; 1 if nothing could be fitted.
        detections: it was fitted to.
        note: why nothing could be fitted, or that a limit was reached; nothing otherwise.
    """

    value: float
    detections: int
    note: str = ""


def reliability(scores: Floats, correct: Bools, bins: int = BINS) -> Reliability:
    """The reliability of scores.

    Args:
        scores: (N,) in 0..1.
        correct: (N,) which detections are right.
        bins: of equal width.

    Raises:
        ValueError: scores outside 0..1, or fewer than one bin.
    """
    if bins < 1 or not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError(f"reliability needs scores in 0..1 and at least 1 bin, got {bins} bins")
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, scores, side="left") - 1, 0, bins - 1)
    counts = np.bincount(place, minlength=bins)
    filled = np.where(counts > 0, counts, np.nan)
    mean_score = np.bincount(place, weights=scores, minlength=bins) / filled
    share_right = np.bincount(place, weights=correct, minlength=bins) / filled
    if len(scores) == 0:
        return Reliability(edges, counts, mean_score, share_right, math.nan, math.nan, math.nan)
    gaps = np.abs(share_right - mean_score)
    ece = float(np.nansum(counts * gaps) / len(scores))
    brier = float(np.mean((scores - correct) ** 2))
    nll = float(np.mean(_losses(_log_odds(scores), correct)))
    return Reliability(edges, counts, mean_score, share_right, ece, brier, nll)


def fit_temperature(scores: Floats, correct: Bools) -> Temperature:
    """The temperature that minimises the negative log-likelihood of what was right and wrong.

    In 1 / T this likelihood is convex, so that bisection of its derivative finds the one minimum there is.

    Args:
        scores: (N,) in 0..1, not scaled.
        correct: (N,) which detections are right.
    """
    right, total = int(correct.sum()), len(scores)
    if total < LEAST_DETECTIONS or min(right, total - right) < LEAST_OF_A_KIND:
        note = (
            f"{right} right and {total - right} wrong detections are too few to fit a temperature to: it takes "
            f"{LEAST_DETECTIONS}, and {LEAST_OF_A_KIND} of each kind"
        )
        return Temperature(1.0, total, note)
    odds = _log_odds(scores)
    coldest, hottest = TEMPERATURES
    low, high = 1 / hottest, 1 / coldest
    if _slope(odds, correct, low) >= 0:
        return Temperature(hottest, total, f"the greatest temperature that is tried is {hottest:g}")
    if _slope(odds, correct, high) <= 0:
        return Temperature(coldest, total, f"the least temperature that is tried is {coldest:g}")
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (low, middle) if _slope(odds, correct, middle) > 0 else (middle, high)
    return Temperature(2 / (low + high), total)


def scores_at(scores: Floats, temperature: float) -> Floats:
    """Scores as ``predict`` gives them at another temperature: in float32's steps.

    Args:
        scores: (N,) in 0..1.
        temperature: the other temperature over that of the scores.
    """
    import torch

    from sightline.structures import scaled_scores

    return scaled_scores(torch.from_numpy(scores).float(), temperature).numpy().astype(np.float64)


def _log_odds(scores: Floats) -> Floats:
    clipped = np.clip(scores, _NEAREST, 1 - _NEAREST)
    odds: Floats = np.log(clipped) - np.log1p(-clipped)
    return odds


def _losses(odds: Floats, correct: Bools) -> Floats:
    """-log of the probability given to what was the case."""
    losses: Floats = np.logaddexp(0.0, np.where(correct, -odds, odds))
    return losses


def _slope(odds: Floats, correct: Bools, sharpness: float) -> float:
    """Derivative of the mean loss by 1 / T."""
    probability = 0.5 * (1 + np.tanh(sharpness * odds / 2))
    return float(np.mean(odds * (probability - correct)))
