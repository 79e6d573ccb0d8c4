"""Boxes that say what a better one says already: many strategies find the same region to within a few pixels."""

import numpy as np
from numpy.typing import NDArray

from sightline.proposals.compiled import compiled


def distinct(boxes: NDArray[np.int32], overlap: float) -> NDArray[np.int64]:
    """The places of the boxes that stay, in order: those with no better one of an IoU above ``overlap``.

    What greedy suppression gives. A box is compared only with those of a like area, since IoU is at most the quotient
    of the areas: for overlaps near 1 few are left.

    Args:
        boxes: (N, 4) xyxy, best first.
        overlap: 0.5 to 1; at 1 every box but the equal ones stays.
    """
    _, first = np.unique(boxes, axis=0, return_index=True)
    first.sort()
    return first if overlap >= 1 else first[_distinct(boxes[first], overlap)]


@compiled
def _distinct(boxes: NDArray[np.int32], overlap: float) -> NDArray[np.int64]:
    count = len(boxes)
    areas, shelves = np.empty(count, np.int64), np.empty(count, np.int64)
    for place in range(count):
        width, height = boxes[place, 2] - boxes[place, 0], boxes[place, 3] - boxes[place, 1]
        areas[place] = np.int64(width) * np.int64(height)
        # Boxes whose shelves are not beside each other have areas further apart than the overlap allows.
        shelves[place] = 1 + int(np.log(areas[place]) / -np.log(overlap))
    first, below = np.full(shelves.max() + 2, -1, np.int64), np.empty(count, np.int64)
    kept, length = np.empty(count, np.int64), 0
    for place in range(count):
        x1, y1, x2, y2 = boxes[place, 0], boxes[place, 1], boxes[place, 2], boxes[place, 3]
        stays = True
        for shelf in range(shelves[place] - 1, shelves[place] + 2):
            other = first[shelf]
            while other >= 0 and stays:
                width = min(x2, boxes[other, 2]) - max(x1, boxes[other, 0])
                height = min(y2, boxes[other, 3]) - max(y1, boxes[other, 1])
                if width > 0 and height > 0:
                    common = np.int64(width) * np.int64(height)
                    stays = common <= overlap * (areas[place] + areas[other] - common)
                other = below[other]
        if stays:
            below[place], first[shelves[place]] = first[shelves[place]], place
            kept[length] = place
            length += 1
    return kept[:length]
