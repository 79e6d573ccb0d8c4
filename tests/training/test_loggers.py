"""Loggers hold what history.csv holds, once, also after a run was killed and resumed; what fails is said."""

import json
import multiprocessing
import os
import signal
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from read_loggers import (
    Points,
    mlflow_run,
    tensorboard_pictures,
    tensorboard_points,
    tensorboard_texts,
    wandb_points,
    wandb_records,
)
from tiny_system import make_samples, make_system, negative_error, stage

from sightline.errors import ConfigError, SightlineError
from sightline.recipes import Recipe
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.loggers import choose
from sightline.training.loggers.choose import build_logger, parse_choices
from sightline.training.loggers.experiment_logger import Ending, ExperimentLogger, LoggedRun
from sightline.training.loggers.logged import Logged
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress, StepView
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

EVERY = 3


class KilledAt(SilentProgress):
    """The process is killed outright after a step: nothing can be closed or flushed."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, view: StepView) -> None:
        if view.steps_before + view.step == self.at + 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Lines(SilentProgress):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)


def picture() -> bytes:
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("RGB", (8, 8), (200, 30, 30)).save(out, "JPEG")
    return out.getvalue()


def run_logged(
    path: Path, loggers: list[ExperimentLogger], shown: SilentProgress | None = None, *, resume: bool = False
) -> Logged:
    """Two stages of 12 and 12 steps on 7 images, a validation every 3 or 4 of them, then a judgement."""
    options = TrainOptions(workers=0, device="cpu", precision="32", resume=resume)
    data = TrainData(make_samples(7), make_samples(4, seed=9))
    recipe = Recipe((stage(epochs=3.5), stage(name="second", epochs=3.5)))
    with RunFolder.create(path, resume=resume) as run, Logged(shown or Lines(), loggers, run, EVERY) as told:
        result = train(make_system(), recipe, data, options, run, evaluate=negative_error, progress=told)
        assert result.finished
        told.judged({"AP": 0.25}, {"best/7": picture()}, path / "report.html")
    return told


def in_process(*arguments: object, **more: object) -> int:
    """Exit code of a run in a process of its own."""
    process = multiprocessing.get_context("fork").Process(target=run_logged, args=arguments, kwargs=more)
    process.start()
    process.join(120)
    assert process.exitcode is not None
    return process.exitcode


@dataclass(frozen=True)
class Killed:
    folder: Path
    expected: Points
    """Of the history, and of single steps, as an uninterrupted run told them."""


class Recorder(ExperimentLogger):
    """Keeps everything in memory."""

    name = "recorder"

    def __init__(self) -> None:
        self.points: Points = {}
        self.endings: list[Ending] = []
        self.runs: list[LoggedRun] = []

    @property
    def place(self) -> Path:
        return Path("memory")

    def start(self, run: LoggedRun) -> None:
        self.runs.append(run)

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.points.setdefault(name, []).append((step, value))

    def picture(self, step: int, title: str, jpeg: bytes) -> None:
        pass

    def summary(self, step: int, metrics: Mapping[str, float], report: Path) -> None:
        self.scalars(step, metrics)

    def close(self, ending: Ending) -> None:
        self.endings.append(ending)


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Killed:
    """A run that was killed at step 16, five steps after its last checkpoint, resumed, killed at 23, and resumed."""
    folder = tmp_path_factory.mktemp("loggers")
    recorder = Recorder()
    run_logged(folder / "whole", [recorder])
    # Imported once, for all processes that are forked; with what the loggers would set before.
    os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "WANDB_ERROR_REPORTING": "false"}
    __import__("mlflow.tracking")
    __import__("wandb")
    names = ("tensorboard", "mlflow", "wandb")

    def loggers() -> list[ExperimentLogger]:
        return [build_logger(choice) for choice in parse_choices(names)]

    cut = folder / "cut"
    assert in_process(cut, loggers(), KilledAt(17)) == -signal.SIGKILL
    assert in_process(cut, loggers(), KilledAt(22), resume=True) == -signal.SIGKILL
    assert in_process(cut, loggers(), Lines(), resume=True) == 0
    return Killed(cut, recorder.points)


TIMES = ("seconds", "images_per_second", "step/images_per_second")


def assert_whole(points: Points, killed: Killed, digits: float) -> None:
    """Every point once, with the values of the uninterrupted run, and those of history.csv."""
    assert points.keys() == killed.expected.keys()
    for name, expected in killed.expected.items():
        assert [step for step, _ in points[name]] == [step for step, _ in expected], name
        if name not in TIMES:
            assert [value for _, value in points[name]] == pytest.approx([v for _, v in expected], rel=digits), name
    rows = read_history(killed.folder / "history.csv")
    for name in ("train/total", "val/total", "val/closeness", "lr"):
        assert [value for _, value in points[name]] == pytest.approx([row[name] for row in rows], rel=digits)


def test_history_and_steps_are_told_by_the_step_over_all_stages(killed: Killed) -> None:
    rows = read_history(killed.folder / "history.csv")
    before = [0.0 if row["stage"] == rows[0]["stage"] else 12.0 for row in rows]
    told = [step for step, _ in killed.expected["train/total"]]
    assert told == [float(row["step"]) + offset for row, offset in zip(rows, before, strict=True)]
    assert [s for s, _ in killed.expected["step/total"]] == [1, 3, 6, 9, 12, 13, 15, 18, 21, 24]
    assert [s for s, _ in killed.expected["final/AP"]] == [24]


def test_tensorboard_holds_every_point_once(killed: Killed) -> None:
    folder = killed.folder / "tensorboard"
    assert_whole(tensorboard_points(folder), killed, 1e-6)  # TensorBoard keeps 32 bits
    assert tensorboard_pictures(folder) == ["best/7"]
    texts = tensorboard_texts(folder)
    (config,) = texts["config/text_summary"]
    assert json.loads(config.strip("`\n"))["training"]["system"] == "tiny"
    assert texts["report/text_summary"] == [str((killed.folder / "report.html").resolve())]


def test_mlflow_holds_every_point_once_in_one_run(killed: Killed) -> None:
    run, points = mlflow_run(killed.folder / "mlruns.db")
    assert_whole(points, killed, 1e-12)
    assert run.info.status == "FINISHED" and run.info.run_name == killed.folder.name
    assert run.data.params["training.options.seed"] == "0"
    assert run.data.tags["report"] == str((killed.folder / "report.html").resolve())
    assert [file.name for file in (killed.folder / "mlruns").rglob("*.jpg")] == ["7.jpg"]


def test_wandb_holds_every_point_once_under_one_id(killed: Killed) -> None:
    records = wandb_records(killed.folder / "wandb")
    assert_whole(wandb_points(records), killed, 1e-12)
    runs = [record.run for record in records if record.WhichOneof("record_type") == "run"]
    assert {run.run_id for run in runs} == {json.loads((killed.folder / "loggers.json").read_text())["wandb"]}
    config = {item.key: json.loads(item.value_json) for item in runs[0].config.update}
    assert config["training"]["system"] == "tiny"


class Breaks(Recorder):
    """Fails at a step, as a full disk does."""

    name = "breaks"

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        if step >= self.at:
            raise OSError(28, "No space left on device")
        super().scalars(step, values)


def test_a_logger_that_fails_is_said_twice_and_training_goes_on(tmp_path: Path) -> None:
    shown, broken, sound = Lines(), Breaks(6), Recorder()
    told = run_logged(tmp_path / "run", [broken, sound], shown)
    named = [line for line in shown.lines if "the logger breaks" in line]
    assert len(named) == 2 and "failed at step 6 (OSError: [Errno 28] No space left on device)" in named[0]
    assert shown.lines[-1] == named[1]
    assert [line for line in (tmp_path / "run" / "log.txt").read_text().splitlines() if "the logger" in line] == named
    assert [outcome.failure is None for outcome in told.outcomes] == [False, True]
    assert sound.points["final/AP"] == [(24, 0.25)] and sound.endings == ["finished"] and broken.endings == []
    assert len(read_history(tmp_path / "run" / "history.csv")) == len(sound.points["train/total"])


class SpoilsAt5(Lines):
    """Does something to the store after the fifth step."""

    def __init__(self, spoil: Callable[[], object]) -> None:
        super().__init__()
        self.spoil = spoil

    def step(self, view: StepView) -> None:
        if view.steps_before + view.step == 5:
            self.spoil()


def run_with_store(path: Path, shown: Lines) -> None:
    told = run_logged(path, [build_logger(choice) for choice in parse_choices(["mlflow"])], shown)
    assert any("the logger mlflow failed at step 6" in line for line in shown.lines)
    assert told.outcomes[0].failure is not None
    assert len(read_history(path / "history.csv")) == 8


def test_an_sqlite_store_that_is_damaged_is_said(tmp_path: Path) -> None:
    store = tmp_path / "run" / "mlruns.db"
    run_with_store(tmp_path / "run", SpoilsAt5(lambda: store.write_bytes(b"no database" * 1000)))


@pytest.mark.slow  # MLflow waits 20 s for the lock
def test_an_sqlite_store_that_stays_locked_is_said(tmp_path: Path) -> None:
    held: list[sqlite3.Connection] = []

    def lock() -> None:
        held.append(sqlite3.connect(tmp_path / "run" / "mlruns.db", isolation_level=None))
        held[0].execute("BEGIN EXCLUSIVE")

    shown = SpoilsAt5(lock)
    run_with_store(tmp_path / "run", shown)
    held[0].close()
    assert any("locked" in line for line in shown.lines)


def test_a_logger_that_cannot_begin_ends_the_run_before_its_first_step(tmp_path: Path) -> None:
    class Refuses(Recorder):
        def start(self, run: LoggedRun) -> None:
            raise PermissionError(13, "Permission denied")

    with pytest.raises(SightlineError, match=r"recorder cannot begin.*Permission denied"):
        run_logged(tmp_path / "run", [Refuses()])
    assert not (tmp_path / "run" / "history.csv").exists()


def test_a_run_that_fails_says_so_to_its_loggers(tmp_path: Path) -> None:
    class Fails(Lines):
        def step(self, view: StepView) -> None:
            raise SightlineError("no more")

    recorder = Recorder()
    with pytest.raises(SightlineError):
        run_logged(tmp_path / "run", [recorder], Fails())
    assert recorder.endings == ["failed"]


def test_what_is_asked_for_is_checked_before_anything_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="unknown logger 'neptune'; cure: choose tensorboard, mlflow, wandb"):
        TrainOptions(loggers=("neptune",))
    with pytest.raises(ConfigError, match="twice"):
        TrainOptions(loggers=("wandb", "wandb=elsewhere"))
    with pytest.raises(ConfigError, match="names no place"):
        TrainOptions(loggers=("wandb=",))
    monkeypatch.setitem(choose.PACKAGES, "mlflow", ("mlflow", "no_such_package"))
    with pytest.raises(ConfigError, match=r"needs no_such_package.*pip install 'sightline\[mlflow\]'"):
        TrainOptions(loggers=("mlflow",))
    # A folder that a tracker made where it ran is no package.
    (tmp_path / "no_such_package").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ConfigError, match="needs no_such_package"):
        TrainOptions(loggers=("mlflow",))


def test_another_runs_event_files_are_left_alone(tmp_path: Path) -> None:
    place = tmp_path / "shared" / "run"
    place.mkdir(parents=True)
    (place / "events.out.tfevents.1").write_bytes(b"theirs")
    (logger,) = (build_logger(choice) for choice in parse_choices([f"tensorboard={tmp_path / 'shared'}"]))
    with pytest.raises(ConfigError, match="of another run"):
        run_logged(tmp_path / "run", [logger])
    assert [file.read_bytes() for file in place.iterdir()] == [b"theirs"]
