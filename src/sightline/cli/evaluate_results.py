"""``sightline evaluate --predictions``: anybody's results, judged without a model; only a report imports torch."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from sightline.cli import options
from sightline.cli.against import Rival, compared, found_by_model, found_in_results, require_boxes, require_usable
from sightline.cli.datasets import find_data
from sightline.cli.error_tables import show_comparison, show_errors
from sightline.cli.judgement import show_evaluation
from sightline.cli.output import counted, show_findings, show_json
from sightline.config import closest
from sightline.errors import ConfigError, DataError
from sightline.evaluation.bootstrap import Comparison
from sightline.evaluation.columns import Kind
from sightline.evaluation.evaluation import Evaluation, judge_columns
from sightline.evaluation.protocols import choose_protocols
from sightline.evaluation.results import Results, kinds_of, read_results
from sightline.evaluation.truth import TruthOfSplit, open_truth
from sightline.runtime import tune_allocator

if TYPE_CHECKING:
    from sightline.data.dataset import Dataset


@dataclass(frozen=True)
class Rules:
    """By what results are judged, as it was typed.

    Args:
        task: what to judge; None for what the file holds.
        sigmas: spreads of the keypoints, with commas between them; one stands for all.
        protocols: names of protocols.
    """

    task: str | None = None
    sigmas: str | None = None
    protocols: list[str] | None = None


def evaluate_results(
    predictions: Path,
    data: str,
    split: str | None,
    *,
    rules: Rules,
    rival: Rival | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Judge a results file and show, and where it is asked for write, what came out.

    Args:
        predictions: the results file.
        data: the word DATA of the command.
        split: the name of the split, or None for val, or for the one of an annotation file.
        rules: by what they are judged.
        rival: what is judged against, or None.
        out: the folder to make; None writes nothing.
        as_json: whether a machine reads the output.

    Raises:
        ConfigError: options that do not fit.
        DataError: results or annotations that cannot be used.
    """
    tune_allocator()  # columns come and go: a tenth of the time
    kind = _kind(predictions, rules.task)
    if rival is not None:
        require_boxes(kind)
    chosen = choose_protocols(rules.protocols, kind)
    truth = open_truth(find_data(data), split or "val", kind)
    options.require_split(split, truth.split, data)
    if rival is not None:
        require_usable(rival, truth.classes)
    spread = _sigmas(rules.sigmas, kind, truth)
    show_findings(truth.findings, truth.split)
    results = read_results(predictions, truth, kind)
    remarks = _remarks(results, truth, predictions)
    for line in remarks:
        print(line, file=sys.stderr)
    evaluation = judge_columns(
        truth.truth, results.found, truth.classes, truth.image_ids, kind=kind, sigmas=spread, protocols=chosen
    )
    comparison = None if rival is None else _comparison(evaluation, predictions, rival, truth)
    if out is not None:
        _write(out, evaluation, truth, predictions, remarks, comparison)
    if as_json:
        place = {"data": truth.name, "split": truth.split, "note": None, "predictions": str(predictions)}
        told = {"images_without_results": results.without, "out": None if out is None else str(out)}
        against = {} if comparison is None else {"comparison": comparison.to_dict()}
        show_json({**place, **evaluation.to_dict(), "temperature": None, "cost": None, **against, **told})
        return
    title = f"{predictions.name} on {truth.name}, split {truth.split}, {len(truth)} images"
    show_evaluation(evaluation, title)
    if kind == "boxes":
        show_errors(evaluation)
    if comparison is not None:
        show_comparison(comparison)
    if out is not None:
        print(f"written to {out}; open {out / 'report.html'}")


def _kind(predictions: Path, task: str | None) -> Kind:
    """What is judged: what was asked for, or the first of boxes, masks and keypoints that the file holds."""
    held = kinds_of(predictions)
    if task is None:
        if len(held) > 1:
            others = " and ".join(f"--task {kind}" for kind in held[1:])
            print(f"{predictions}: the boxes are judged; {others} judges what else the rows hold", file=sys.stderr)
        return held[0]
    kinds: tuple[Kind, ...] = get_args(Kind)
    for kind in kinds:
        if kind == task:
            return kind
    raise ConfigError(f"unknown task {task!r}", cure=closest(task, get_args(Kind)))


def _sigmas(text: str | None, kind: Kind, truth: TruthOfSplit) -> tuple[float, ...] | None:
    if text is None:
        return None
    if kind != "keypoints":
        raise ConfigError(f"--sigmas are of keypoints, but {kind} are judged", cure="leave --sigmas out")
    count = 0 if truth.truth.keypoints is None else truth.truth.keypoints.shape[1]
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"--sigmas {text} are no numbers", cure="give numbers with commas between them") from error
    values = values * count if len(values) == 1 else values
    if len(values) != count or not all(0 < value < float("inf") for value in values):
        raise ConfigError(
            f"--sigmas {text} do not fit {counted(count, 'keypoint')}",
            cure="give one number above 0 for each keypoint, or one for all",
        )
    return values


def _remarks(results: Results, truth: TruthOfSplit, predictions: Path) -> tuple[str, ...]:
    if not results.without:
        return results.notes
    line = (
        f"{predictions}: {results.without:,} of {counted(len(truth), 'image')} have no row: "
        "they count as images in which nothing was found"
    )
    return (line, *results.notes)


def _comparison(evaluation: Evaluation, predictions: Path, rival: Rival, truth: TruthOfSplit) -> Comparison:
    if not rival.is_results:
        from sightline.data.dataset import open_dataset

        images = open_dataset(truth.path, truth.split, classes=truth.classes)
        return compared(evaluation, str(predictions), rival, found_by_model(rival, images, evaluation))
    return compared(evaluation, str(predictions), rival, found_in_results(rival, truth))


def _write(
    out: Path,
    evaluation: Evaluation,
    truth: TruthOfSplit,
    predictions: Path,
    remarks: tuple[str, ...],
    comparison: Comparison | None,
) -> None:
    from sightline.judging import Judgement, write_judgement
    from sightline.workflow import new_folder

    pictures, missing = _pictures(truth)
    note = "; ".join([*remarks, *([missing] if missing else [])])
    with new_folder(out) as folder:
        judgement = Judgement(evaluation, None, truth, note, comparison=comparison, pictures=pictures)
        config = {"predictions": str(predictions), "judged": evaluation.result.kind}
        write_judgement(folder, judgement, title=f"{predictions.name} on {truth.name}", config=config)


def _pictures(truth: TruthOfSplit) -> "tuple[Dataset | None, str]":
    """The images that a report shows; None, and why, where they cannot be opened."""
    from sightline.data.dataset import open_dataset

    try:
        return open_dataset(truth.path, truth.split), ""
    except DataError as error:
        return None, f"no pictures are shown: {error.what}"
