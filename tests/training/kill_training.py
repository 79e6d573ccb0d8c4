"""Kills real training processes by SIGKILL and compares what comes out, bit for bit, with runs that nobody killed.

Run by test_kill_training.py as a process without other threads: each training is a fork of it, so that hundreds of
kills take minutes. A training is killed some times in a row, at a random time or at a random line of the code of
training, and then goes on to its end. Prints counts as JSON: kills by what was going on, and differences found.
"""

import contextlib
import csv
import io
import json
import mmap
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from kill_writing import EVENTS, in_child, kill_at, killed
from tiny_system import TinySystem, make_samples, make_system, negative_error, stage

import sightline.training
from sightline import workflow
from sightline.cli.main import main
from sightline.errors import ConfigError
from sightline.recipes import FitStage, GradientStage, Optimiser, Recipe, Workbench
from sightline.training import loop, runner
from sightline.training.checkpoints import has_checkpoint, peek_state
from sightline.training.job import Job, TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train
from sightline.training.steps import Stepper

Stages = tuple[GradientStage | FitStage, ...]
PHASES = ("starting", "stepping", "validating", "saving", "judging", "between steps")
CLOCK = {"seconds", "stage_began", "validated_at", "validation_seconds", "saving_seconds", "saved_at", "loss_seconds"}
CLOCK |= {"proposal_seconds", "peak_memory"}
CLOCK_COLUMNS = {"seconds", "images_per_second"}
AVERAGED = {"optimiser": Optimiser("adamw", lr=0.01), "ema": 0.9, "accumulate": 2}
MOST_IN_A_ROW = 4


@dataclass(frozen=True)
class Case:
    """A training to be killed.

    Args:
        begin: makes what is there before the first start; not killed.
        go: trains in a folder to the end, from the start or from where it was killed.
    """

    begin: Callable[[Path], None]
    go: Callable[[Path], None]


def halve_head(system: TinySystem, samples: object, bench: Workbench) -> dict[str, float]:
    with torch.no_grad():
        system.head.weight.mul_(0.5)
    return {"halved": 1.0}


def train_tiny(folder: Path, stages: Stages, **options: Any) -> None:
    given = {"workers": 0, "device": "cpu", "precision": "32", "save_every": 0.02, **options}
    chosen = TrainOptions(**given)
    data = TrainData(make_samples(7), make_samples(4, seed=9))
    with RunFolder.create(folder, resume=chosen.goes_on, from_previous=chosen.from_previous) as run:
        train(make_system(), Recipe(stages), data, chosen, run, evaluate=negative_error, progress=SilentProgress())


def tiny(stages: Stages, **options: Any) -> Case:
    def go(folder: Path) -> None:
        train_tiny(folder, stages, resume=has_checkpoint(folder / "last"), **options)

    return Case(lambda folder: None, go)


def extension(stages: Stages) -> Case:
    def go(folder: Path) -> None:
        state = peek_state(folder / "last")
        assert state is not None
        train_tiny(folder, stages, **({"resume": True} if state.extensions else {"extend": 3.0}))

    return Case(lambda folder: train_tiny(folder, stages), go)


def faster_rcnn_words(scenes: Path, folder: Path) -> list[str]:
    """The whole command: real detector, real files, augmentations, loading processes, AdamW, average, parts."""
    words = "--backbone mobilenet_v3_small --imgsz 64 --set channels=16 --set head_width=16 --set proposals=20 "
    words += "--set region_samples=16 --epochs 3 --batch 2 --workers 2 --precision 32 --save-every 0 --recipe ema=0.9 "
    words += "--recipe optimiser.kind=adamw --recipe optimiser.lr=0.001 --recipe accumulate=2"
    return ["train", "--data", str(scenes), "--out", str(folder), *words.split()]


def faster_rcnn(scenes: Path) -> Case:
    """That command, gone on with."""

    def go(folder: Path) -> None:
        more = ["--resume"] if has_checkpoint(folder / "last") else []
        with contextlib.redirect_stderr(io.StringIO()) as told, contextlib.redirect_stdout(io.StringIO()):
            code = main([*faster_rcnn_words(scenes, folder), *more])
        assert code == 0, told.getvalue()

    return Case(lambda folder: None, go)


