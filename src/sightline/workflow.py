"""From a folder of labelled images to a judged detector: what ``sightline train`` does, for Python as well.

Here the rooms meet: data are opened, the system is trained by its recipe, the best weights are judged, and everything
is written to the run folder. They are judged on the test split, whose images had no part in training. Where a set has
none the validation split serves, whose images chose the best weights; that flatters, and the results say so. Nothing
here prints.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from sightline.contract import NeuralSystem, System
from sightline.data.bad_images import OnBadImage
from sightline.data.catalogue.install import resolve_data
from sightline.data.dataset import Dataset, open_dataset
from sightline.data.dataset import splits as splits_of
from sightline.data.screening import screened
from sightline.errors import ConfigError, SightlineError
from sightline.evaluation.evaluate import LabelledImages, Progress, judge, predict_columns
from sightline.files import writing
from sightline.judging import (
    REPORT_FILE,
    Judgement,
    PredictPrecision,
    judge_trained,
    keeping_proposals,
    require_learnable,
    write_judgement,
)
from sightline.processes import Processes
from sightline.recipes import GradientStage
from sightline.report.gallery import Picture
from sightline.structures import Classes, Sample
from sightline.training import runner
from sightline.training.checkpoints import has_checkpoint
from sightline.training.continuation import JUDGED, require_way_on
from sightline.training.devices import choose_accelerator, choose_precision
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.loggers.choose import build_logger, parse_choices
from sightline.training.loggers.logged import Logged, LoggerOutcome
from sightline.training.options import TrainOptions
from sightline.training.progress import Progress as TrainProgress
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.validation import Evaluate
from sightline.zoo import load

RUNS = Path("runs")
"""Where runs go unless told otherwise."""


@dataclass(frozen=True)
class Splits:
    """Which splits of a set are used for what.

    Args:
        train: learned from.
        val: judged by during training; the best weights are those that do best on it.
        test: judged by at the end; None stands for ``test`` where the set has one, and for ``val`` where not.
    """

    train: str = "train"
    val: str = "val"
    test: str | None = None


@dataclass(frozen=True, eq=False)
class SplitData:
    """The opened splits of one set, all with the same classes."""

    train: Dataset
    val: Dataset
    test: Dataset

    @property
    def classes(self) -> Classes:
        """What the labels mean."""
        return self.train.classes

    @property
    def findings(self) -> dict[str, dict[str, int]]:
        """What was dropped or repaired at reading: counts by reason, by split."""
        return {part.split: dict(part.findings) for part in (self.train, self.val, self.test)}


@dataclass(frozen=True, eq=False)
class Trained:
    """What came out of a training run.

    Args:
        folder: the run folder.
        result: how the run ended; a run that was stopped is not finished and can be resumed.
        system: with the best weights, ready to predict; None unless the run is finished.
        judgement: of the best weights on the test split; None unless the run is finished, and in the helper processes
            of a distributed run.
        loggers: what became of each experiment logger.
    """

    folder: Path
    result: runner.TrainResult
    system: NeuralSystem[Any, Any] | None = None
    judgement: Judgement | None = None
    loggers: tuple[LoggerOutcome, ...] = ()


def open_splits(
    path: str | Path,
    splits: Splits | None = None,
    *,
    classes: Classes | None = None,
    on_bad_image: OnBadImage = "raise",
    progress: Progress | None = None,
) -> SplitData:
    """The splits of a set for training.

    Args:
        path: the set, as for ``open_dataset``.
        splits: which are used for what.
        classes: those of a system that exists already; default: the training split's own.
        on_bad_image: what to do with images that cannot be read; ``skip`` and ``salvage`` decode all images once.
        progress: called with images done and images in all of a split, while they are decoded.

    Raises:
        DataError: as ``open_dataset``; or no image of a split can be read.
    """
    splits = Splits() if splits is None else splits
    path = resolve_data(path)
    names = splits_of(path)
    for split in dict.fromkeys((splits.train, splits.val, splits.test or splits.val)):
        if split not in names and path.is_dir():
            open_dataset(path, split)  # says what is missing before the others are read
    train_split = screened(open_dataset(path, splits.train, classes=classes), on_bad_image, progress)
    val = screened(open_dataset(path, splits.val, classes=train_split.classes), on_bad_image, progress)
    test = splits.test or ("test" if "test" in names else splits.val)
    if test == splits.val:
        return SplitData(train_split, val, val)
    test_split = screened(open_dataset(path, test, classes=train_split.classes), on_bad_image, progress)
    return SplitData(train_split, val, test_split)


def train(
    system: System[Any],
    data: SplitData | str | Path,
    *,
    out: str | Path | None = None,
    options: TrainOptions | None = None,
    splits: Splits | None = None,
    progress: TrainProgress | None = None,
) -> Trained:
    """Train a system on a set of labelled images, judge it, and write all of it to a run folder.

    Args:
        system: from ``sightline.create``, with the data's classes or more.
        data: the set: a path, or splits that are open already.
        out: the run folder; default: the next free ``runs/NAME-SET-1``.
        options: how long, where, with which seed; default: as the system's paper does it.
        splits: which splits are used for what, where ``data`` is a path.
        progress: what a person sees; default: nothing.

    Returns:
        The run: its folder holds config.json, history.csv, metrics.json, predictions.json, best.safetensors, last/,
        report.html and log.txt.

    Raises:
        ConfigError: options that do not fit, a run folder that is in use, or a run that is not to be resumed or
            extended.
        DataError: data that cannot be read, or without the masks or keypoints that the system learns from.
        SightlineError: as ``training.runner.train``.
    """
    options = TrainOptions() if options is None else options
    system = _trainable(system)
    _require_named_run(out, options)
    if not isinstance(data, SplitData):
        data = open_splits(data, splits, classes=system.classes)
    elif data.classes != system.classes:
        theirs, ours = ", ".join(data.classes.names), ", ".join(system.classes.names)
        raise ConfigError(
            f"the data have the classes {theirs}, but the system {ours}",
            cure="create the system with the data's classes",
        )
    data = SplitData(*(require_learnable(part, system) for part in (data.train, data.val, data.test)))
    shown = SilentProgress() if progress is None else progress
    validation = _validation(options, shown)
    folder = next_folder(RUNS / f"{system.name}-{data.train.name}", numbered=True) if out is None else Path(out)
    with (
        RunFolder.create(folder, resume=options.goes_on, from_previous=options.from_previous) as run,
        _logged(shown, options, run) as told,
    ):
        require_way_on(folder, options)
        origin = _record_data(run, data, system)
        train_data = TrainData(_reduced_where_shrunk(data.train, system), data.val, origin)
        try:
            result = runner.train(system, system.recipe(), train_data, options, run, evaluate=validation, progress=told)
        except SightlineError as error:
            _withdraw(run, error)
            raise
        if not result.finished or run.lock is None:
            return Trained(folder, result, loggers=told.outcomes)
        told.working("loading the best weights")
        best = cast(NeuralSystem[Any, Any], load(result.best))
        verdict, line = judge_trained(
            best, result.best, data.val, data.test, options.device, lambda split: _judging(told, split)
        )
        verdict = replace(verdict, warnings=result.warnings)
        told.log(line)
        run.log(line)
        history = read_history(run.history)
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config.pop(JUDGED, None)
        title = f"{folder.name}: {system.name} on {data.train.name}"
        told.working("drawing pictures and writing the report")
        with writing(folder, "make room and give the same command with --resume: only the judgement is missing"):
            pictures = write_judgement(folder, verdict, title=title, config=config, history=history)
        run.record(JUDGED, {"rows": result.rows}, free=("rows",))
        _tell_judged(told, verdict, pictures, folder / REPORT_FILE)
    return Trained(folder, result, best, verdict, told.outcomes)


def _require_named_run(out: str | Path | None, options: TrainOptions) -> None:
    """A run that is to go on has to be named and there, which is looked at before anything is opened."""
    if not options.goes_on:
        return
    if out is None:
        what = "resumed" if options.resume else "extended"
        raise ConfigError(f"which run is to be {what} is not said", cure="name its folder with --out")
    require_way_on(Path(out), options)


def _record_data(run: RunFolder, data: SplitData, system: NeuralSystem[Any, Any]) -> str:
    """Write down what is learned from; returns the provenance of the model, which stays that of the run's beginning."""
    origin = f"trained on {data.train.name}, split {data.train.split}; started from {system.origin}"
    if run.resumed:  # the system may have been made from another file by now
        origin = str(run.recorded("data").get("origin", origin))
    run.record("data", {**_description(data), "origin": origin}, free=("path", "origin"))
    return origin


