"""Boxes moved by ridge regression, one for each class, on features of the regions (Girshick et al. 2014, appendix C).

For a region P and the object G that it overlaps best, the targets are R-CNN's

    tx = (Gx - Px) / Pw    ty = (Gy - Py) / Ph    tw = log(Gw / Pw)    th = log(Gh / Ph)

and w minimises sum (t - w . x)^2 + lambda |w|^2 (equation 5) over the regions with an IoU of at least 0.6. The offset
is not held back by lambda here: features and targets are centred first. Either normal matrix serves, that of the
features or that of the examples; the smaller one is solved.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096


@dataclass(frozen=True, eq=False)
class LinearMap:
    """What a regression found: y = weight x + bias.

    Args:
        weight: (outputs, D) float64.
        bias: (outputs,) float64.
    """

    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def fit_ridge(features: NDArray[np.float32], targets: NDArray[np.float64], ridge: float) -> LinearMap:
    """The least squares with a penalty, in closed form.

    Args:
        features: (N, D); N may be 0, which gives zeros.
        targets: (N, outputs).
        ridge: lambda, above 0.
    """
    count, width = features.shape
    if count == 0:
        return LinearMap(np.zeros((targets.shape[1], width)), np.zeros(targets.shape[1]))
    mean = features.mean(axis=0, dtype=np.float64)
    offset = targets.mean(axis=0)
    centred = targets - offset
    if width <= count:
        gram, moment = ridge * np.eye(width), np.zeros((width, targets.shape[1]))
        for start in range(0, count, _BLOCK):
            rows = features[start : start + _BLOCK] - mean
            gram += rows.T @ rows
            moment += rows.T @ centred[start : start + _BLOCK]
        weight = np.linalg.solve(gram, moment).T
    else:
        # w = X' (X X' + lambda)^-1 t: as many unknowns as examples. They sum to zero, so that the means fall away.
        gram = ridge * np.eye(count)
        for start in range(0, width, _BLOCK):
            columns = features[:, start : start + _BLOCK] - mean[start : start + _BLOCK]
            gram += columns @ columns.T
        dual = np.linalg.solve(gram, centred)
        weight = dual.T @ features
    return LinearMap(np.asarray(weight, np.float64), np.asarray(offset - weight @ mean, np.float64))
