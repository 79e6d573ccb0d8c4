"""Whether annotations can have been drawn on the picture that a file holds now."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sightline.classes import Size
from sightline.errors import DataError

_SIZE_SLIP = 2
"""Pixels by which an annotated size may miss the file's without looking like another resolution of the picture."""


def why_unfit(annotated: Size, actual: Size, boxes: NDArray[np.floating]) -> str | None:
    """The likely cause of a difference in size that makes boxes wrong; None where the boxes can be used as they are.

    Args:
        annotated: (H, W) in the annotation.
        actual: (H, W) of the file, upright.
        boxes: (N, 4) xyxy in pixels of the annotated picture.
    """
    if annotated == actual:
        return None
    if actual == annotated[::-1]:
        return "the annotation ignores the picture's EXIF orientation, or swaps height and width"
    near = max(abs(actual[0] - annotated[0]), abs(actual[1] - annotated[1])) <= _SIZE_SLIP
    scaled = not near and abs(actual[0] * annotated[1] - actual[1] * annotated[0]) <= max(actual + annotated)
    beyond = len(boxes) and bool((boxes[:, 2:].max(axis=0) > (actual[1], actual[0])).any())
    if scaled or beyond:
        return "the picture was resized or replaced after it was annotated"
    return None


def require_fit(path: Path, annotated: Size, actual: Size, boxes: NDArray[np.floating]) -> None:
    """Refuses annotations that cannot have been drawn on a picture; the file's size wins over a small difference.

    Args:
        path: the picture.
        annotated: (H, W) in the annotation; (0, 0) where it has none.
        actual: (H, W) of the file, upright.
        boxes: (N, 4) xyxy in pixels of the annotated picture.

    Raises:
        DataError: with the likely cause.
    """
    cause = why_unfit(annotated, actual, boxes) if all(annotated) else None
    if cause is not None:
        raise DataError(
            f"annotated as {annotated[0]} x {annotated[1]} (H x W), but the image has {actual[0]} x {actual[1]}",
            place=path,
            cause=cause,
            cure="correct the annotated size, or annotate the picture as it is shown",
        )
