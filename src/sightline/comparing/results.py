"""What the folder of a run says, as numbers of a table.

Nothing is measured here: the numbers of a row are those of its run's metrics.json and checkpoint, so that a table can
be made again from the folders. VOC's average precision is worked out from the run's predictions.json.

- ``train_seconds``: as the run counts them: validation and saving included, proposals before the first step not.
- ``proposal_seconds``: the time of one image's proposals, times the training and validation images. Proposals are kept
  on the disk for all systems, so that what a run waited for them (``proposals_waited``) says little.
- ``milliseconds``, ``given_milliseconds``: of one prediction, and of one with its proposals given; the same for systems
  that find their regions themselves. Medians of several predictions of one image; the quartiles stand beside them.
- ``train_memory``, ``predict_memory``: MB of 10^6 bytes: the peak of the training process, Python and its libraries
  included (on CUDA: of what PyTorch allocated), as far as it was saved; and as ``evaluation.cost`` has it.
- ``feature_bytes``: of the files in the run's folder ``features``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline.comparing.plan import Run
from sightline.data.dataset import Dataset
from sightline.errors import SightlineError
from sightline.evaluation.columns import Truth, truth_of
from sightline.evaluation.evaluation import Evaluation, judge_columns
from sightline.evaluation.results import read_results
from sightline.evaluation.truth import TruthOfSplit
from sightline.judging import METRICS_FILE, PREDICTIONS_FILE, REPORT_FILE
from sightline.report.comparison_data import TIMED, ComparedRun, quartile_keys
from sightline.training.checkpoints import peek_state
from sightline.training.history import read_history
from sightline.zoo import MODEL_FILE

FEATURES = "features"
"""Folder of a run that holds what a system keeps on the disk between its stages."""

_MB = 1e6


def split_of(data: Dataset) -> TruthOfSplit:
    """The images that all are judged on, as results are read for."""
    truth: Truth = truth_of([data.target(index) for index in range(len(data))])
    ids = tuple(record.image_id for record in data.records)
    return TruthOfSplit(data.name, data.split, data.root, truth, ids, data.classes, data.findings)


def evaluation_of(own: Path, split: TruthOfSplit) -> Evaluation:
    """A run's detections, judged by COCO's rules and by those of VOC 2007."""
    found = read_results(own / PREDICTIONS_FILE, split, "boxes").found
    evaluation = judge_columns(split.truth, found, split.classes, split.image_ids)
    return replace(evaluation, protocols=("coco", "voc07"))


def run_of(folder: Path, run: Run, evaluation: Evaluation) -> ComparedRun:
    """The numbers of a run that is done.

    Args:
        folder: of the comparison.
        run: one of its runs.
        evaluation: of its detections.

    Raises:
        SightlineError: its metrics.json cannot be read.
    """
    own = folder / run.folder
    metrics = _read(own / METRICS_FILE)
    trained = _training(own, run, metrics.get("cost") or {})
    numbers = {
        "AP": metrics["metrics"]["AP"],
        "AP50": metrics["metrics"]["AP50"],
        "VOC07_AP50": _plain(evaluation.voc_results[0].mean_ap),
        **trained,
        **_prediction(metrics.get("cost") or {}),
    }
    return ComparedRun(
        seed=run.seed,
        folder=run.folder,
        report=f"{run.folder}/{REPORT_FILE}",
        numbers=numbers,
        classes={found["name"]: found["AP"] for found in metrics["per_class"]},
        history=read_history(own / "history.csv"),
        warnings=tuple(metrics.get("warnings", ())),
    )


def _training(own: Path, run: Run, cost: Mapping[str, Any]) -> dict[str, float | None]:
    """What its training took; nothing where another row was trained, and what is known of a run that is given."""
    none = ("train_seconds", "proposal_seconds", "proposals_waited", "train_memory", "feature_bytes")
    place = own if run.entrant.way == "train" else Path(run.entrant.model)
    state = None if run.entrant.way == "trained" else peek_state(place / "last")
    if state is None:
        return dict.fromkeys(none)
    proposing = cost.get("proposal_milliseconds")
    images = None if proposing is None else images_of(place)
    return {
        "train_seconds": state.seconds,
        "proposal_seconds": None if proposing is None or images is None else proposing / 1e3 * images,
        "proposals_waited": None if proposing is None else state.proposal_seconds,
        "train_memory": state.peak_memory / _MB if state.peak_memory else None,
        "feature_bytes": size_of(place / FEATURES),
    }


def images_of(run: Path) -> int:
    """Training and validation images of a run, as its config.json has them.

    Raises:
        SightlineError: it cannot be read, or does not say.
    """
    file = run / "config.json"
    try:
        images = _read(file)["data"]["images"]
        return int(images["train"]) + int(images["val"])
    except (KeyError, TypeError, ValueError) as error:
        raise SightlineError(
            "does not say how many images were trained on (data.images.train, data.images.val)",
            place=file,
            cause="it was changed by hand, or comes from an older version",
            cure=f"name the model file instead of the run: {run / MODEL_FILE}; what training took is left out then",
        ) from error


def _prediction(cost: Mapping[str, Any]) -> dict[str, float | None]:
    given = cost.get("given_milliseconds")
    quartiles = {
        "milliseconds": cost.get("quartiles"),
        "proposal_milliseconds": cost.get("proposal_quartiles"),
        "given_milliseconds": cost.get("quartiles" if given is None else "given_quartiles"),
    }
    return {
        **{
            name: value
            for key in TIMED
            for name, value in zip(quartile_keys(key), quartiles[key] or (None, None), strict=True)
        },
        "milliseconds": cost.get("milliseconds"),
        "proposal_milliseconds": cost.get("proposal_milliseconds"),
        "given_milliseconds": cost.get("milliseconds") if given is None else given,
        "parameters": cost.get("parameters"),
        "flops": cost.get("flops"),
        "predict_memory": cost.get("peak_memory_mb"),
    }


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder; 0 where there is none."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) if folder.is_dir() else 0


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise SightlineError(f"cannot be read ({error})", place=file, cause="it was changed by hand") from error
