"""Telling a person how training goes: a bar, plain lines, or nothing."""

import math
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.progress import BarColumn, SpinnerColumn, TextColumn
from rich.progress import Progress as RichBar

_GRACE = 1.5
"""Seconds that the thread waits longer: what comes by itself says more than that nothing has come."""


@dataclass(frozen=True)
class StepView:
    """What there is to see after a step.

    Args:
        stage: name of the stage.
        progress: share of the stage that is behind, 0..1.
        epoch: epochs done in the stage, with fraction.
        step: optimiser steps done in the stage.
        loss: mean of the summed losses since the last validation.
        images_per_second: lately, training alone.
        learning_rate: the largest of all groups.
        seconds_left: foreseen, or None.
        losses: of this step alone, by name.
        steps_before: optimiser steps done in the stages before.
    """

    stage: str
    progress: float
    epoch: float
    step: int
    loss: float
    images_per_second: float
    learning_rate: float
    seconds_left: float | None
    losses: Mapping[str, float] = field(default_factory=dict)
    steps_before: int = 0

    def text(self) -> str:
        """All of it on one line."""
        return (
            f"{self.stage} {self.progress:4.0%}  epoch {self.epoch:.2f}  step {self.step}  loss {self.loss:.4f}  "
            f"lr {self.learning_rate:.2e}  {self.images_per_second:.1f} images/s  {self.left()} left"
        )

    def left(self) -> str:
        """The time left as minutes:seconds or hours:minutes:seconds."""
        if self.seconds_left is None or not math.isfinite(self.seconds_left):
            return "--:--"
        minutes, seconds = divmod(round(self.seconds_left), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes:02}:{seconds:02}"


class Progress(ABC):
    """What a run tells, in a ``with`` block around it; the end of the outermost block is the end of the telling."""

    _depth = 0

    @abstractmethod
    def log(self, text: str) -> None:
        """A line that stays."""

    @abstractmethod
    def step(self, view: StepView) -> None:
        """A step is done; called at every one, shown as often as makes sense."""

    def working(self, what: str, done: int = 0, total: int = 0) -> None:  # noqa: B027  # silence shows nothing
        """Something is done that is no step; said again and again, it shows how far that is.

        Args:
            what: in a few words.
            done: parts done.
            total: parts in all; 0 where nobody knows.
        """

    def started(self, step: int) -> None:  # noqa: B027  # most only show
        """Training is about to begin or to go on.

        Args:
            step: optimiser steps done, over all stages.
        """

    def measured(self, step: int, row: Mapping[str, float | str]) -> None:  # noqa: B027  # most only show
        """The history has one more row.

        Args:
            step: optimiser steps done, over all stages.
            row: its columns.
        """

    def __enter__(self) -> Self:
        self._depth += 1
        if self._depth == 1:
            self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._depth -= 1
        if self._depth == 0:
            self.stop()

    def start(self) -> None:  # noqa: B027  # silence has nothing to set up
        """The telling begins."""

    def stop(self) -> None:  # noqa: B027  # silence has nothing to take down
        """Nothing more will come; may be called again."""


class SilentProgress(Progress):
    """Shows nothing."""

    def log(self, text: str) -> None:
        """Nothing."""

    def step(self, view: StepView) -> None:
        """Nothing."""


class PlainProgress(Progress):
    """A line at least every ten seconds, where no terminal is: of steps and counts as they come, and by a thread of its
    own where nothing comes.

    Args:
        every: seconds between lines as they come.
        stream: where to; default: the standard error.
        clock: gives seconds.
        at_once: whether the first line comes at once; if not, what is over soon says nothing.
    """

    def __init__(
        self,
        every: float = 8.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        *,
        at_once: bool = True,
    ) -> None:
        self.every = every
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._shown = -math.inf if at_once else clock()
        self._doing, self._since = "", clock()
        self._lock = threading.RLock()
        self._pulse: _Pulse | None = None

    def log(self, text: str) -> None:
        """The line."""
        with self._lock:
            self._shown = self._clock()
            self._stream.write(text + "\n")
            self._stream.flush()

    def step(self, view: StepView) -> None:
        """The line, if the last one is long enough ago or the stage is done."""
        with self._lock:
            self._begin(f"{view.stage}, after step {view.step}")
            if self._due() or view.progress >= 1:
                self.log(view.text())

    def working(self, what: str, done: int = 0, total: int = 0) -> None:
        """The line, if the last one is long enough ago."""
        with self._lock:
            if not self._doing.startswith(what):
                self._begin(what)
            self._doing = f"{what}: {done} of {total}" if total else what
            if self._due():
                self.log(self._doing)

    def beat(self) -> None:
        """The line of what is being done, if nothing was said for long."""
        with self._lock:
            if self._doing and self._due(_GRACE):
                self.log(f"{self._doing} ({self._clock() - self._since:.0f} s)")

    def start(self) -> None:
        """Starts the thread that tells of what takes long."""
        self._pulse = _Pulse(self.beat)
        self._pulse.start()

    def stop(self) -> None:
        """Ends it."""
        if self._pulse is not None:
            self._pulse.end()
            self._pulse = None

    def _begin(self, what: str) -> None:
        self._doing, self._since = what, self._clock()

    def _due(self, grace: float = 0.0) -> bool:
        return self._clock() - self._shown >= self.every + grace


class _Pulse(threading.Thread):
    """Calls something several times a second."""

    def __init__(self, beat: Callable[[], None]) -> None:
        super().__init__(name="sightline-pulse", daemon=True)
        self._beat = beat
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.25):
            self._beat()

    def end(self) -> None:
        self._ended.set()
        self.join()


class RichProgress(Progress):
    """A bar with the time left, the loss, the learning rate and images/s; its spinner turns whatever is going on.

    Args:
        console: where to; default: the standard error.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._bar = RichBar(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%  {task.fields[detail]}"),
            console=console or Console(stderr=True),
            refresh_per_second=4,
            transient=True,
        )
        self._task = self._bar.add_task("starting", total=1.0, detail="")

    def log(self, text: str) -> None:
        """The line, above the bar."""
        self._bar.console.print(text, markup=False, highlight=False, soft_wrap=True)

    def step(self, view: StepView) -> None:
        """Moves the bar."""
        self._bar.start()
        detail = (
            f"epoch {view.epoch:.1f}  loss {view.loss:.3f}  lr {view.learning_rate:.1e}  "
            f"{view.images_per_second:.1f} images/s  {view.left()} left"
        )
        self._bar.update(self._task, completed=view.progress, description=view.stage, detail=detail)

    def working(self, what: str, done: int = 0, total: int = 0) -> None:
        """Moves the bar to how far that is."""
        self._bar.start()
        detail = f"{done} of {total}" if total else ""
        self._bar.update(self._task, completed=done / total if total else 0.0, description=what, detail=detail)

    def stop(self) -> None:
        """Takes the bar down."""
        self._bar.stop()