def _logged(shown: TrainProgress, options: TrainOptions, run: RunFolder) -> Logged:
    """What a person sees and, in the process that writes, the loggers."""
    choices = parse_choices(options.loggers) if run.lock is not None else ()
    return Logged(shown, [build_logger(choice) for choice in choices], run, options.log_every)


def _tell_judged(told: Logged, judgement: Judgement, pictures: Sequence[Picture], report: Path) -> None:
    metrics = {**judgement.evaluation.result.metrics(), "temperature": judgement.evaluation.temperature}
    told.judged(
        {name: value for name, value in metrics.items() if value is not None},
        {f"{picture.kind}/{picture.image_id}": picture.jpeg for picture in pictures},
        report,
    )


def _reduced_where_shrunk(data: Dataset, system: NeuralSystem[Any, Any]) -> Dataset:
    """The training split with large JPEGs decoded no larger than needed, unless an augmentation magnifies parts."""
    stages = [stage for stage in system.recipe().stages if isinstance(stage, GradientStage)]
    if any(transform.magnifies for stage in stages for transform in stage.augmentation):
        return data
    return replace(data, shorter_side=system.preparation.shorter_side)


def image_size_settings(config: Any, short_side: int) -> dict[str, object]:
    """The settings that make a system resize images to another short side; a long side that is set keeps in proportion.

    Raises:
        ConfigError: the system has no short side to choose, or the size makes no sense.
    """
    names = {field.name for field in fields(config)}
    if not {"short_side", "long_side"} <= names:
        raise ConfigError("this model's image size is fixed", cure="leave --imgsz out")
    _require_side(short_side)
    # 0 stands for what suits the other settings, the short side among them.
    proportion = config.long_side / config.short_side if config.short_side else 0
    return {"short_side": short_side, "long_side": round(proportion * short_side)}


