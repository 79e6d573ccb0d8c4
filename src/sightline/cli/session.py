"""What train and demo share: a training run with all that a person sees of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import typer

from sightline.cli.combining import told
from sightline.cli.error_tables import show_comparison, show_errors
from sightline.cli.judgement import show_evaluation
from sightline.cli.output import findings_lines, share, show_json, show_table
from sightline.config import parse_assignments
from sightline.contract import System
from sightline.data.bad_images import OnBadImage
from sightline.errors import ConfigError
from sightline.evaluation.cost import Cost
from sightline.judging import METRICS_FILE, PREDICTIONS_FILE, REPORT_FILE, Judgement
from sightline.replicates import SEEDS_FILE, SEEDS_REPORT, Replicates, require_seeds, train_seeds
from sightline.training.continuation import require_way_on
from sightline.training.devices import choose_accelerator
from sightline.training.options import TrainOptions
from sightline.training.processes.launching import require_started
from sightline.training.progress import Progress
from sightline.training.run_folder import require_usable
from sightline.workflow import (
    SplitData,
    Splits,
    Trained,
    image_size_settings,
    open_splits,
    train,
)
from sightline.zoo import MODEL_FILE, configure, create

INTERRUPTED = 130


@dataclass(frozen=True)
class Start:
    """What a run starts from.

    Args:
        model: name in the catalogue.
        assignments: ``name=value`` settings.
        backbone: another backbone than the model's own.
        image_size: short side that images are resized to.
        weights: of the whole model.
        backbone_weights: of the backbone alone.
        fixed: settings that a command brings along.
    """

    model: str
    assignments: tuple[str, ...] = ()
    backbone: str | None = None
    image_size: int | None = None
    weights: str | None = None
    backbone_weights: str | None = None
    fixed: Mapping[str, object] = field(default_factory=dict)

    def settings(self) -> dict[str, object]:
        """All that differs from the model's defaults.

        Raises:
            ConfigError: a setting that is given twice, or does not fit.
            ModelFileError: weights that are a model file which cannot be read or is of another system.
        """
        settings = {**self.fixed, **parse_assignments(self.assignments)}
        if self.backbone is not None:
            _add(settings, {"backbone": self.backbone}, "--backbone")
        config = configure(self.model, settings, self.weights)
        if self.image_size is not None:
            _add(settings, image_size_settings(config, self.image_size), "--imgsz")
        return settings

    def build(self, settings: Mapping[str, object], data: SplitData, seed: int) -> System[Any]:
        """The system of a seed, with the data's classes."""
        return create(
            self.model,
            classes=data.classes,
            settings=settings,
            weights=self.weights,
            backbone_weights=self.backbone_weights,
            seed=seed,
        )


def run_training(
    start: Start,
    data: Path,
    splits: Splits,
    options: TrainOptions,
    progress: Progress,
    *,
    out: Path | None,
    as_json: bool,
    on_bad_image: OnBadImage = "raise",
) -> Trained:
    """Open the data, create the system, train it, judge it, and show where everything is.

    What can be known to be wrong before data are read is looked at first.

    Raises:
        SightlineError: whatever goes wrong.
        typer.Exit: the run was interrupted; it is saved.
    """
    start = start_of_extension(start, out, options) if options.extend is not None else start
    settings = start.settings()
    choose_accelerator(options)
    require_started(options)
    if out is not None:
        require_usable(out, resume=options.goes_on)
        require_way_on(out, options)
    opened = _opened(data, splits, progress, on_bad_image)
    progress.working(f"building {start.model}")
    system = start.build(settings, opened, options.seed)
    trained = train(system, opened, out=out, options=options, progress=progress)
    progress.stop()
    if not trained.result.finished:
        raise typer.Exit(INTERRUPTED)
    if trained.judgement is not None:
        show_trained(trained, trained.judgement, opened, as_json)
    return trained


def run_seeds(
    start: Start,
    data: Path,
    splits: Splits,
    options: TrainOptions,
    progress: Progress,
    *,
    seeds: int,
    out: Path | None,
    on_bad_image: OnBadImage = "raise",
) -> Replicates:
    """Open the data, train the system with several seeds, one after the other.

    Raises:
        SightlineError: whatever goes wrong.
        typer.Exit: a run was interrupted; it is saved.
    """
    require_seeds(seeds, options, out)
    settings = start.settings()
    choose_accelerator(options)
    opened = _opened(data, splits, progress, on_bad_image)
    joined = train_seeds(
        lambda seed: start.build(settings, opened, seed), opened, seeds, out=out, options=options, progress=progress
    )
    progress.stop()
    if not joined.finished:
        raise typer.Exit(INTERRUPTED)
    return joined