def make_scenes(folder: Path) -> None:
    words = "--images 6 --val 3 --test 2 --size 64 64 --scale 0.2 0.6 --workers 0"
    with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
        assert main(["data", "make", "--out", str(folder), *words.split()]) == 0


CASES: dict[str, Case] = {
    "sgd": tiny((stage(),)),
    "adamw, average, parts": tiny((stage(**AVERAGED),), validate_every=2),
    "three stages": tiny((stage(epochs=2), FitStage("halve", halve_head), stage(name="third", epochs=2, ema=0.5))),
    "loading processes": tiny((stage(**AVERAGED),), workers=2),
    "extension": extension((stage(**AVERAGED),)),
}


@dataclass(frozen=True)
class Watch:
    """Memory shared with a training: what it is doing, whether its stages have begun, and events counted so far."""

    memory: mmap.mmap

    @classmethod
    def new(cls) -> "Watch":
        return cls(mmap.mmap(-1, 16))

    @property
    def phase(self) -> str:
        return PHASES[self.memory[0]]

    @property
    def begun(self) -> bool:
        return bool(self.memory[1])

    @property
    def events(self) -> int:
        return int.from_bytes(self.memory[8:16], "little")

    def follow(self, kill: bool, at: int | None) -> None:
        """In the training: note phases; count events from the first stage on, and be killed at one of them."""
        Stepper.step = self._during(1, Stepper.step)  # type: ignore[method-assign]
        loop.validate = self._during(2, loop.validate)  # type: ignore[attr-defined]
        Job.save = self._during(3, Job.save)  # type: ignore[method-assign]
        workflow.judge_trained = self._during(4, workflow.judge_trained)  # type: ignore[attr-defined]
        stages = runner._run_stages

        def run_stages(*arguments: Any) -> Any:
            self.memory[1] = 1
            if kill:
                kill_at(at, set(map(str, Path(sightline.training.__file__).parent.rglob("*.py"))))
            try:
                return stages(*arguments)
            finally:
                sys.settrace(None)
                self.memory[8:16] = EVENTS[0].to_bytes(8, "little")

        runner._run_stages = run_stages

    def _during(self, phase: int, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            before, self.memory[0] = self.memory[0], phase
            try:
                return function(*arguments, **named)
            finally:
                self.memory[0] = before or 5

        return call


@dataclass(frozen=True)
class Whole:
    """A training that nobody killed: what came out, seconds and events of its stages."""

    outcome: dict[str, object]
    seconds: float
    events: int

    @classmethod
    def of(cls, case: Case, root: Path) -> "Whole":
        events = 0
        for name in ("counted", "whole"):
            watch, folder = Watch.new(), root / name
            assert not killed(in_child(lambda folder=folder: case.begin(folder)))

            def go(watch: Watch = watch, folder: Path = folder, counts: bool = name == "counted") -> None:
                watch.follow(counts, None)
                case.go(folder)

            child = in_child(go)
            wait_until_begun(watch, child)
            began = time.monotonic()
            assert not killed(child)
            seconds, events = time.monotonic() - began, events or watch.events
        assert outcome(root / "counted") == outcome(root / "whole")
        return cls(outcome(root / "whole"), seconds, events)


def wait_until_begun(watch: Watch, child: int) -> None:
    while not watch.begun and os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
        time.sleep(0.001)


def outcome(folder: Path) -> dict[str, object]:
    """All that must be the same, and nothing that the clock decides."""
    found: dict[str, object] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if not file.is_file() or name.startswith("previous") or name in ("log.txt", "report.html", "last/state.json"):
            continue
        found[name] = file.read_bytes()
    state = json.loads((folder / "last" / "state.json").read_text())["state"]
    found["state"] = {name: value for name, value in state.items() if name not in CLOCK}
    with (folder / "history.csv").open(newline="") as table:
        rows = [{k: v for k, v in row.items() if k not in CLOCK_COLUMNS} for row in csv.DictReader(table)]
    found["history.csv"] = rows
    if "metrics.json" in found:
        metrics = json.loads((folder / "metrics.json").read_text())
        found["metrics.json"] = {
            name: value for name, value in metrics.items() if name not in ("cost", "seconds_per_image")
        }
    return found


def starts(case: Case, folder: Path, rng: random.Random, whole: Whole) -> Iterator[str | None]:
    """Start a training again and again and kill it; yields what it was doing, None once it came to its end."""
    for number in range(1, MOST_IN_A_ROW + 2):
        watch = Watch.new()
        how = rng.choice(("line", "line", "time", "time", "early")) if number <= MOST_IN_A_ROW else "never"
        at = rng.randint(1, whole.events * 2 // 3)

        def go(watch: Watch = watch, how: str = how, at: int = at) -> None:
            watch.follow(how == "line", at)
            case.go(folder)

        child = in_child(go)
        if how == "time":
            wait_until_begun(watch, child)
        if how in ("time", "early"):
            time.sleep(rng.uniform(0.0, 0.7 * whole.seconds if how == "time" else 0.2))
            os.kill(child, signal.SIGKILL)
        yield watch.phase if killed(child) else None


def two_in_one_folder(root: Path) -> dict[str, int]:
    """A second training in the folder of a first is refused and changes nothing; once that is killed, it goes on."""
    stages = (stage(epochs=40, **AVERAGED),)
    case, folder, found = tiny(stages), root / "run", Counter[str]()
    expected = Whole.of(case, root).outcome
    for given in ({}, {"resume": True}, {"resume": True, "from_previous": True}, {"extend": 1.0}):
        first = in_child(lambda: case.go(folder))
        while not has_checkpoint(folder / "last"):
            time.sleep(0.01)
        os.kill(first, signal.SIGSTOP)  # so that whatever changes now is not its doing
        os.waitid(os.P_PID, first, os.WSTOPPED)
        before = {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}

        def second(given: dict[str, Any] = given) -> None:
            try:
                train_tiny(folder, stages, **given)
            except ConfigError as error:
                wanted = "another process is using this run folder" if given else "the run folder is not empty"
                assert wanted in str(error), str(error)
            else:
                raise AssertionError("two trainings in one folder")

        assert not killed(in_child(second))
        found["refused"] += 1
        found["changed"] += before != {file: file.read_bytes() for file in folder.rglob("*") if file.is_file()}
        os.kill(first, signal.SIGKILL)
        assert killed(first)
        assert not killed(in_child(lambda: case.go(folder)))
        found["differences"] += expected != outcome(folder)
        shutil.rmtree(folder)
    return dict(found)


def kill_trainings(root: Path, name: str, trials: int, seed: int) -> dict[str, int]:
    root.mkdir(parents=True, exist_ok=True)
    if name == "faster_rcnn":
        scenes = root / "scenes"
        assert not killed(in_child(lambda: make_scenes(scenes)))
        case = faster_rcnn(scenes)
    else:
        case = CASES[name]
    rng, found = random.Random(seed), Counter[str]()
    whole = Whole.of(case, root)
    expected = whole.outcome
    for trial in range(trials):
        folder = root / f"run-{trial}"
        assert not killed(in_child(lambda folder=folder: case.begin(folder)))
        for phase in starts(case, folder, rng, whole):
            if phase is None:
                break
            found["kills"] += 1
            found[f"while {phase}"] += 1
        got = outcome(folder)
        found["runs"] += 1
        for thing in sorted(expected.keys() | got.keys()):
            if expected.get(thing) != got.get(thing):
                found["differences"] += 1
                print(f"{name}, run {trial}: {thing} differs", file=sys.stderr)
        shutil.rmtree(folder)
    return {"differences": 0, **found}


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, what = Path(sys.argv[1]), sys.argv[2]
    if what == "two in one folder":
        print(json.dumps(two_in_one_folder(where)))
    else:
        print(json.dumps(kill_trainings(where, what, int(sys.argv[3]), int(sys.argv[4]))))
