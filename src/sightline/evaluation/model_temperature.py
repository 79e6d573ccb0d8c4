"""The temperature of a trained model: fitted to its detections on the validation split, kept in its file.

Never fitted to a test split: what is said of it there would then be too good. ``contract.NeuralSystem.predict`` applies
the temperature; calibration.py says how it is found.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline.contract import NeuralSystem
from sightline.evaluation.calibration import fit_temperature, scores_at
from sightline.evaluation.coco import none_if_nan
from sightline.evaluation.evaluation import Evaluation, judge_columns, judged_also
from sightline.model_file import Calibration, read_header, write_model


def calibration_on(evaluation: Evaluation, data: str, split: str) -> Calibration:
    """The temperature for a model, fitted to its detections at temperature 1.

    Args:
        evaluation: of the model at temperature 1, on images that it was not trained on.
        data: name of the set.
        split: of the set.
    """
    counted = evaluation.matched.counted
    fitted = fit_temperature(evaluation.found.scores[counted], evaluation.matched.correct[counted])
    before, after = evaluation.reliability, evaluation_at(evaluation, fitted.value).reliability
    return Calibration(
        temperature=fitted.value,
        ece_before=None if before is None else none_if_nan(before.ece),
        ece_after=None if after is None else none_if_nan(after.ece),
        data=data,
        split=split,
        detections=fitted.detections,
        note=fitted.note,
    )


def evaluation_at(evaluation: Evaluation, temperature: float) -> Evaluation:
    """What the evaluation of a model at temperature 1 would be at another: judged anew, without predicting again.

    Args:
        evaluation: at temperature 1.
        temperature: the other one.
    """
    if temperature == 1.0:
        return evaluation
    found = replace(evaluation.found, scores=scores_at(evaluation.found.scores, temperature))
    judged = judge_columns(
        evaluation.truth,
        found,
        evaluation.classes,
        evaluation.image_ids,
        evaluation.seconds_per_image,
    )
    return replace(judged_also(judged, [each.kind for each in evaluation.also]), temperature=temperature)


def keep_calibration(path: Path, system: NeuralSystem[Any, Any], calibration: Calibration) -> None:
    """Give a system its temperature, and write it into the system's model file, in one move.

    Args:
        path: the file that the system was loaded from.
        system: as loaded.
        calibration: the temperature and where it comes from.

    Raises:
        ModelFileError: the file cannot be read.
        SightlineError: it cannot be written; it is unharmed then.
    """
    header = read_header(path)
    system.temperature = calibration.temperature
    write_model(
        path,
        system,
        stage=header.stage,
        metrics=header.metrics,
        provenance=header.provenance,
        calibration=calibration,
    )


def describe_calibration(calibration: Calibration) -> str:
    """One line for the log."""
    where = f"{calibration.detections} detections on {calibration.data}, split {calibration.split}"
    if calibration.note and calibration.temperature == 1.0:
        return f"scores stay as they are: {calibration.note} ({where})"
    before, after = calibration.ece_before, calibration.ece_after
    change = "" if before is None or after is None else f"; calibration error (ECE) there {before:.3f}, now {after:.3f}"
    note = f" ({calibration.note})" if calibration.note else ""
    return f"temperature {calibration.temperature:.3f}{note}, fitted to {where}{change}"
