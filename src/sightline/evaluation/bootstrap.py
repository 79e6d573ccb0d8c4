"""Whether one model is better than another, or only luckier with the images: paired bootstrap over images.

Source: Efron, Tibshirani: An Introduction to the Bootstrap, 1993: the percentile interval (chapter 13) of a difference
whose two parts are measured on the same resample, hence paired. The unit is the image, because detections of one image
are not independent. Images are drawn with replacement, as many as there are; an image drawn twice counts twice. What
the interval holds is the luck of the images; that of training is another matter (several seeds tell).

Matching is within an image, so that it does not depend on the resample: it is done once for each of COCO's ten
overlaps, and a resample weighs what was matched. Copies of an image stand side by side, and equal scores of one class
within an image are repeated one by one.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from sightline.evaluation.average_precision import interpolated_precision, mean_of_defined
from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.columns import Bools, Floats, Found, Ints, Truth
from sightline.evaluation.matching import match_columns

OVERLAPS = np.linspace(0.5, 0.95, 10)
"""COCO's ten overlaps; AP50 is at the first."""

RESAMPLES, LEVEL = 1000, 0.95

LEAST_IMAGES = 20
"""Images with an object from which a verdict is given.

Resamples of few images differ less than other images would: of two equal detectors the interval calls one better in 16%
of trials with 5 images, 11% with 8 and with 10, 9% with 15, 7.4% with 20, where 5% are promised (standard error 1.2 to
1.6%; ``benchmarks/bootstrap_coverage.py --trials 500``). Half as often again as promised is let pass.
"""

Verdict = Literal[
    "A is better", "B is better", "no significant difference", "too few images to tell", "nothing to compare"
]


