"""A system over a data set: predict every image, judge the results, keep both.

Nothing here knows what the system is: ``predict`` is all that is used of it.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol, TypeVar

from sightline.contract import NeuralSystem, System
from sightline.errors import ConfigError, SightlineError
from sightline.evaluation.columns import Found, Kind, Truth, found_of, joined_found, truth_of
from sightline.evaluation.evaluation import Evaluation, judge_columns, judged_also
from sightline.processes import ALONE, Processes
from sightline.runtime import is_out_of_memory
from sightline.structures import Classes, Detections, Sample, Size, Target

__all__ = ["Evaluation", "ImageRecord", "LabelledImages", "Progress", "evaluate", "judge", "predict_dataset"]

Kept = TypeVar("Kept")
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


def judge(
    detections: Sequence[Detections] | Found,
    data: LabelledImages,
    seconds_per_image: float | None = None,
    *,
    finds: Sequence[Kind] = ("boxes",),
) -> Evaluation:
    """An evaluation of detections that are already there.

    Args:
        detections: one an image of ``data``, in its order; or their columns.
        data: the images and their truth; no image is read.
        seconds_per_image: wall time, if somebody measured it.
        finds: what of objects is judged, boxes first; masks and keypoints are left out where the truth has none, or
            keypoints of another number.

    Raises:
        ValueError: detections of more or fewer images, or a label that the data set's classes do not have.
    """
    truth = truth_of(data.target(index) for index in range(len(data)))
    found = detections if isinstance(detections, Found) else found_of(detections)
    image_ids = tuple(record.image_id for record in data.records)
    also = [kind for kind in finds if kind != "boxes" and _comparable(truth, found, kind)]
    return judged_also(judge_columns(truth, found, data.classes, image_ids, seconds_per_image), also)


def _comparable(truth: Truth, found: Found, kind: Kind) -> bool:
    if kind == "masks":
        return truth.segmentations is not None and found.segmentations is not None
    points, own = truth.keypoints, found.keypoints
    return points is not None and own is not None and points.shape[1] == own.shape[1]


def _listed(classes: Classes, most: int = 5) -> str:
    names = ", ".join(classes.names[:most]) + (" ..." if len(classes) > most else "")
    return f"{len(classes)} classes ({names})"


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
    found = predict_columns(system, data, batch_size=batch_size, workers=workers, progress=progress)
    seconds = (time.perf_counter() - start) / found.count if found.count else None
    temperature = system.temperature if isinstance(system, NeuralSystem) else None
    return replace(judge(found, data, seconds, finds=system.finds), temperature=temperature)


def predict_dataset(
    system: System[Detections],
    data: LabelledImages,
    *,
    batch_size: int = 4,
    workers: int = 0,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> list[Detections]:
    """One result an image, in the data set's order, on the CPU.

    Several processes share out the batches that one would predict, so that each image is predicted once and with the
    same images beside it. The first process gets all results, the others none.

    Images are taken by aspect ratio, so that those of one batch are padded little; nothing but time depends on it,
    except for the rounding of sums.

    Args:
        system: any detector.
        data: the images.
        batch_size: images predicted at once, at least 1.
        workers: threads that read images ahead; 0 reads between the predictions.
        progress: called with images done and images in all; of several processes in the first, with its own.
        processes: this one among those that share out the images; all must take part.

    Raises:
        DataError: an image that cannot be read.
        SightlineError: memory ran out; names the images and a smaller size.
        ValueError: a batch size below 1 or fewer than 0 workers.
    """
    return _each_image(_on_cpu, system, data, batch_size, workers, progress, processes)


def predict_columns(
    system: System[Detections],
    data: LabelledImages,
    *,
    batch_size: int = 4,
    workers: int = 0,
    progress: Progress | None = None,
    processes: Processes = ALONE,
) -> Found:
    """As :func:`predict_dataset`, as columns; masks become run lengths as they come, so that they fit the memory."""
    return joined_found(_each_image(_as_columns, system, data, batch_size, workers, progress, processes))


def _on_cpu(found: Detections) -> Detections:
    return found.to("cpu")


def _as_columns(found: Detections) -> Found:
    return found_of([found])


def _each_image(
    keep: Callable[[Detections], Kept],
    system: System[Detections],
    data: LabelledImages,
    batch_size: int,
    workers: int,
    progress: Progress | None,
    processes: Processes,
) -> list[Kept]:
    """What is kept of the result of each image, in the data set's order; the first process has all."""
    if batch_size < 1 or workers < 0:
        raise ValueError(f"batch_size must be at least 1 and workers at least 0, got {batch_size} and {workers}")
    order = _by_aspect_ratio(data)
    chunks = processes.share([order[start : start + batch_size] for start in range(0, len(order), batch_size)])
    mine = [index for chunk in chunks for index in chunk]
    results: list[Kept] = []
    for samples in _batches(data, chunks, 2 * batch_size, workers):
        results += [keep(found) for found in _predicted(system, samples)]
        if progress is not None and processes.leads:
            progress(len(results), len(mine))
    gathered = processes.gathered(list(zip(mine, results, strict=True)))
    return [found for _, found in sorted((pair for share in gathered for pair in share), key=_index)]


def _index(pair: tuple[int, Any]) -> int:
    return pair[0]


def _predicted(system: System[Detections], samples: Sequence[Sample]) -> list[Detections]:
    """The results of some images; memory that runs out is an answer that names them."""
    try:
        return system.predict([sample.image for sample in samples])
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        height, width = (max(sample.target.size[side] for sample in samples) for side in (0, 1))
        raise SightlineError(
            f"out of memory in predicting {len(samples)} images of up to {height}x{width} pixels at once",
            place=", ".join(sample.path or f"image {sample.image_id}" for sample in samples[:8]),
            cause=f"the images are too many or too large for this device ({str(error).strip()[:200]})",
            cure=f"--batch {max(1, len(samples) // 2)} in evaluation, or a smaller --imgsz",
        ) from error


def _by_aspect_ratio(data: LabelledImages) -> list[int]:
    sizes = [record.size for record in data.records]
    return sorted(range(len(sizes)), key=lambda index: sizes[index][0] / sizes[index][1])


def _batches(data: LabelledImages, chunks: Sequence[Sequence[int]], ahead: int, workers: int) -> Iterator[list[Sample]]:
    """The images of each chunk; ``ahead`` are read before they are needed."""
    if workers == 0:
        yield from ([data[index] for index in chunk] for chunk in chunks)
        return
    # While one batch is predicted the next is read, and no more: memory does not grow with the data set.
    order = [index for chunk in chunks for index in chunk]
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
