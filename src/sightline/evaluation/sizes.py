"""Small, medium and large objects, as COCO parts them: under 32², under 96², and from 96² pixels of area."""

import numpy as np

from sightline.evaluation.columns import Floats, Ints

SIZES = ("small", "medium", "large")

_LIMITS = (32.0**2, 96.0**2)


def size_of(areas: Floats) -> Ints:
    """(N,) place in :data:`SIZES` of each area, in square pixels."""
    return np.searchsorted(_LIMITS, areas, side="right").astype(np.int64)
