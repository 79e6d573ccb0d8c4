"""The same training with several seeds: how much of a result is luck.

Seeds change what is drawn at random: the weights of layers that do not start from given ones, the order of the images,
their augmentation and the system's own draws. Data, settings and given weights are the same. The spread is the sample
standard deviation (n - 1 in the denominator) over the seeds; it says nothing of other images.

Each seed is a whole run in a folder of its own, ``seed-N``; seeds.json and seeds.html beside them join the results and
are written anew after each seed.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from sightline.contract import NeuralSystem, System
from sightline.errors import ConfigError, ModelFileError, SightlineError
from sightline.files import write_atomically
from sightline.judging import METRICS_FILE, REPORT_FILE
from sightline.report.seeds import SeedResult, SeedsReport, render_seeds
from sightline.training.checkpoints import has_checkpoint
from sightline.training.continuation import is_finished
from sightline.training.history import read_history
from sightline.training.options import FREE_ON_RESUME, TrainOptions
from sightline.training.progress import Progress, SilentProgress
from sightline.training.run_folder import require_same
from sightline.workflow import RUNS, SplitData, Splits, next_folder, open_splits, train

SEEDS_FILE, SEEDS_REPORT = "seeds.json", "seeds.html"
"""What joins the results."""

_HOW = ("seed", "resume", "from_previous", "extend")
"""Options that are not settings of all seeds."""


@dataclass(frozen=True)
class Spread:
    """A number over several seeds.

    Args:
        mean: over the seeds where it is defined; NaN where it is in none.
        deviation: sample standard deviation; NaN for fewer than two.
        least: of all.
        greatest: of all.
        count: seeds where it is defined.
    """

    mean: float
    deviation: float
    least: float
    greatest: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> "Spread":
        """That of some values; None where a seed has none."""
        defined = [value for value in values if value is not None]
        if not defined:
            return cls(math.nan, math.nan, math.nan, math.nan, 0)
        deviation = stdev(defined) if len(defined) > 1 else math.nan
        return cls(fmean(defined), deviation, min(defined), max(defined), len(defined))


@dataclass(frozen=True, eq=False)
class Replicates:
    """What came out of several seeds.

    Args:
        folder: of all of them.
        wanted: the seeds that were asked for.
        runs: those that are finished.
        place: what they were judged on, as ``BCCD, split test, 72 images``.
    """

    folder: Path
    wanted: tuple[int, ...]
    runs: tuple[SeedResult, ...]
    place: str

    @property
    def finished(self) -> bool:
        """Whether all are; if not, one was stopped and can be resumed."""
        return len(self.runs) == len(self.wanted)

    @property
    def metrics(self) -> dict[str, Spread]:
        """The spread of every metric, by name."""
        return _spreads([run.metrics for run in self.runs])

    @property
    def classes(self) -> dict[str, Spread]:
        """The spread of AP, by class."""
        return _spreads([run.classes for run in self.runs])

    def to_dict(self) -> dict[str, Any]:
        """What seeds.json holds beside the settings."""
        return {
            "seeds": list(self.wanted),
            "finished": [run.seed for run in self.runs],
            "judged_on": self.place,
            "spread": "sample standard deviation over the seeds (n - 1)",
            "metrics": {name: _plain(spread) for name, spread in self.metrics.items()},
            "classes": {name: _plain(spread) for name, spread in self.classes.items()},
            "runs": [
                {"seed": run.seed, "folder": run.folder, "metrics": run.metrics, "classes": run.classes}
                for run in self.runs
            ],
        }


def train_seeds(
    build: Callable[[int], System[Any]],
    data: SplitData | str | Path,
    seeds: int,
    *,
    out: str | Path | None = None,
    options: TrainOptions | None = None,
    splits: Splits | None = None,
    progress: Progress | None = None,
) -> Replicates:
    """Train a system several times, with the seeds ``options.seed``, ``options.seed + 1`` and so on.

    Args:
        build: makes the system of a seed, such as ``lambda seed: sightline.create("faster_rcnn", classes=names,
            seed=seed)``.
        data: the set: a path, or splits that are open already.
        seeds: how many, at least 2.
        out: the folder of all runs; default: the next free ``runs/NAME-SET-seeds-1``.
        options: of every run. ``resume`` skips the seeds that are finished and goes on with the one that is not; there
            may be more seeds than before.
        splits: which splits are used for what, where ``data`` is a path.
        progress: what a person sees.

    Raises:
        ConfigError: options that make no sense for several seeds, or a folder that is in use or of other settings.
        SightlineError: as ``workflow.train``.
    """
    options = TrainOptions() if options is None else options
    require_seeds(seeds, options, out)
    shown = SilentProgress() if progress is None else progress
    system = build(options.seed)
    data = data if isinstance(data, SplitData) else open_splits(data, splits, classes=system.classes)
    name = f"{system.name}-{data.train.name}"
    folder = next_folder(RUNS / f"{name}-seeds", numbered=True) if out is None else Path(out)
    settings = _settings(system, data, options)
    if options.resume:
        require_same(_read(folder)["settings"], settings, FREE_ON_RESUME, folder / SEEDS_FILE, "settings")
    place = f"{data.test.name}, split {data.test.split}, {len(data.test)} images"
    wanted = tuple(range(options.seed, options.seed + seeds))
    joined = Replicates(folder, wanted, (), place)
    folder.mkdir(parents=True, exist_ok=True)
    _write(joined, settings, name)
    for number, seed in enumerate(wanted):
        own = folder / f"seed-{seed}"
        if is_finished(own):
            shown.log(f"seed {seed}, {number + 1} of {seeds}: finished already")
        else:
            shown.log(f"seed {seed}, {number + 1} of {seeds}: in {own}")
            begun = has_checkpoint(own / "last")
            once = replace(options, seed=seed, resume=begun, from_previous=begun and options.from_previous)
            try:
                trained = train(build(seed) if number else system, data, out=own, options=once, progress=shown)
            except SightlineError:
                _withdraw(folder)
                raise
            if not trained.result.finished:
                return joined
        joined = replace(joined, runs=(*joined.runs, _result(own, seed)))
        _write(joined, settings, name)
    return joined


def _withdraw(folder: Path) -> None:
    """Take away seeds of which none began, so that the same command works once its mistake is mended."""
    if [entry.name for entry in folder.iterdir()] == [SEEDS_FILE]:
        (folder / SEEDS_FILE).unlink()
        folder.rmdir()


def require_seeds(seeds: int, options: TrainOptions, out: str | Path | None) -> None:
    """Raise ``ConfigError`` where :func:`train_seeds` would, as far as can be seen before data are read."""
    if seeds < 2:
        raise ConfigError(f"seeds is {seeds}, but a spread needs 2 at least", cure="give --seeds 3, or leave it out")
    replace(options, seed=options.seed + seeds - 1)  # the last one is a seed too
    if options.extend is not None:
        raise ConfigError(
            "--seeds and --extend exclude each other", cure="extend the run of each seed alone, by its own --out"
        )
    if options.devices * options.nodes > 1:
        raise ConfigError(
            "several seeds are trained one after the other, in one process each",
            cure="leave out --devices and --nodes, or start one distributed run for each --seed",
        )
    if out is None:
        if options.resume:
            raise ConfigError("which runs are to be resumed is not said", cure="name their folder with --out")
        return
    there = (Path(out) / SEEDS_FILE).exists()
    if options.resume and not there:
        raise ConfigError("there are no seeds to resume", place=out, cure="leave --resume out to start")
    if not options.resume and Path(out).exists() and (Path(out).is_file() or any(Path(out).iterdir())):
        cure = "go on with its seeds by --resume, or choose another --out" if there else "choose another --out"
        raise ConfigError("there is something at this place already", place=out, cure=cure)


def _settings(system: System[Any], data: SplitData, options: TrainOptions) -> dict[str, Any]:
    """What is the same for all seeds, as JSON values."""
    if not isinstance(system, NeuralSystem):
        raise ConfigError(f"{system.name} does not learn by this runner", cure="choose a neural system")
    values = {
        "system": system.name,
        "config": asdict(system.config),
        "starts_from": system.origin,
        "seed": options.seed,
        "data": data.train.name,
        "splits": {use: part.split for use, part in (("train", data.train), ("val", data.val), ("test", data.test))},
        "images": {use: len(part) for use, part in (("train", data.train), ("val", data.val), ("test", data.test))},
        "options": {name: value for name, value in asdict(options).items() if name not in _HOW},
    }
    plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
    return plain


def _read(folder: Path) -> dict[str, Any]:
    file = folder / SEEDS_FILE
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return {"settings": dict(content["settings"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"cannot be read ({error!r})", place=file, cause="it was changed by hand") from error


def _write(joined: Replicates, settings: Mapping[str, Any], name: str) -> None:
    """Both files; the report as soon as there is a seed to report."""
    document = {"settings": settings, **joined.to_dict()}
    write_atomically(joined.folder / SEEDS_FILE, json.dumps(document, indent=2) + "\n")
    if joined.runs:
        rows = {"metric": joined.metrics, "class": joined.classes}
        tables = {kind: {what: _shown(spread) for what, spread in found.items()} for kind, found in rows.items()}
        report = SeedsReport(
            title=f"{name}: {len(joined.runs)} of {len(joined.wanted)} seeds",
            place=joined.place,
            starts_from=str(settings["starts_from"]),
            settings=settings,
            runs=joined.runs,
            metrics=tables["metric"],
            classes=tables["class"],
        )
        write_atomically(joined.folder / SEEDS_REPORT, render_seeds(report))


def _result(folder: Path, seed: int) -> SeedResult:
    metrics = json.loads((folder / METRICS_FILE).read_text(encoding="utf-8"))
    return SeedResult(
        seed=seed,
        folder=folder.name,
        report=f"{folder.name}/{REPORT_FILE}",
        metrics=dict(metrics["metrics"]),
        classes={found["name"]: found["AP"] for found in metrics["per_class"]},
        history=read_history(folder / "history.csv"),
    )


def _spreads(runs: Sequence[Mapping[str, float | None]]) -> dict[str, Spread]:
    names = dict.fromkeys(name for run in runs for name in run)
    return {name: Spread.of([run.get(name) for run in runs]) for name in names}


def _plain(spread: Spread) -> dict[str, float | int | None]:
    """As JSON, which has no NaN."""
    values = {"mean": spread.mean, "std": spread.deviation, "min": spread.least, "max": spread.greatest}
    return {**{name: None if math.isnan(value) else value for name, value in values.items()}, "n": spread.count}


def _shown(spread: Spread) -> tuple[float, float, float, float, int]:
    return spread.mean, spread.deviation, spread.least, spread.greatest, spread.count
