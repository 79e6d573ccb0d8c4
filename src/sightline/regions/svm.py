"""One linear SVM a class on cached features, with hard-negative mining (Girshick et al. 2014, section 2.3, appendix B).

The positives of a class are its true boxes alone; negatives are the regions whose IoU with all of them is below 0.3.
These do not fit into memory together, and most are easy. Mining goes through the images: regions that the SVM of the
moment puts above its margin of -1 join those that it learns from; when enough are new it is fitted again, and those
that have become easy leave. What joins are numbers of rows, so that memory holds no features but those of one fit.

The solver is scikit-learn's LinearSVC (liblinear). Cost, weight of positives, offset and the scale of features are
those of R-CNN's own code, which the paper does not tell.
"""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.recipes import FitStopped

Rows = NDArray[np.int64]
NEVER = -30.0
"""The margin of a class that nothing could be learned about: its score is 1e-13."""
_HARD, _EASY = -1.0, -1.2


@dataclass(frozen=True)
class SVMSettings:
    """How the SVMs are fitted.

    Args:
        cost: C of liblinear, on features of mean norm ``norm``.
        positive_weight: factor on it for positives.
        norm: that the mean norm of features is scaled to.
        offset: the constant feature that the bias is the weight of; the larger, the less it is held back.
        new_negatives: hard ones that a class waits for before it is fitted again.
        passes: through all images; the paper needed one.
        iterations: of liblinear, at most.
    """

    cost: float = 1e-3
    positive_weight: float = 2.0
    norm: float = 20.0
    offset: float = 10.0
    new_negatives: int = 2000
    passes: int = 1
    iterations: int = 2000


@dataclass(frozen=True, eq=False)
class Examples:
    """What the SVMs are fitted to.

    Args:
        features: (N, D), in memory or mapped into it.
        starts: (images + 1,) int64: the row that each image begins at, and the end.
        positives: rows of each of K classes.
        negatives: (N, K) bool: whether a row is background of a class.
    """

    features: NDArray[Any]
    starts: Rows
    positives: Sequence[Rows]
    negatives: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class LinearSVMs:
    """K hyperplanes on features as they are: margin = weight x + bias.

    Args:
        weight: (K, D) float32.
        bias: (K,) float32.
        hard: (K,) negatives that each holds at the end.
        fits: how often one was fitted.
        unfinished: fits that ran into the limit of iterations.
    """

    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    hard: Rows
    fits: int
    unfinished: int


@dataclass(eq=False)
class _Mining:
    """The state of all classes while the images go by."""

    examples: Examples
    settings: SVMSettings
    seed: int
    scale: float
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]
    held: list[Rows]
    fresh: list[int]
    fits: int = 0
    unfinished: int = 0

    def look(self, image: int) -> int:
        """Take up what is hard in an image; returns how many that were."""
        start, end = self.examples.starts[image : image + 2]
        if start == end:
            return 0
        features = self.examples.features[start:end].astype(np.float32)
        margins = features @ self.weight.T + self.bias
        hard = self.examples.negatives[start:end] & (margins > _HARD)
        found = 0
        for label in self.learnable():
            rows = start + hard[:, label].nonzero()[0]
            new = rows[~np.isin(rows, self.held[label])]
            self.held[label] = np.concatenate([self.held[label], new])
            self.fresh[label] += len(new)
            found += len(new)
        return found

    def learnable(self) -> list[int]:
        """Classes that have a positive."""
        return [label for label, rows in enumerate(self.examples.positives) if len(rows)]

    def fit(self, label: int) -> None:
        """Fit the SVM of a class to its positives and the negatives held, and let go of those that are easy now."""
        positives, negatives = self.examples.positives[label], np.sort(self.held[label])
        self.fresh[label] = 0
        if not len(negatives):
            return
        rows = np.concatenate([positives, negatives])
        features = self.examples.features[rows].astype(np.float64) * self.scale
        weight, bias, finished = fit_svm(features, len(positives), self.settings, self.seed)
        self.fits += 1
        self.unfinished += not finished
        margins = features[len(positives) :] @ weight + bias
        self.held[label] = negatives[margins > _EASY]
        self.weight[label], self.bias[label] = weight * self.scale, bias


def fit_svm(
    features: NDArray[np.float64], positives: int, settings: SVMSettings, seed: int
) -> tuple[NDArray[np.float64], float, bool]:
    """One SVM with the hinge loss: minimises |w|^2 / 2 + sum over examples of C max(0, 1 - y (w x + b)).

    Args:
        features: (N, D), positives first, at the scale of ``settings.norm``; there is at least one of each.
        positives: how many those are.
        settings: cost and the like.
        seed: of the order in which the solver looks at examples.

    Returns:
        weight (D,), bias, and whether the solver came to its end.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.svm import LinearSVC

    labels = np.arange(len(features)) < positives
    solver = LinearSVC(
        loss="hinge",
        dual=True,
        C=settings.cost,
        class_weight={True: settings.positive_weight},
        intercept_scaling=settings.offset,
        max_iter=settings.iterations,
        tol=1e-3,
        random_state=seed,
    )
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ConvergenceWarning)
        solver.fit(features, labels)
    finished = not any(issubclass(each.category, ConvergenceWarning) for each in told)
    return solver.coef_[0], float(solver.intercept_[0]), finished


def mine(
    examples: Examples,
    settings: SVMSettings,
    seed: int,
    tell: Callable[[int, int], None] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> LinearSVMs:
    """All SVMs, by passes through the images. What was mined is not kept when it stops: it begins anew the next time.

    Args:
        examples: features and what is true of them.
        settings: of mining and solver.
        seed: of the solver; the same seed gives the same hyperplanes.
        tell: called with images seen and images in all.
        stopping: whether the person asked for an end; asked before each image and each fit.

    Raises:
        FitStopped: the person did.
    """
    classes, images = len(examples.positives), len(examples.starts) - 1
    width = examples.features.shape[1]
    weight, bias = np.zeros((classes, width), np.float32), np.zeros(classes, np.float32)
    held = [np.zeros(0, np.int64) for _ in range(classes)]
    scale = _scale(examples.features, settings.norm)
    mining = _Mining(examples, settings, seed, scale, weight, bias, held, [0] * classes)
    for turn in range(settings.passes):
        found = 0
        for image in range(images):
            _require_time(stopping)
            found += mining.look(image)
            for label in mining.learnable():
                last = image + 1 == images and mining.fresh[label]
                if last or mining.fresh[label] >= settings.new_negatives:
                    _require_time(stopping)
                    mining.fit(label)
            if tell is not None:
                tell(turn * images + image + 1, settings.passes * images)
        if not found:
            break
    hard = np.array([len(rows) for rows in held], np.int64)
    for label in range(classes):
        if not weight[label].any():
            bias[label] = NEVER
    return LinearSVMs(weight, bias, hard, mining.fits, mining.unfinished)


def _require_time(stopping: Callable[[], bool]) -> None:
    if stopping():
        raise FitStopped


def _scale(features: NDArray[Any], norm: float) -> float:
    """What brings the mean norm of features, estimated from about 2,000 rows, to the wanted one."""
    some = np.asarray(features[:: max(1, len(features) // 2000)], np.float32)
    mean = float(np.linalg.norm(some, axis=1).mean()) if len(some) else 0.0
    return norm / mean if mean > 0 else 1.0