@dataclass(frozen=True)
class Difference:
    """A number of model A less that of model B, and how far the luck of the images carries it.

    Args:
        name: AP, AP50, or a class (its AP).
        a: the number of A on all images, in 0..1; NaN where there is nothing to find.
        b: of B.
        low: lower limit of the interval of a - b; NaN where no resample defines it.
        high: upper limit.
        a_better: share of resamples in which A's number is greater; ties count for neither.
        b_better: share in which B's is.
        resamples: in which both are defined.
        images: with an object to find.
    """

    name: str
    a: float
    b: float
    low: float
    high: float
    a_better: float
    b_better: float
    resamples: int
    images: int

    @property
    def difference(self) -> float:
        """On all images."""
        return self.a - self.b

    def to_dict(self) -> dict[str, object]:
        """Plain values, ``None`` where there is nothing to compare."""
        numbers = {
            "A": self.a,
            "B": self.b,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "A_better": self.a_better,
            "B_better": self.b_better,
        }
        plain = {name: none_if_nan(value) for name, value in numbers.items()}
        return {"name": self.name, **plain, "resamples": self.resamples, "images": self.images, "verdict": self.verdict}

    @property
    def verdict(self) -> Verdict:
        """What the interval says; without 0 in it there is a winner."""
        if math.isnan(self.low):
            return "nothing to compare"
        if self.images < LEAST_IMAGES:
            return "too few images to tell"
        if self.low > 0:
            return "A is better"
        return "B is better" if self.high < 0 else "no significant difference"

    def in_words(self, a: str = "A", b: str = "B") -> str:
        """The verdict for a person.

        Args:
            a: what A is called.
            b: what B is called.
        """
        if self.verdict == "too few images to tell":
            return f"{self.verdict} ({self.images:,}; at least {LEAST_IMAGES})"
        return {"A is better": f"{a} is better", "B is better": f"{b} is better"}.get(self.verdict, self.verdict)


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images.

    Args:
        overall: the differences of AP and of AP50.
        per_class: the difference of AP of each class. Of 20 classes that do not differ one is expected to seem to, at a
            level of 0.95.
        images: in the split, and drawn in each resample.
        resamples: drawn.
        seed: of the drawing.
        level: of the intervals.
        unit: what is drawn.
        method: how the intervals come about.
        models: what A and B are.
    """

    overall: tuple[Difference, ...]
    per_class: tuple[Difference, ...]
    images: int
    resamples: int
    seed: int
    level: float = LEVEL
    unit: str = "image"
    method: str = "paired bootstrap, percentile interval"
    models: tuple[str, str] = ("A", "B")

    def to_dict(self) -> dict[str, object]:
        """What ``metrics.json`` holds under ``comparison``; ``None`` where there is nothing to compare."""
        return {
            "A": self.models[0],
            "B": self.models[1],
            "method": self.method,
            "unit": self.unit,
            "images": self.images,
            "resamples": self.resamples,
            "seed": self.seed,
            "level": self.level,
            "differences": [found.to_dict() for found in self.overall],
            "per_class": [found.to_dict() for found in self.per_class],
        }


def compare(
    truth: Truth,
    a: Found,
    b: Found,
    names: Sequence[str],
    *,
    turns: Ints | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """The differences of AP of two models, with 95% intervals.

    Args:
        truth: the objects.
        a: detections of the first model.
        b: of the second, on the same images.
        names: of the classes, in label order.
        turns: (count,) turn of each image, which decides among equal scores; default: the images' order.
        resamples: to draw, at least 1.
        seed: of the drawing.
        progress: called with resamples done and resamples in all.

    Raises:
        ValueError: columns of different numbers of images, or no resamples.
    """
    (comparison,) = compare_pairs(
        truth, (a, b), ((0, 1),), names, turns=turns, resamples=resamples, seed=seed, progress=progress
    )
    return comparison


def compare_pairs(
    truth: Truth,
    models: Sequence[Found],
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    *,
    turns: Ints | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Comparison, ...]:
    """As :func:`compare`, of several pairs of models on the same resamples; each model is judged once on each.

    Args:
        truth: the objects.
        models: detections of each model, on the same images.
        pairs: places of A and B among them.
        names: of the classes, in label order.
        turns: as for :func:`compare`.
        resamples: to draw, at least 1.
        seed: of the drawing.
        progress: called with resamples done and resamples in all.

    Raises:
        ValueError: columns of different numbers of images, or no resamples.
    """
    if resamples < 1:
        raise ValueError(f"a bootstrap needs at least 1 resample, got {resamples}")
    matched = [Resampled(truth, found, len(names), turns) for found in models]
    as_it_is = [_summary(model.average_precisions(np.ones(truth.count, np.int64))) for model in matched]
    drawn = np.empty((resamples, len(models), 2 + len(names)))
    rng = np.random.default_rng(seed)
    for index in range(resamples):
        images = rng.integers(0, truth.count, truth.count) if truth.count else np.zeros(0, np.int64)
        weights = np.bincount(images, minlength=truth.count)
        drawn[index] = [_summary(model.average_precisions(weights)) for model in matched]
        if progress is not None:
            progress(index + 1, resamples)
    with_objects = _images_with_objects(truth, len(names))

    def differences(a: int, b: int) -> tuple[Difference, ...]:
        return tuple(
            _difference(
                name,
                float(as_it_is[a][place]),
                float(as_it_is[b][place]),
                drawn[:, [a, b], place],
                with_objects[place],
            )
            for place, name in enumerate(("AP", "AP50", *names))
        )

    found = [differences(a, b) for a, b in pairs]
    return tuple(Comparison(each[:2], each[2:], truth.count, resamples, seed) for each in found)


class Resampled:
    """The matches of a model's detections on a split, ready to be judged on any weighting of the images.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        classes: how many there are.
        turns: (count,) turn of each image, which decides among equal scores; default: the images' order.

    Raises:
        ValueError: columns of different numbers of images.
    """

    def __init__(self, truth: Truth, found: Found, classes: int, turns: Ints | None = None) -> None:
        owners = found.images if turns is None else turns[found.images]
        order = np.lexsort((owners, -found.scores, found.labels))
        labels = found.labels[order]
        first = np.searchsorted(labels, np.arange(classes))
        self._images = found.images[order]
        self._object_images, self._object_labels = truth.images[~truth.ignore], truth.labels[~truth.ignore]
        self._classes = classes
        self._levels: list[_Level] = []
        for overlap in OVERLAPS:
            matches = match_columns(truth, found, float(overlap))
            correct, counted = matches.correct[order], matches.counted[order]
            self._levels.append(_Level.of(correct, counted, labels, self._images, first))

    def average_precisions(self, weights: Ints) -> Floats:
        """(10, K) average precision at each of the overlaps and of each class; NaN where there is nothing to find.

        Args:
            weights: (count,) how often each image counts.
        """
        to_find = weights[self._object_images].astype(np.float64)
        objects: Floats = np.bincount(self._object_labels, to_find, self._classes).astype(np.float64)
        kept = _sums(weights[self._images])
        return np.stack([level.average_precisions(weights, kept, objects) for level in self._levels])


@dataclass(frozen=True, eq=False)
class _Level:
    """What was right at one overlap; rows are detections sorted by class and score.

    Args:
        labels: (R,) class of each right detection.
        images: (R,) its image.
        places: (R, 2) rows of its class: the first, and the one after the right detection.
        rights: (R,) right detections of the classes before its own.
        ignored: (L,) image of each row that neither counts nor costs.
        ignored_places: (R, 2) how many of these come before its class, and before the row after it.
    """

    labels: Ints
    images: Ints
    places: Ints
    rights: Ints
    ignored: Ints
    ignored_places: Ints

    @classmethod
    def of(cls, correct: Bools, counted: Bools, labels: Ints, images: Ints, first: Ints) -> "_Level":
        rows, ignored = np.flatnonzero(correct), np.flatnonzero(~counted)
        places = np.stack([first[labels[rows]], rows + 1], axis=1)
        return cls(
            labels[rows],
            images[rows],
            places,
            np.searchsorted(rows, places[:, 0]),
            images[ignored],
            np.searchsorted(ignored, places),
        )

    def average_precisions(self, weights: Ints, kept: Ints, objects: Floats) -> Floats:
        right = _sums(weights[self.images])
        right_so_far = right[1:] - right[self.rights]
        ignored = _sums(weights[self.ignored])
        start, end = kept[self.places].T
        ignored_start, ignored_end = ignored[self.ignored_places].T
        counted = (end - start) - (ignored_end - ignored_start)
        return interpolated_precision(self.labels, right_so_far.astype(np.float64), counted.astype(np.float64), objects)


def _sums(values: Ints) -> Ints:
    """(N + 1,) sums of the first 0, 1 ... N values."""
    return np.append(0, np.cumsum(values))


def _summary(precisions: Floats) -> Floats:
    """AP, AP50 and the AP of each class."""
    by_class = precisions.mean(axis=0)
    return np.asarray([mean_of_defined(by_class), mean_of_defined(precisions[0]), *by_class])


def _images_with_objects(truth: Truth, classes: int) -> list[int]:
    """Of all objects, for AP and for AP50, and of each class."""
    images, labels = truth.images[~truth.ignore], truth.labels[~truth.ignore]
    pairs = np.unique(np.stack([labels, images]), axis=1)
    of_all = len(np.unique(images))
    return [of_all, of_all, *np.bincount(pairs[0], minlength=classes).tolist()]


def _difference(name: str, a: float, b: float, drawn: Floats, images: int) -> Difference:
    defined = drawn[~np.isnan(drawn).any(axis=1)]
    if len(defined) == 0:
        return Difference(name, a, b, math.nan, math.nan, math.nan, math.nan, 0, images)
    differences = defined[:, 0] - defined[:, 1]
    low, high = np.percentile(differences, [50 * (1 - LEVEL), 50 * (1 + LEVEL)])
    a_better, b_better = float((differences > 0).mean()), float((differences < 0).mean())
    return Difference(name, a, b, float(low), float(high), a_better, b_better, len(defined), images)
