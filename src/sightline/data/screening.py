"""Leaving out images that cannot be read before anything depends on how many there are."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from sightline.data.bad_images import ImageReader, OnBadImage
from sightline.data.dataset import Dataset
from sightline.data.records import Records
from sightline.errors import DataError

Progress = Callable[[int, int], None]


def screened(data: Dataset, on_bad: OnBadImage, progress: Progress | None = None) -> Dataset:
    """The set without images that cannot be read, and with what is left of damaged ones where that is asked for.

    Every image is decoded once for it, so that which images there are is known before the first step and is the same
    for every process. With ``raise`` nothing is done: the first bad image ends the run when it is met.

    Args:
        data: the set.
        on_bad: what to do with bad images.
        progress: called with images done and images in all.

    Raises:
        DataError: no image is left.
    """
    if on_bad == "raise":
        return data
    reader = ImageReader(on_bad)
    kept = []
    for place, record in enumerate(data.records):
        if reader.read(record.path) is not None:
            kept.append(place)
        if progress is not None:
            progress(place + 1, len(data))
    if not kept:
        raise DataError(f"no image of split '{data.split}' can be read", place=data.root, cure="fetch the set again")
    records = Records(data.records.table, data.records.rows[np.asarray(kept)])
    return replace(data, records=records, findings=data.findings + reader.counts, salvage=on_bad == "salvage")
