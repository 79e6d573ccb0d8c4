"""How good results are: the numbers of a split, and the truth and the results that they come from.

Everything is worked out on columns; targets and detections of single images are made when somebody asks for them. Until
then nothing here imports torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from sightline.classes import Classes
from sightline.evaluation.calibration import Reliability, reliability, scores_at
from sightline.evaluation.coco import ClassResult, CocoResult, evaluate_columns, none_if_nan
from sightline.evaluation.columns import Floats, Found, Ints, Kind, Truth, detections_of, targets_of
from sightline.evaluation.confusion import Confusion, confusion
from sightline.evaluation.curves import OperatingPoint, operating_points
from sightline.evaluation.errors import Errors, errors_of
from sightline.evaluation.matching import Matches, match_columns, matches_of_images
from sightline.evaluation.protocols import Protocol
from sightline.evaluation.voc import PROTOCOLS as VOC_PROTOCOLS
from sightline.evaluation.voc import VocResult, voc_evaluate

if TYPE_CHECKING:
    from sightline.structures import Detections, Target


DEFAULT_THRESHOLD = 0.5
"""Score from which detections are shown where no detection is right, so that no threshold is best."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How good a system is on a data set, and the results that it was judged by.

    Matches, operating points and what is said of single images are worked out when they are first asked for.

    Args:
        result: COCO's numbers.
        truth: the objects of the split, with the sizes of its images.
        found: what was found.
        image_ids: of the images.
        classes: what the labels mean.
        seconds_per_image: wall time of reading and predicting, or None where nobody measured it; proposals that are on
            the disk from an earlier look at the images are not made again for it.
        temperature: of the model, which the scores were given at; None where it is not known, as of a results file.
        protocols: by which the detections are judged; COCO's numbers are always there.
        also: COCO's numbers of further kinds, of masks or keypoints beside boxes.
    """

    result: CocoResult
    truth: Truth
    found: Found
    image_ids: tuple[int, ...]
    classes: Classes
    seconds_per_image: float | None = None
    temperature: float | None = None
    protocols: tuple[Protocol, ...] = ("coco",)
    also: tuple[CocoResult, ...] = ()

    @cached_property
    def matched(self) -> Matches:
        """Which detection found which object at overlap 0.5, in rows of ``found`` and ``truth``."""
        return match_columns(self.truth, self.found, iou=0.5, kind=self.result.kind, sigmas=self.result.sigmas or None)

    @cached_property
    def voc_results(self) -> tuple[VocResult, ...]:
        """What VOC's protocols say, of those that were chosen."""
        years = [year for year in VOC_PROTOCOLS if year in self.protocols]
        judged = voc_evaluate(self.truth, self.found, self.classes) if years else {}
        return tuple(judged[year] for year in years)

    def means(self) -> dict[str, float]:
        """The mean average precision by each chosen protocol, under its exact name; NaN where nothing is defined."""
        coco = {self.result.protocol: self.result.ap} if "coco" in self.protocols else {}
        return coco | {result.protocol: result.mean_ap for result in self.voc_results}

    def metrics(self) -> dict[str, float | None]:
        """COCO's numbers by name; those of further kinds have the kind before: ``masks_AP``."""
        further = {f"{each.kind}_{name}": value for each in self.also for name, value in each.metrics().items()}
        return self.result.metrics() | further

    @cached_property
    def targets(self) -> "tuple[Target, ...]":
        """The truth, one an image, without masks."""
        return targets_of(self.truth)

    @cached_property
    def detections(self) -> "tuple[Detections, ...]":
        """What was found, one an image, without masks."""
        if self.truth.sizes is None:
            raise ValueError("detections need the sizes of their images")
        return detections_of(self.found, self.truth.sizes)

    @cached_property
    def matches(self) -> tuple[Matches, ...]:
        """Which detection found which object at overlap 0.5, one an image."""
        return matches_of_images(self.matched, self.truth, self.found)

    @cached_property
    def _points(self) -> tuple[OperatingPoint, tuple[OperatingPoint, ...]]:
        return operating_points(self.truth, self.found, self.matched, self.classes, self.result.kind)

    @property
    def operating_point(self) -> OperatingPoint:
        """The one score threshold that serves all classes best."""
        return self._points[0]

    @property
    def class_operating_points(self) -> tuple[OperatingPoint, ...]:
        """The score threshold that serves each class best."""
        return self._points[1]

    @cached_property
    def turns(self) -> Ints:
        """(count,) turn of each image among their ids, by which COCO decides among equal scores."""
        turns: Ints = np.argsort(np.argsort(self.image_ids)).astype(np.int64)
        return turns

    @cached_property
    def errors(self) -> Errors:
        """Errors by kind, and what each kind costs."""
        return errors_of(self.truth, self.found, self.classes.names, self.turns)

    @property
    def shown_threshold(self) -> float:
        """The score from which detections are shown: the operating point's, or 0.5 where there is none."""
        threshold = self.operating_point.threshold
        return DEFAULT_THRESHOLD if math.isnan(threshold) else threshold

    @cached_property
    def confusion(self) -> Confusion:
        """What is taken for what, at the threshold from which detections are shown."""
        return confusion(self.truth, self.found, self.classes.names, self.shown_threshold)

    @cached_property
    def reliability(self) -> Reliability | None:
        """Whether scores mean what they say; None for scores that are no shares of 1."""
        return self._reliability_of(self.found.scores)

    @cached_property
    def reliability_before(self) -> Reliability | None:
        """The same at temperature 1, worked out backwards from the scores; None where the model's is 1 or not known."""
        if self.temperature is None or self.temperature == 1.0:
            return None
        return self._reliability_of(scores_at(self.found.scores, 1 / self.temperature))

    def _reliability_of(self, all_scores: Floats) -> Reliability | None:
        scores = all_scores[self.matched.counted]
        if not ((scores >= 0) & (scores <= 1)).all():
            return None
        return reliability(scores, self.matched.correct[self.matched.counted])

    def to_dict(self) -> dict[str, object]:
        """What ``metrics.json`` holds: plain values, ``None`` where there is nothing to measure."""
        return {
            "protocol": self.result.protocol,
            "images": self.truth.count,
            "objects": sum(found.objects for found in self.result.per_class),
            "metrics": self.result.metrics(),
            "operating_point": _point_dict(self.operating_point),
            "per_class": self._per_class(),
            **({"also": {each.kind: _result_dict(each) for each in self.also}} if self.also else {}),
            # Errors and confusion are told of boxes.
            "errors": self.errors.to_dict() if self.result.kind == "boxes" else None,
            "confusion": self.confusion.to_dict() if self.result.kind == "boxes" else None,
            "calibration": self._calibration_dict(),
            "seconds_per_image": self.seconds_per_image,
            **({"protocols": {r.protocol: r.to_dict() for r in self.voc_results}} if self.voc_results else {}),
        }

    def _per_class(self) -> list[dict[str, object]]:
        pairs = zip(self.result.per_class, self.class_operating_points, strict=True)
        return [{**_class_dict(found, self.result), "operating_point": _point_dict(point)} for found, point in pairs]

    def _calibration_dict(self) -> dict[str, object] | None:
        if self.reliability is None:
            return None
        before = None if self.reliability_before is None else none_if_nan(self.reliability_before.ece)
        return {"temperature": self.temperature, "ECE_at_temperature_1": before, **self.reliability.to_dict()}


