"""Which pictures a report shows: the best, the worst and some at random, truth and prediction side by side.

An image is scored by its F1 at overlap 0.5: twice the right detections over detections and objects together, with the
detections at or above the score threshold that serves the whole data set best; ignored objects and the detections on
them do not count. Among equal F1 the mean overlap of the right detections decides. The best are chosen among the images
with objects, as far as there are such.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sightline.data.segmentation import decode_segmentation
from sightline.evaluation.coco import ignored_objects
from sightline.evaluation.columns import Found, Truth, image_rows
from sightline.evaluation.evaluate import Evaluation, LabelledImages
from sightline.report.draw import class_colours, draw, encode, image_name, side_by_side
from sightline.structures import Sample, Size

Kind = Literal["best", "worst", "random"]

LARGEST_SIDE = 440
"""Pixels of the longer side of each half of a picture."""

LARGEST_FILE = 60_000
"""Bytes of a picture; the JPEG quality goes down until it fits."""

_QUALITIES = (88, 80, 70, 60, 50, 40, 30)


@dataclass(frozen=True)
class Picture:
    """One picture of a report.

    Args:
        kind: why it was chosen.
        image_id: of the image.
        name: of its file; its id in words where there is none.
        jpeg: truth at the left and predictions at the right, as a JPEG file.
        f1: score of the image, in 0..1.
        overlap: of the right detections with their objects, the mean; of keypoints the likeness (OKS); 0 without any.
        objects: objects to find.
        found: those of them that were found.
        wrong: detections at or above the threshold that found nothing.
    """

    kind: Kind
    image_id: int
    name: str
    jpeg: bytes
    f1: float
    overlap: float
    objects: int
    found: int
    wrong: int


@dataclass(frozen=True, eq=False)
class Scored:
    """An image's detections at the threshold against its truth."""

    index: int
    f1: float
    overlap: float
    objects: int
    found: int
    wrong: int


def gallery(evaluation: Evaluation, data: LabelledImages, count: int = 4, seed: int = 0) -> tuple[Picture, ...]:
    """Best, worst and random pictures, no image twice.

    Args:
        evaluation: of ``data``, in its order.
        data: the images.
        count: pictures of each kind at most.
        seed: of the random choice.

    Raises:
        DataError: an image that cannot be read.
    """
    threshold = evaluation.shown_threshold
    scored = score_images(evaluation, threshold)
    return tuple(_picture(kind, score, evaluation, data, threshold) for kind, score in _chosen(scored, count, seed))


def score_images(evaluation: Evaluation, threshold: float) -> list[Scored]:
    """Every image's score at a threshold."""
    # Lower scores never take an object from higher ones, so the matches of all detections hold for these as well.
    truth, detections, matched = evaluation.truth, evaluation.found, evaluation.matched
    kept = detections.scores >= threshold
    right = matched.correct & kept

    def count(images: NDArray[np.int64], weights: NDArray[np.float64] | None = None) -> NDArray[Any]:
        return np.bincount(images, weights, minlength=truth.count)

    columns = (
        count(detections.images[matched.counted & kept]),
        count(detections.images[right]),
        count(truth.images[~ignored_objects(truth, evaluation.result.kind)]),
        count(detections.images[right], matched.overlap[right]),
    )
    return [
        Scored(
            index,
            f1=2 * found / (shown + objects) if shown + objects else 1.0,
            overlap=overlaps / found if found else 0.0,
            objects=objects,
            found=found,
            wrong=shown - found,
        )
        for index, (shown, found, objects, overlaps) in enumerate(
            zip(*(column.tolist() for column in columns), strict=True)
        )
    ]


def _chosen(scored: Sequence[Scored], count: int, seed: int) -> list[tuple[Kind, Scored]]:
    ranked = sorted(scored, key=lambda s: (-s.f1, -s.overlap, -s.objects, s.index))
    # An image without objects and detections is right, but there is nothing to see on it.
    best = sorted(ranked, key=lambda s: s.objects == 0)[:count]
    others = [score for score in ranked if score not in best]
    worst = others[::-1][:count]
    rest = sorted(others[: len(others) - len(worst)], key=lambda s: s.index)
    drawn = np.random.default_rng(seed).permutation(len(rest))[:count]
    groups: tuple[tuple[Kind, list[Scored]], ...] = (
        ("best", best),
        ("worst", worst),
        ("random", [rest[place] for place in sorted(drawn)]),
    )
    return [(kind, score) for kind, group in groups for score in group]


def _picture(kind: Kind, score: Scored, evaluation: Evaluation, data: LabelledImages, threshold: float) -> Picture:
    sample = data[score.index]
    halves = [
        drawn_truth(sample, evaluation, score.index, threshold),
        drawn_prediction(sample, evaluation, score.index, threshold),
    ]
    sheet = side_by_side(halves, [f"truth: {score.objects}", f"predicted: {score.found} right, {score.wrong} wrong"])
    image_id = evaluation.image_ids[score.index]
    return Picture(
        kind,
        image_id,
        name=image_name(sample),
        jpeg=small_jpeg(sheet),
        f1=score.f1,
        overlap=score.overlap,
        objects=score.objects,
        found=score.found,
        wrong=score.wrong,
    )


