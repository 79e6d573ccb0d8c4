"""Several systems on one set: each trained that is not trained, all judged by one evaluation, one table and report.

Every system is trained and judged in a process of its own, one after the other, into a folder of its own; the table is
made from these folders, so that nothing is lost when the whole is killed. A system that fails is told in the table, and
the others go on. Nothing here prints.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from sightline.comparing.apart import Ending, run_apart
from sightline.comparing.lectures import lecture_rows
from sightline.comparing.place import (
    COMPARE_FILE,
    COMPARE_REPORT,
    COMPARE_TABLE,
    require_comparison_folder,
    same_command,
)
from sightline.comparing.plan import Plan, Run
from sightline.comparing.results import evaluation_of, run_of, split_of
from sightline.comparing.table import as_csv, document_of
from sightline.comparing.work import is_done, require_settings, work
from sightline.errors import ConfigError, ModelFileError, SightlineError
from sightline.evaluation.bootstrap import RESAMPLES, Comparison, compare_pairs
from sightline.evaluation.evaluation import Evaluation
from sightline.evaluation.truth import TruthOfSplit
from sightline.files import write_atomically, writing
from sightline.model_file import read_header
from sightline.report.comparison import ComparisonReport, render_comparison
from sightline.report.comparison_data import ComparedRun, ComparedSystem, State, pairs_of
from sightline.report.comparison_pictures import same_images
from sightline.training.checkpoints import has_checkpoint
from sightline.training.devices import choose_accelerator
from sightline.training.options import FREE_ON_RESUME
from sightline.training.progress import Progress, SilentProgress
from sightline.training.run_folder import require_same
from sightline.training.stopping import StopRequest
from sightline.workflow import RUNS, SplitData, next_folder, open_splits
from sightline.zoo import model_path

_FREE = (*FREE_ON_RESUME, "seeds")


@dataclass(frozen=True, eq=False)
class Compared:
    """What came out of a comparison.

    Args:
        folder: of all of it.
        systems: the rows.
        comparisons: paired intervals of the difference of two rows.
        document: what compare.json holds.
        stopped: whether a person ended it; it can be resumed.
    """

    folder: Path
    systems: tuple[ComparedSystem, ...]
    comparisons: tuple[Comparison, ...]
    document: Mapping[str, Any]
    stopped: bool

    @property
    def failed(self) -> tuple[str, ...]:
        """Names of the rows that went wrong."""
        return tuple(system.name for system in self.systems if system.state == "failed")


def compare_systems(
    plan: Plan,
    *,
    out: str | Path | None = None,
    progress: Progress | None = None,
    apart: bool = True,
    resamples: int = RESAMPLES,
) -> Compared:
    """Compare several systems on one set of images.

    Args:
        plan: what is compared, on what, how long it is trained; with ``options.resume`` a comparison goes on that is
            there: what is finished stays, what was cut goes on exactly, what failed is tried again. Rows and seeds may
            be added.
        out: the folder; default: the next free ``runs/compare-SET-1``.
        progress: what a person sees.
        apart: whether each system gets a process of its own; without, one that dies ends all, and peaks of memory are
            not its own.
        resamples: drawn for the intervals of differences.

    Raises:
        ConfigError: a plan that does not fit, or a folder that is in use or of other settings.
        DataError: data that cannot be read.
        SightlineError: the disk is full.
    """
    shown = SilentProgress() if progress is None else progress
    require_comparison_folder(out, resume=plan.options.resume)
    choose_accelerator(plan.options)
    require_settings(plan)
    with shown:
        shown.working(f"opening {plan.data}")
        data = _opened(plan)
        folder = next_folder(RUNS / f"compare-{data.test.name}", numbered=True) if out is None else Path(out)
        settings = {**plan.to_dict(), "opened": _description(data)}
        if plan.options.resume:
            _require_same(folder, settings)
        with writing(folder, "make room, then give the same command with --resume"):
            folder.mkdir(parents=True, exist_ok=True)
            desk = _Desk(plan, folder, settings, data, split_of(data.test), shown)
            desk.write(desk.finished())
        try:
            return desk.close(*_run_all(desk, apart=apart), resamples)
        except KeyboardInterrupt:  # a second one, or one that came while the report was made
            shown.log(f"cut off; {same_command(folder)} goes on from what is saved")
            raise


def _opened(plan: Plan) -> SplitData:
    """The splits, with the classes of the models that are there already, if there are any; all must have the same."""
    given = {e.name: read_header(model_path(e.model)).classes for e in plan.entrants if e.way == "given"}
    classes = next(iter(given.values()), None)
    data = open_splits(plan.data, plan.splits, classes=classes, on_bad_image=plan.on_bad_image)
    answers = {name: each.names for name, each in given.items()}
    if classes is not None and plan.trains:
        answers["the set"] = open_splits(plan.data, plan.splits, on_bad_image=plan.on_bad_image).classes.names
    for name, names in answers.items():
        if names != data.classes.names:
            first = next(iter(given))
            raise ConfigError(
                f"{first} answers with the classes {', '.join(data.classes.names)}, but {name} has {', '.join(names)}",
                cure="compare models of the same classes, in the same order",
            )
    return data


def _description(data: SplitData) -> dict[str, Any]:
    parts = {"train": data.train, "val": data.val, "test": data.test}
    return {
        "name": data.train.name,
        "classes": list(data.classes.names),
        "splits": {use: part.split for use, part in parts.items()},
        "images": {use: len(part) for use, part in parts.items()},
    }


def _require_same(folder: Path, settings: Mapping[str, Any]) -> None:
    """Rows and seeds may be added; everything else has to be as it was."""
    file = folder / COMPARE_FILE
    try:
        before = dict(json.loads(file.read_text(encoding="utf-8"))["settings"])
        rows, seeds = set(before["systems"]), int(before["seeds"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"cannot be read ({error!r})", place=file, cause="it was changed by hand") from error
    known = {name: row for name, row in settings["systems"].items() if name in rows}
    require_same(before, {**settings, "systems": known}, (*_FREE, "data"), file, "settings")
    if (seeds == 1) != (settings["seeds"] == 1) or settings["seeds"] < seeds:
        raise ConfigError(
            f"seeds is {settings['seeds']}, but the comparison to resume was started with {seeds}",
            place=file,
            cure="resume with as many, or with more where there were several; or choose another --out",
        )


def _run_all(desk: "_Desk", *, apart: bool) -> tuple[dict[str, Ending], bool]:
    """Every run that is not done, one after the other; whether a person ended it."""
    endings = desk.finished()
    runs = desk.plan.runs()
    with StopRequest() as stop:
        for number, run in enumerate(runs):
            told = f"{run.folder}, {number + 1} of {len(runs)}"
            if run.folder in endings:
                desk.progress.log(f"{told}: finished already")
                continue
            desk.progress.log(f"{told}: in {desk.folder / run.folder}")
            ending = _run_one(desk, run, stop, endings, apart=apart)
            endings[run.folder] = ending
            if ending.state == "failed":
                desk.progress.log(f"{run.folder} failed: {ending.message}")
            desk.write(endings)
            if ending.state == "stopped" or stop.wanted:
                return endings, True
    return endings, False


def _run_one(desk: "_Desk", run: Run, stop: StopRequest, endings: Mapping[str, Ending], *, apart: bool) -> Ending:
    entrant = run.entrant
    if entrant.way == "trained" and run.seed is not None:
        runs = {other.entrant.name: other.folder for other in desk.plan.runs() if other.seed in (None, run.seed)}
        wrong = next((name for name in entrant.members if endings[runs[name]].state != "finished"), None)
        if wrong is not None:
            return Ending("failed", f"needs the weights of {runs[wrong]}, which failed")
    if apart:
        desk.progress.stop()
        try:
            return run_apart(desk.folder, run, stop, quiet=isinstance(desk.progress, SilentProgress))
        finally:
            desk.progress.start()
    try:
        return Ending("finished" if work(desk.plan, run, desk.folder, desk.progress) else "stopped")
    except SightlineError as error:
        return Ending("failed", str(error))


@dataclass(frozen=True, eq=False)
class _Desk:
    """Where the parts of a comparison are put together.

    Args:
        plan: of it.
        folder: of all.
        settings: as they are written down.
        data: the splits.
        split: what all are judged by.
        progress: what a person sees.
        numbers: of runs that are done, by folder: read once, though the table is written after each run.
        evaluations: of the first of each row, by folder.
    """

    plan: Plan
    folder: Path
    settings: Mapping[str, Any]
    data: SplitData
    split: TruthOfSplit
    progress: Progress
    numbers: dict[str, ComparedRun] = field(default_factory=dict)
    evaluations: dict[str, Evaluation] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """What all are judged on."""
        return f"{self.split.name}, split {self.split.split}, {len(self.split)} images"

    def finished(self) -> dict[str, Ending]:
        """How runs ended that are done."""
        return {run.folder: Ending("finished") for run in self.plan.runs() if is_done(self.folder, run)}

    def write(
        self, endings: Mapping[str, Ending], comparisons: Sequence[Comparison] = ()
    ) -> tuple[tuple[ComparedSystem, ...], dict[str, Any]]:
        """Put the table on the disk as far as it is; gives its rows and what was written."""
        systems = self._systems(endings)
        models = [(entrant.model, system) for entrant, system in zip(self.plan.entrants, systems, strict=True)]
        document = document_of(systems, lecture_rows(models), comparisons, place=self.place, settings=self.settings)
        with writing(self.folder, "make room, then give the same command with --resume"):
            write_atomically(self.folder / COMPARE_FILE, json.dumps(document, indent=2) + "\n")
            write_atomically(self.folder / COMPARE_TABLE, as_csv(systems))
        return systems, document

    def close(self, endings: Mapping[str, Ending], stopped: bool, resamples: int) -> Compared:
        """The whole: intervals, table and report."""
        systems, _ = self.write(endings)
        comparisons = self._intervals(systems, resamples)
        systems, document = self.write(endings, comparisons)
        if any(system.runs for system in systems):
            self.progress.working("drawing pictures and writing the report")
            report = ComparisonReport(
                title=f"{len(systems)} systems on {self.split.name}",
                place=self.place,
                systems=systems,
                lectures=lecture_rows(
                    [(entrant.model, system) for entrant, system in zip(self.plan.entrants, systems, strict=True)]
                ),
                comparisons=comparisons,
                pictures=same_images([s for s in systems if s.evaluation is not None], self.data.test),
                settings=self.settings,
            )
            with writing(self.folder, "make room, then give the same command with --resume"):
                write_atomically(self.folder / COMPARE_REPORT, render_comparison(report))
        return Compared(self.folder, systems, comparisons, document, stopped)

    def _systems(self, endings: Mapping[str, Ending]) -> tuple[ComparedSystem, ...]:
        return tuple(self._system(name, endings) for name in dict.fromkeys(e.name for e in self.plan.entrants))

    def _system(self, name: str, endings: Mapping[str, Ending]) -> ComparedSystem:
        runs = [run for run in self.plan.runs() if run.entrant.name == name]
        entrant = runs[0].entrant
        done = [run for run in runs if run.folder in endings and endings[run.folder].state == "finished"]
        wrong = next((e for run in runs if (e := endings.get(run.folder)) is not None and e.state == "failed"), None)
        state: State = "finished" if len(done) == len(runs) else "waiting"
        if wrong is not None:
            state = "failed"
        elif any(self._is_cut(run, endings) for run in runs):
            state = "interrupted"
        return ComparedSystem(
            name=name,
            model=entrant.model,
            way=entrant.way,
            settings=entrant.settings,
            base=entrant.base,
            members=entrant.members if entrant.base in entrant.members else (),
            state=state,
            message="" if wrong is None else wrong.message,
            evaluation=self._evaluation(done[0]) if done else None,
            runs=tuple(self._run(run) for run in done),
        )

    def _is_cut(self, run: Run, endings: Mapping[str, Ending]) -> bool:
        """Whether a run was begun and not brought to its end; its folder tells it of one that is still to come."""
        ending = endings.get(run.folder)
        return has_checkpoint(self.folder / run.folder / "last") if ending is None else ending.state == "stopped"

    def _evaluation(self, run: Run) -> Evaluation:
        if run.folder not in self.evaluations:
            self.evaluations[run.folder] = evaluation_of(self.folder / run.folder, self.split)
        return self.evaluations[run.folder]

    def _run(self, run: Run) -> ComparedRun:
        if run.folder not in self.numbers:
            known = self.evaluations.get(run.folder)
            own = evaluation_of(self.folder / run.folder, self.split) if known is None else known
            self.numbers[run.folder] = run_of(self.folder, run, own)
        return self.numbers[run.folder]

    def _intervals(self, systems: Sequence[ComparedSystem], resamples: int) -> tuple[Comparison, ...]:
        judged = [system for system in systems if system.evaluation is not None]
        evaluations = [system.evaluation for system in judged if system.evaluation is not None]
        pairs = pairs_of(systems, judged)
        if not pairs:
            return ()
        found = compare_pairs(
            self.split.truth,
            [evaluation.found for evaluation in evaluations],
            pairs,
            self.split.classes.names,
            turns=evaluations[0].turns,
            resamples=resamples,
            progress=partial(self.progress.working, "resampling"),
        )
        return tuple(
            replace(each, models=(judged[a].name, judged[b].name)) for each, (a, b) in zip(found, pairs, strict=True)
        )