def _result_dict(result: CocoResult) -> dict[str, object]:
    per_class = [_class_dict(found, result) for found in result.per_class]
    return {"protocol": result.protocol, "metrics": result.metrics(), "per_class": per_class}


def _class_dict(found: ClassResult, result: CocoResult) -> dict[str, object]:
    return {
        "name": found.name,
        "AP": none_if_nan(found.ap),
        "AP50": none_if_nan(found.ap50),
        "AP75": none_if_nan(found.ap75),
        result.recall_name: none_if_nan(found.ar),
        "objects": found.objects,
        "detections": found.detections,
    }


def _point_dict(point: OperatingPoint) -> dict[str, float | None]:
    return {
        "threshold": none_if_nan(point.threshold),
        "precision": none_if_nan(point.precision),
        "recall": none_if_nan(point.recall),
        "F1": none_if_nan(point.f1),
    }


def judge_columns(
    truth: Truth,
    found: Found,
    classes: Classes,
    image_ids: tuple[int, ...],
    seconds_per_image: float | None = None,
    *,
    kind: Kind = "boxes",
    sigmas: Sequence[float] | None = None,
    protocols: tuple[Protocol, ...] = ("coco",),
) -> Evaluation:
    """An evaluation of the results of a split.

    Args:
        truth: the objects.
        found: the detections, of the same images.
        classes: what the labels mean.
        image_ids: of the images, unique.
        seconds_per_image: wall time, if somebody measured it.
        kind: what is compared.
        sigmas: of keypoints, as for ``coco.evaluate_columns``.
        protocols: by which boxes are judged besides COCO's.

    Raises:
        ValueError: columns of different numbers of images, or a label that ``classes`` does not have.
    """
    result = evaluate_columns(truth, found, classes, image_ids, kind=kind, sigmas=sigmas)
    return Evaluation(result, truth, found, image_ids, classes, seconds_per_image, protocols=protocols)


def judged_also(evaluation: Evaluation, kinds: Sequence[Kind]) -> Evaluation:
    """The evaluation with COCO's numbers of further kinds of the same detections.

    Raises:
        ValueError: columns without the masks or keypoints that are to be judged.
    """
    truth, found, ids = evaluation.truth, evaluation.found, evaluation.image_ids
    also = [evaluate_columns(truth, found, evaluation.classes, ids, kind=kind) for kind in kinds]
    return replace(evaluation, also=tuple(also))