def resized(system: System[Any], short_side: int | None) -> System[Any]:
    """A copy of the system with its preparation at another resolution; the system itself for None.

    Raises:
        ConfigError: the system has no preparation to change, or the size makes no sense.
    """
    if short_side is None:
        return system
    if not isinstance(system, NeuralSystem):
        raise ConfigError("this model's image size is fixed", cure="leave --imgsz out")
    _require_side(short_side)
    copy = deepcopy(system)
    copy.preparation = system.preparation.with_size(short_side)
    return copy


def _require_side(short_side: int) -> None:
    if short_side < 1:
        raise ConfigError(f"the short side must be at least 1 pixel, got {short_side}", cure="give a larger --imgsz")


def require_free(folder: Path) -> None:
    """Raise ``ConfigError`` unless a folder does not exist or is empty: nothing of the user's is ever overwritten."""
    if folder.is_symlink() or folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ConfigError("there is something at this place already", place=folder, cure="choose another --out")


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """A folder to write results to, made now; removed again if the block fails and nothing was written.

    Raises:
        ConfigError: there is something already, or the folder cannot be made.
    """
    require_free(folder)
    there = folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"the folder cannot be made ({error.strerror})", place=folder, cure="choose another --out"
        ) from error
    try:
        yield folder
    finally:
        if not there and not any(folder.iterdir()):
            folder.rmdir()


def next_folder(base: Path, *, numbered: bool = False) -> Path:
    """The first of ``base``, ``base-2``, ``base-3`` ... that does not exist; ``base-1`` first if all are numbered."""
    number = 1
    while True:
        folder = base if number == 1 and not numbered else base.with_name(f"{base.name}-{number}")
        if not folder.exists():
            return folder
        number += 1


def _withdraw(run: RunFolder, error: SightlineError) -> None:
    """Take away what a run wrote that never began, so that the same command works once its mistake is mended.

    A run that had begun keeps everything, and its log says what ended it.
    """
    if run.lock is None:
        return
    if run.resumed or has_checkpoint(run.last):
        with suppress(SightlineError):  # the disk that is full may be what ended it
            run.log(f"ended by an error: {error}")
        return
    for name in ("config.json", "log.txt"):
        (run.path / name).unlink(missing_ok=True)
    run.close()
    (run.path / ".lock").unlink(missing_ok=True)
    if not any(run.path.iterdir()):
        run.path.rmdir()


def _trainable(system: System[Any]) -> NeuralSystem[Any, Any]:
    if not isinstance(system, NeuralSystem):
        raise ConfigError(f"{system.name} does not learn by this runner", cure="choose a neural system")
    return system


def _validation(options: TrainOptions, shown: TrainProgress) -> Evaluate:
    """Average precision in the precision that the run trains in.

    First, to decide what is best, comes AP of what the system is for: of masks or keypoints where it finds such.
    """
    accelerator, _ = choose_accelerator(options)
    precision: PredictPrecision = "bf16" if choose_precision(options, accelerator)[0] == "bf16-mixed" else "fp32"

    def measure(system: System[Any], samples: Sequence[Sample], processes: Processes) -> Mapping[str, float]:
        fast = keeping_proposals(system.for_prediction(precision) if isinstance(system, NeuralSystem) else system)
        data = cast(LabelledImages, samples)
        progress = _judging(shown, "validation")
        found = predict_columns(fast, data, workers=1, progress=progress, processes=processes)
        if not processes.leads:
            return {}
        metrics = judge(found, data, finds=system.finds).metrics()
        kind = system.finds[-1]
        decisive = "AP" if kind == "boxes" else f"{kind}_AP"
        # What cannot be measured on these images (large objects where there are none) never can: it is left out.
        return {decisive: math.nan} | {name: value for name, value in metrics.items() if value is not None}

    return measure


def _judging(shown: TrainProgress, split: str) -> Progress:
    """Tells how many images of a split are predicted, and then that the rest is being worked out."""

    def tell(done: int, total: int) -> None:
        if done < total:
            shown.working(f"predicting the {split} split", done, total)
        else:
            shown.working(f"judging the {split} split")

    shown.working(f"predicting the {split} split")
    return tell


def _description(data: SplitData) -> dict[str, object]:
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "name": data.train.name,
        "path": str(data.train.root.resolve()),
        "splits": {use: part.split for use, part in parts.items()},
        "images": {use: len(part) for use, part in parts.items()},
        "classes": asdict(data.classes),
    }
