"""How good a system is on a split and what it costs; written as numbers, results and a report.

What ``sightline evaluate`` does, and ``sightline train`` at its end. Nothing here prints.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sightline.contract import CombinedSystem, NeuralSystem, System, networks_of, with_proposers
from sightline.data.dataset import Dataset
from sightline.errors import ConfigError, DataError
from sightline.evaluation.bootstrap import Comparison
from sightline.evaluation.cost import WARM_UP, Cost, count_parameters, measure_cost
from sightline.evaluation.evaluate import Evaluation, LabelledImages, Progress, evaluate
from sightline.evaluation.model_temperature import (
    calibration_on,
    describe_calibration,
    evaluation_at,
    keep_calibration,
)
from sightline.evaluation.results import save_results
from sightline.evaluation.truth import TruthOfSplit
from sightline.files import write_atomically
from sightline.model_file import Calibration
from sightline.proposals.cache import cached
from sightline.report.gallery import Picture, gallery
from sightline.report.html import ReportData, write_report
from sightline.structures import Sample
from sightline.training.devices import choose_accelerator
from sightline.training.options import TrainOptions

METRICS_FILE, PREDICTIONS_FILE, REPORT_FILE = "metrics.json", "predictions.json", "report.html"
"""What a judgement writes."""

CHOSEN_HERE = "these images also chose the best weights"
"""Said of a judgement on the validation split of a training run."""

PredictPrecision = Literal["fp32", "bf16"]

_COST_SECONDS = 10.0
_COST_REPEATS = (3, 20)


@dataclass(frozen=True, eq=False)
class Judgement:
    """What is known of a system on one split.

    Args:
        evaluation: how good it is.
        cost: what one prediction costs, or None if that was not measured.
        data: the split.
        note: what has to be known to read the numbers right, or nothing.
        calibration: where the system's temperature comes from, if it is known.
        warnings: of its training: what the data have too little of, and what its fits warned of.
        comparison: with another model on the same images, or None.
        pictures: what a report shows, where ``data`` is only the truth; None shows none.
        combination: how a combined system looked (``CombinedSystem.describe``), with the words for its models under
            ``models`` where they are known; None for one model as it is.
    """

    evaluation: Evaluation
    cost: Cost | None
    data: Dataset | TruthOfSplit
    note: str = ""
    calibration: Calibration | None = None
    warnings: tuple[str, ...] = ()
    comparison: Comparison | None = None
    pictures: LabelledImages | None = None
    combination: Mapping[str, object] | None = None

    def to_dict(self) -> dict[str, object]:
        """What metrics.json holds."""
        cost = None if self.cost is None else self.cost.to_dict()
        place = {"data": self.data.name, "split": self.data.split, "note": self.note or None}
        fitted = None if self.calibration is None else asdict(self.calibration)
        told = {"temperature": fitted, "cost": cost, "warnings": list(self.warnings)}
        document = {**place, **self.evaluation.to_dict(), **told}
        if self.combination is not None:
            document["combination"] = dict(self.combination)
        return document if self.comparison is None else {**document, "comparison": self.comparison.to_dict()}


def judge(
    system: System[Any],
    data: Dataset,
    *,
    device: str = "auto",
    precision: PredictPrecision = "fp32",
    batch_size: int = 4,
    workers: int = 1,
    progress: Progress | None = None,
) -> Judgement:
    """How good a system is on a split, and what a prediction of it costs.

    Args:
        system: any detector.
        data: opened with the system's classes.
        device: auto, cpu, cuda, cuda:1 or mps.
        precision: of the network's arithmetic.
        batch_size: images predicted at once.
        workers: threads that read images ahead.
        progress: called with images done and images in all.
    """
    data, note = _with_masks(data, system)
    fast = ready(system, device=device, precision=precision)
    evaluation = evaluate(keeping_proposals(fast), data, batch_size=batch_size, workers=workers, progress=progress)
    combination = system.describe() if isinstance(system, CombinedSystem) else None
    return Judgement(evaluation, _cost(system, fast, data[0]), data, note, combination=combination)


def require_learnable(data: Dataset, system: System[Any]) -> Dataset:
    """A split as a system learns from it and is judged by: with masks where it finds masks.

    Raises:
        DataError: objects without masks, or other keypoints than the system's.
    """
    if "keypoints" in system.finds and data.keypoint_names != system.keypoint_names:
        theirs, ours = data.keypoint_names, system.keypoint_names
        told = f"{len(theirs)} ({', '.join(theirs)})" if theirs else "none"
        raise DataError(
            f"{system.name} is to find {len(ours)} keypoints ({', '.join(ours)}), but the set has {told}",
            place=f"{data.root}, split {data.split}",
            cure=f"--set 'keypoints={json.dumps(theirs)}'"
            if theirs
            else "use a set with keypoints, or another --model",
        )
    if "masks" not in system.finds:
        return data
    bare = next((record for record in data.records if not record.masked.all()), None)
    if bare is not None:
        raise DataError(
            f"{system.name} learns from masks, but an object of image {bare.path.name} has none",
            place=f"{data.root}, split {data.split}",
            cure="use a set with masks, or a --model for boxes such as faster_rcnn",
        )
    return replace(data, masks=True)


def _with_masks(data: Dataset, system: System[Any]) -> tuple[Dataset, str]:
    """A split with the masks that a system's are judged by, and what cannot be judged, or nothing."""
    if "masks" in system.finds:
        if not all(record.masked.all() for record in data.records):
            return data, "its masks are not judged, because not all objects of the set have one"
        return replace(data, masks=True), ""
    if "keypoints" in system.finds and len(data.keypoint_names) != len(system.keypoint_names):
        return data, "its keypoints are not judged, because the set has others or none"
    return data, ""


