"""A run's progress, told to its experiment loggers as well as to a person.

A logger that fails in mid-run is a pity, ten hours of training are more: what failed is said at once, in log.txt and to
the person, and again when the run ends; nothing more is written to that logger, the others and the training go on, and
the exit code is what it would have been. A logger that cannot even begin ends the run before its first step.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from sightline.errors import SightlineError
from sightline.training.loggers.experiment_logger import Ending, ExperimentLogger, LoggedRun
from sightline.training.progress import Progress, StepView
from sightline.training.run_folder import RunFolder


@dataclass(frozen=True)
class LoggerOutcome:
    """What became of a logger.

    Args:
        name: tensorboard, mlflow or wandb.
        place: what a person opens.
        failure: why it holds less than the run did; None if it holds all.
    """

    name: str
    place: Path
    failure: str | None


class Logged(Progress):
    """Passes everything on to what a person sees, and to the loggers what concerns them.

    Args:
        shown: what a person sees.
        loggers: not yet started.
        run: the run folder.
        every: steps between the points of single steps; the first and a stage's last are always there.
    """

    def __init__(self, shown: Progress, loggers: Sequence[ExperimentLogger], run: RunFolder, every: int) -> None:
        self._shown = shown
        self._loggers = list(loggers)
        self._run = run
        self._every = every
        self._failures: dict[str, str] = {}
        self._started: list[ExperimentLogger] = []
        self._step = 0
        self._ending: Ending = "stopped"

    @property
    def outcomes(self) -> tuple[LoggerOutcome, ...]:
        """What became of each logger."""
        return tuple(LoggerOutcome(each.name, each.place, self._failures.get(each.name)) for each in self._loggers)

    def log(self, text: str) -> None:
        """For the person; the loggers have no lines."""
        self._shown.log(text)

    def step(self, view: StepView) -> None:
        """For the person, and every so often a point of each loss, the learning rate and the speed."""
        self._shown.step(view)
        self._step = view.steps_before + view.step
        if view.step == 1 or view.step % self._every == 0 or view.progress >= 1:
            values = {f"step/{name}": value for name, value in view.losses.items()}
            values |= {"step/total": sum(view.losses.values()), "step/lr": view.learning_rate}
            values |= {"step/images_per_second": view.images_per_second, "step/epoch": view.epoch}
            self._tell(lambda logger: logger.scalars(self._step, values))

    def working(self, what: str, done: int = 0, total: int = 0) -> None:
        """For the person."""
        self._shown.working(what, done, total)

    def started(self, step: int) -> None:
        """Begin all loggers.

        Raises:
            SightlineError: one cannot begin.
        """
        self._shown.started(step)
        self._step = step
        if not self._loggers:
            return
        config = json.loads((self._run.path / "config.json").read_text(encoding="utf-8"))
        run = LoggedRun(self._run.path, config, step, self._run.resumed)
        for logger in self._loggers:
            self._shown.working(f"starting the logger {logger.name}")
            try:
                logger.start(run)
            except SightlineError:
                raise
            except Exception as error:
                raise SightlineError(
                    f"the logger {logger.name} cannot begin ({_what(error)})",
                    place=logger.place,
                    cure=f"mend it, or leave out --logger {logger.name}; then go on by --resume",
                ) from error
            self._started.append(logger)

    def measured(self, step: int, row: Mapping[str, float | str]) -> None:
        """A point of each number of the history's row."""
        self._shown.measured(step, row)
        self._step = step
        values = {name: float(value) for name, value in row.items() if not isinstance(value, str) and name != "step"}
        self._tell(lambda logger: logger.scalars(step, values))

    def judged(self, metrics: Mapping[str, float], pictures: Mapping[str, bytes], report: Path) -> None:
        """The final judgement.

        Args:
            metrics: by name; they are logged as ``final/NAME``.
            pictures: JPEG files by title.
            report: the HTML file.
        """
        step = self._step
        final = {f"final/{name}": value for name, value in metrics.items()}

        def tell(logger: ExperimentLogger) -> None:
            logger.summary(step, final, report)
            for title, jpeg in pictures.items():
                logger.picture(step, title, jpeg)

        self._tell(tell)
        self._ending = "finished"

    def __enter__(self) -> "Logged":
        self._shown.__enter__()
        return super().__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self._ending = "failed"
        super().__exit__(kind, error, trace)
        self._shown.__exit__(kind, error, trace)

    def stop(self) -> None:
        """Close all loggers."""
        ending = self._ending
        self._tell(lambda logger: logger.close(ending))
        for name, failure in self._failures.items():
            self._say(f"the logger {name} holds less than this run did: {failure}")

    def _tell(self, tell: Callable[[ExperimentLogger], None]) -> None:
        for logger in self._started[:]:
            try:
                tell(logger)
            except Exception as error:  # noqa: BLE001 - a tracker may raise anything, and training is worth more
                self._started.remove(logger)
                self._failures[logger.name] = f"{_what(error)} at step {self._step}"
                self._say(
                    f"the logger {logger.name} failed at step {self._step} ({_what(error)}): it gets nothing more; "
                    "training goes on, and history.csv has every row"
                )

    def _say(self, text: str) -> None:
        self._shown.log(text)
        self._run.log(text)


def _what(error: Exception) -> str:
    """The first line of an error, not too long."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__