def show_seeds(joined: Replicates, as_json: bool) -> None:
    """Mean and spread of every metric, each seed beside them, and where everything is."""
    if as_json:
        show_json({**joined.to_dict(), "folder": str(joined.folder)})
        return
    columns = ["metric", ">mean", ">std", ">min", ">max", ">n", *(f">seed {run.seed}" for run in joined.runs)]
    rows = [
        [
            name,
            *(share(value) for value in (spread.mean, spread.deviation, spread.least, spread.greatest)),
            str(spread.count),
            *(share(run.metrics.get(name)) for run in joined.runs),
        ]
        for name, spread in joined.metrics.items()
    ]
    show_table(columns, rows, title=f"{joined.place}; std is the sample standard deviation over the seeds")
    for name, place in (("runs", joined.folder), ("numbers", joined.folder / SEEDS_FILE)):
        print(f"{name + ':':<13}{place}")
    print(f"{'report:':<13}{joined.folder / SEEDS_REPORT}")


def _opened(data: Path, splits: Splits, progress: Progress, on_bad_image: OnBadImage) -> SplitData:
    """The splits, with what was dropped or repaired said."""
    progress.working(f"opening {data}")
    looked = partial(progress.working, "looking at images")
    opened = open_splits(data, splits, on_bad_image=on_bad_image, progress=looked)
    for split, findings in opened.findings.items():
        for line in findings_lines(findings, split):
            progress.log(line)
    return opened


def start_of_extension(start: Start, out: Path | None, options: TrainOptions) -> Start:
    """What an extension starts from: the run itself, whose model file says how the system is configured.

    Raises:
        ConfigError: there is no such run, it is not finished, or weights are given beside it.
    """
    if start.weights is not None:
        raise ConfigError(
            "--extend and --weights exclude each other",
            cause="--extend trains the finished run in --out for more epochs, --weights begins a new run from a file",
            cure="leave --weights out to extend the run, or --extend to begin another",
        )
    if out is None:
        raise ConfigError("which run is to be extended is not said", cure="name its folder with --out")
    require_way_on(out, options)  # before its model file is looked for
    return start if start.backbone_weights is not None else replace(start, weights=str(out))


def show_trained(trained: Trained, judgement: Judgement, data: SplitData, as_json: bool) -> None:
    """The numbers, and where everything is."""
    places = {
        "model": trained.folder / MODEL_FILE,
        "metrics": trained.folder / METRICS_FILE,
        "predictions": trained.folder / PREDICTIONS_FILE,
        "report": trained.folder / REPORT_FILE,
    }
    if as_json:
        run = {"folder": str(trained.folder), "seconds": trained.result.seconds, "steps": trained.result.steps}
        files = {name: str(place) for name, place in places.items()}
        loggers = {each.name: {"place": str(each.place), "failure": each.failure} for each in trained.loggers}
        told = {"run": run, "files": files, "loggers": loggers, "findings": data.findings}
        show_json({**judgement.to_dict(), **told})
        return
    show_judgement(judgement)
    places |= {each.name: each.place for each in trained.loggers}
    for name, place in places.items():
        print(f"{name + ':':<13}{place}")


def show_judgement(judgement: Judgement) -> None:
    """The numbers as tables."""
    data, evaluation = judgement.data, judgement.evaluation
    if judgement.combination is not None:
        print(told(judgement.combination))
    note = f" ({judgement.note})" if judgement.note else ""
    show_evaluation(evaluation, f"{data.name}, split {data.split}, {len(data)} images{note}")
    show_errors(evaluation)
    if judgement.comparison is not None:
        show_comparison(judgement.comparison)
    if judgement.cost is not None:
        print(_cost_line(judgement.cost))


def _cost_line(cost: Cost) -> str:
    beside = "" if cost.device.startswith("cuda") else " beside the weights"
    memory = "" if cost.peak_memory_mb is None else f", {cost.peak_memory_mb:.0f} MB{beside}"
    where = f"{cost.device}, {cost.threads} threads, {cost.precision}"
    proposals = (
        "" if cost.proposal_milliseconds is None else f", {cost.proposal_milliseconds:.1f} of them for proposals"
    )
    return (
        f"{cost.parameters / 1e6:.1f} million parameters, {cost.flops / 1e9:.1f} GFLOP, "
        f"{cost.milliseconds:.1f} ms an image{proposals} ({where}){memory}"
    )


def _add(settings: dict[str, object], more: Mapping[str, object], option: str) -> None:
    for name in more:
        if name in settings:
            raise ConfigError(f"{option} and --set {name}=... both give {name}", cure="keep one of the two")
    settings.update(more)