def judge_trained(
    best: NeuralSystem[Any, Any],
    path: Path,
    val: Dataset,
    test: Dataset,
    device: str,
    progress: Callable[[str], Progress],
) -> tuple[Judgement, str]:
    """Fit the temperature of the best weights on the validation split, keep it in their file, and judge them.

    Args:
        best: as loaded from its file.
        path: the file.
        val: the split that chose the weights.
        test: the split to judge on, which may be the same.
        device: auto, cpu, cuda, cuda:1 or mps.
        progress: gives what is called with images done and images in all of a split of a name.

    Returns:
        The judgement, and a line on the temperature for the log.
    """
    # A run that ended before has one already, and it is fitted to scores as the network gives them.
    best.temperature = 1.0
    fast = ready(best, device=device)
    validated = evaluate(keeping_proposals(fast), val, progress=progress(val.split))
    calibration = calibration_on(validated, val.name, val.split)
    keep_calibration(path, best, calibration)
    line = describe_calibration(calibration)
    if test.split == val.split:
        evaluation = evaluation_at(validated, best.temperature)
        return Judgement(evaluation, _cost(best, fast, val[0]), val, CHOSEN_HERE, calibration), line
    return replace(judge(best, test, device=device, progress=progress(test.split)), calibration=calibration), line


def write_judgement(
    folder: Path,
    judgement: Judgement,
    *,
    title: str,
    config: Mapping[str, object],
    history: Sequence[Mapping[str, object]] = (),
) -> tuple[Picture, ...]:
    """Write metrics.json, predictions.json (COCO results) and report.html to a folder that exists.

    Args:
        folder: where to; files of these names are replaced.
        judgement: what is known.
        title: of the report.
        config: shown in the report.
        history: one row an epoch, empty without training.

    Returns:
        The report's pictures.
    """
    evaluation, data = judgement.evaluation, judgement.data
    write_atomically(folder / METRICS_FILE, json.dumps(judgement.to_dict(), indent=2) + "\n")
    save_results(folder / PREDICTIONS_FILE, evaluation.found, evaluation.image_ids, evaluation.classes)
    images = data if isinstance(data, Dataset) else judgement.pictures
    pictures = () if images is None else gallery(evaluation, images)
    report = ReportData(
        title=title,
        config=config,
        history=history,
        evaluation=evaluation,
        cost=judgement.cost,
        gallery=pictures,
        findings=dict(data.findings),
        notes=(
            f"Judged on the split {data.split} of {data.name}{_after_colon(judgement.note)}.",
            *(f"Warning: {warning}." for warning in judgement.warnings),
        ),
        calibration=judgement.calibration,
        comparison=judgement.comparison,
        combination=judgement.combination,
    )
    write_report(folder / REPORT_FILE, report)
    return pictures


def ready(system: System[Any], *, device: str = "auto", precision: PredictPrecision = "fp32") -> System[Any]:
    """A copy of a system that only predicts, on a device and as fast as it can; a classical system as it is.

    Of a combined system the members are such copies.

    Raises:
        ConfigError: a device that this machine does not have, or an unknown precision.
    """
    if precision not in ("fp32", "bf16"):
        raise ConfigError(f"unknown precision {precision!r}", cure="choose fp32 or bf16")
    name, index = choose_accelerator(TrainOptions(device=device))
    if isinstance(system, CombinedSystem):
        return system.with_members([ready(member, device=device, precision=precision) for member in system.members])
    if not isinstance(system, NeuralSystem):
        return system
    return system.for_prediction(precision).to(name if index is None else f"{name}:{index}")


def keeping_proposals(system: System[Any]) -> System[Any]:
    """The system, its proposers replaced by ones that keep what they propose on the disk; parameters are shared.

    For predicting sets of images again and again; what is timed must propose anew.
    """
    return with_proposers(system, lambda proposer, _: cached(proposer))


def _after_colon(note: str) -> str:
    return f": {note}" if note else ""


def _cost(system: System[Any], fast: System[Any], sample: Sample) -> Cost | None:
    """The cost of one prediction, timed for some seconds; parameters are counted before norms are folded away."""
    if not networks_of(fast):
        return None
    fast.predict([sample.image])
    start = time.perf_counter()
    fast.predict([sample.image])
    seconds = max(1e-6, time.perf_counter() - start)
    least, most = _COST_REPEATS
    # Slow predictions are warm after the two that were made already.
    warm_up = WARM_UP if seconds < 1 else 0
    cost = measure_cost(
        fast, sample.image, repeats=max(least, min(most, int(_COST_SECONDS / seconds))), warm_up=warm_up
    )
    total, learning = count_parameters(system)
    return replace(cost, parameters=total, trainable=learning)