def drawn_truth(sample: Sample, evaluation: Evaluation, index: int, threshold: float | None) -> Tensor:
    """The truth, with broken lines around what was missed at a threshold; None breaks none."""
    truth = evaluation.truth
    own = image_rows(truth, index)
    missed = np.zeros(len(truth), np.bool_) if threshold is None else _missed(evaluation, index, threshold)
    ignored = ignored_objects(truth, evaluation.result.kind)[own].tolist()
    names = [
        f"({evaluation.classes.names[label]})" if uncounted else evaluation.classes.names[label]
        for label, uncounted in zip(truth.labels[own].tolist(), ignored, strict=True)
    ]
    boxes, labels = _tensors(truth.boxes[own], truth.labels[own])
    shapes = _Shapes.of(truth, np.arange(len(truth))[own])
    return _drawn(sample.image, boxes, names, None, labels=labels, dashed=missed[own].tolist(), shapes=shapes)


def _missed(evaluation: Evaluation, index: int, threshold: float) -> NDArray[np.bool_]:
    """(N,) objects that no detection of an image found at a threshold."""
    matched, found = evaluation.matched, image_rows(evaluation.found, index)
    right = matched.correct[found] & (evaluation.found.scores[found] >= threshold)
    missed = np.ones(len(evaluation.truth), np.bool_)
    missed[matched.object_of[found][right]] = False
    return missed


def drawn_prediction(sample: Sample, evaluation: Evaluation, index: int, threshold: float) -> Tensor:
    """The detections at or above the threshold, with broken lines around what is wrong."""
    found, matched = evaluation.found, evaluation.matched
    own = np.arange(len(found))[image_rows(found, index)]
    own = own[found.scores[own] >= threshold]
    wrong = (matched.counted & ~matched.correct)[own].tolist()
    names = [evaluation.classes.names[label] for label in found.labels[own].tolist()]
    boxes, scores, labels = _tensors(found.boxes[own], found.scores[own], found.labels[own])
    shapes = _Shapes.of(found, own)
    return _drawn(sample.image, boxes, names, scores, labels=labels, dashed=wrong, shapes=shapes)


@dataclass(frozen=True, eq=False)
class _Shapes:
    """Masks (N, H, W) bool and keypoints (N, K, 3) of some objects in pixels of their image, where there are any."""

    masks: Tensor | None
    keypoints: Tensor | None

    @classmethod
    def of(cls, columns: Truth | Found, rows: NDArray[np.int64]) -> "_Shapes":
        masks = None
        if columns.segmentations is not None and len(rows):
            runs = [columns.segmentations[row] for row in rows.tolist()]
            masks = torch.stack([decode_segmentation(each, (each["size"][0], each["size"][1])) for each in runs])
        points = None if columns.keypoints is None else torch.from_numpy(columns.keypoints[rows]).float()
        return cls(masks, points)

    def resized(self, size: Size, factor: Tensor) -> "_Shapes":
        """The same in pixels of the picture of another size; ``factor`` is what x and y are multiplied by."""
        masks, points = self.masks, self.keypoints
        if masks is not None:
            masks = F.interpolate(masks[:, None].to(torch.uint8), size=size, mode="nearest-exact")[:, 0].bool()
        if points is not None:
            points = points * torch.cat([factor, torch.ones(1)])
        return _Shapes(masks, points)


def _tensors(*columns: NDArray[Any]) -> tuple[Tensor, ...]:
    return tuple(
        torch.from_numpy(column.astype(np.float32) if column.dtype == np.float64 else column) for column in columns
    )


def _drawn(
    image: Tensor,
    boxes: Tensor,
    names: Sequence[str],
    scores: Tensor | None,
    *,
    labels: Tensor,
    dashed: Sequence[bool],
    shapes: _Shapes,
) -> Tensor:
    """The picture at the size of the report, small ones enlarged, with boxes: drawn last, so that lines stay sharp."""
    if image.dtype != torch.uint8:
        image = (image * 255).round().clamp(0, 255).to(torch.uint8)
    height, width = image.shape[1:]
    scale = LARGEST_SIDE / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    resized = F.interpolate(image[None].float(), size=size, mode="bilinear", antialias=True)[0].round().to(torch.uint8)
    factor = torch.tensor([size[1] / width, size[0] / height])
    shapes = shapes.resized(size, factor)
    return draw(
        resized,
        boxes * factor.repeat(2),
        names,
        scores,
        colours=class_colours(labels),
        dashed=dashed,
        masks=shapes.masks,
        keypoints=shapes.keypoints,
    )


def small_jpeg(image: Tensor) -> bytes:
    """A picture as a JPEG file of at most :data:`LARGEST_FILE` bytes, if the lowest quality allows it."""
    data = b""
    for quality in _QUALITIES:
        data = encode(image, "JPEG", quality)
        if len(data) <= LARGEST_FILE:
            break
    return data
