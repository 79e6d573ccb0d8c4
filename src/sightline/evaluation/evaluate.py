"""A system over a data set: predict every image, judge the results, keep both.

Nothing here knows what the system is: ``predict`` is all that is used of it.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

from sightline.contract import System
from sightline.conversions import to_coco
from sightline.errors import ConfigError
from sightline.evaluation.coco import CocoResult, coco_evaluate, none_if_nan
from sightline.evaluation.curves import OperatingPoint, operating_points
from sightline.evaluation.matching import Matches, match
from sightline.files import write_atomically
from sightline.structures import Classes, Detections, Sample, Size, Target

Progress = Callable[[int, int], None]
"""Called with images done and images in all, after each batch."""


class ImageRecord(Protocol):
    """What the files say of one image before it is read."""

    @property
    def image_id(self) -> int:
        """The id that the data set's files give the image."""

    @property
    def size(self) -> Size:
        """(H, W) of the image, as annotated."""


class LabelledImages(Protocol):
    """What evaluation needs of a data set; ``sightline.data.dataset.Dataset`` has it."""

    @property
    def classes(self) -> Classes:
        """What the labels mean."""

    @property
    def records(self) -> Sequence[ImageRecord]:
        """One an image."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...

    def target(self, index: int, /) -> Target:
        """The truth of one image, without decoding it."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a system is on a data set, and the results that it was judged by.

    Matches and operating points are worked out when they are first asked for.

    Args:
        result: COCO's numbers.
        targets: the truth, one an image.
        detections: what was found, one an image.
        image_ids: of the images.
        classes: what the labels mean.
        seconds_per_image: wall time of reading and predicting, or None where nobody measured it.
    """

    result: CocoResult
    targets: tuple[Target, ...]
    detections: tuple[Detections, ...]
    image_ids: tuple[int, ...]
    classes: Classes
    seconds_per_image: float | None = None

    @cached_property
    def matches(self) -> tuple[Matches, ...]:
        """Which detection found which object at overlap 0.5, one an image."""
        return match(self.targets, self.detections, iou=0.5)

    @cached_property
    def _points(self) -> tuple[OperatingPoint, tuple[OperatingPoint, ...]]:
        return operating_points(self.targets, self.detections, self.matches, self.classes)

    @property
    def operating_point(self) -> OperatingPoint:
        """The one score threshold that serves all classes best."""
        return self._points[0]

    @property
    def class_operating_points(self) -> tuple[OperatingPoint, ...]:
        """The score threshold that serves each class best."""
        return self._points[1]

    def to_dict(self) -> dict[str, object]:
        """What ``metrics.json`` holds: plain values, ``None`` where there is nothing to measure."""
        per_class = [
            {
                "name": found.name,
                "AP": none_if_nan(found.ap),
                "AP50": none_if_nan(found.ap50),
                "AP75": none_if_nan(found.ap75),
                "AR100": none_if_nan(found.ar100),
                "objects": found.objects,
                "detections": found.detections,
                "operating_point": _point_dict(point),
            }
            for found, point in zip(self.result.per_class, self.class_operating_points, strict=True)
        ]
        return {
            "protocol": self.result.protocol,
            "images": len(self.targets),
            "objects": sum(found.objects for found in self.result.per_class),
            "metrics": self.result.metrics(),
            "operating_point": _point_dict(self.operating_point),
            "per_class": per_class,
            "seconds_per_image": self.seconds_per_image,
        }


def _point_dict(point: OperatingPoint) -> dict[str, float | None]:
    return {
        "threshold": none_if_nan(point.threshold),
        "precision": none_if_nan(point.precision),
        "recall": none_if_nan(point.recall),
        "F1": none_if_nan(point.f1),
    }


def judge(detections: Sequence[Detections], data: LabelledImages, seconds_per_image: float | None = None) -> Evaluation:
    """An evaluation of detections that are already there.

    Args:
        detections: one an image of ``data``, in its order.
        data: the images and their truth; no image is read.
        seconds_per_image: wall time, if somebody measured it.

    Raises:
        ValueError: detections of more or fewer images, or a label that the data set's classes do not have.
    """
    targets = tuple(_without_masks(data.target(index)) for index in range(len(data)))
    found = tuple(result.to("cpu") for result in detections)
    image_ids = tuple(record.image_id for record in data.records)
    result = coco_evaluate(targets, found, data.classes, image_ids)
    return Evaluation(result, targets, found, image_ids, data.classes, seconds_per_image)


def _listed(classes: Classes, most: int = 5) -> str:
    names = ", ".join(classes.names[:most]) + (" ..." if len(classes) > most else "")
    return f"{len(classes)} classes ({names})"


def _without_masks(target: Target) -> Target:
    # The masks of a whole data set do not fit into memory, and boxes are judged without them.
    return Target(target.boxes, target.labels, target.size, target.ignore, target.areas)


def evaluate(
    system: System[Detections],
    data: LabelledImages,
    *,
    batch_size: int = 4,
    workers: int = 1,
    progress: Progress | None = None,
) -> Evaluation:
    """Predict every image of a data set and judge the results by COCO's protocol.

    Args:
        system: any detector.
        data: images and their truth.
        batch_size: images predicted at once, at least 1.
        workers: as for :func:`predict_dataset`.
        progress: called with images done and images in all.

    Raises:
        ConfigError: a system whose classes are not those of the data, in their order.
        DataError: an image that cannot be read.
        ValueError: a batch size below 1 or fewer than 0 workers.
    """
    if system.classes.names != data.classes.names:
        raise ConfigError(
            f"the system answers with {_listed(system.classes)}, but the images are labelled with "
            f"{_listed(data.classes)}",
            cause="the system was trained on another set",
            cure="open the set with the system's classes: open_dataset(path, split, classes=system.classes)",
        )
    start = time.perf_counter()
    detections = predict_dataset(system, data, batch_size=batch_size, workers=workers, progress=progress)
    seconds = (time.perf_counter() - start) / len(detections) if detections else None
    return judge(detections, data, seconds)


def predict_dataset(
    system: System[Detections],
    data: LabelledImages,
    *,
    batch_size: int = 4,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Detections]:
    """One result an image, in the data set's order, on the CPU.

    Images are taken by aspect ratio, so that those of one batch are padded little; nothing but time depends on it,
    except for the rounding of sums.

    Args:
        system: any detector.
        data: the images.
        batch_size: images predicted at once, at least 1.
        workers: threads that read images ahead; 0 reads between the predictions.
        progress: called with images done and images in all.

    Raises:
        DataError: an image that cannot be read.
        ValueError: a batch size below 1 or fewer than 0 workers.
    """
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch_size must be at least 1 and workers at least 0, got {batch_size} and {workers}")
    order = _by_aspect_ratio(data)
    results: dict[int, Detections] = {}
    for samples in _batches(data, order, batch_size, workers):
        for found in system.predict([sample.image for sample in samples]):
            results[order[len(results)]] = found.to("cpu")
        if progress is not None:
            progress(len(results), len(data))
    return [results[index] for index in range(len(data))]


def _by_aspect_ratio(data: LabelledImages) -> list[int]:
    sizes = [record.size for record in data.records]
    return sorted(range(len(sizes)), key=lambda index: sizes[index][0] / sizes[index][1])


def _batches(data: LabelledImages, order: Sequence[int], batch_size: int, workers: int) -> Iterator[list[Sample]]:
    chunks = [order[start : start + batch_size] for start in range(0, len(order), batch_size)]
    if workers == 0:
        yield from ([data[index] for index in chunk] for chunk in chunks)
        return
    # While one batch is predicted the next is read, and no more: memory does not grow with the data set.
    ahead = 2 * batch_size
    pool = ThreadPoolExecutor(workers, thread_name_prefix="sightline-read")
    try:
        waiting: list[Future[Sample]] = []
        submitted = 0
        for chunk in chunks:
            while submitted < len(order) and len(waiting) < ahead:
                waiting.append(pool.submit(data.__getitem__, order[submitted]))
                submitted += 1
            yield [waiting.pop(0).result() for _ in chunk]
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def save_predictions(path: Path, detections: Sequence[Detections], data: LabelledImages) -> None:
    """Write detections as COCO results (a JSON list), in one move.

    Args:
        path: the file to make or replace.
        detections: one an image of ``data``, in its order.
        data: gives image ids and original category ids.

    Raises:
        ValueError: detections of more or fewer images.
        OSError: the file cannot be written.
    """
    rows = [
        row
        for found, record in zip(detections, data.records, strict=True)
        for row in to_coco(found, record.image_id, data.classes)
    ]
    write_atomically(path, json.dumps(rows))
