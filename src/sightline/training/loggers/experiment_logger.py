"""What every experiment logger does: TensorBoard, MLflow and Weights & Biases are told the same of a run.

history.csv is written by the run itself, always; a logger adds the losses of single steps
and shows all of it. Nothing here is what a person sees on the terminal or in log.txt: that is ``training.progress``.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

Ending = Literal["finished", "stopped", "failed"]
"""How a process left a run; one that was stopped can go on."""

Setting = float | int | bool | str


@dataclass(frozen=True)
class LoggedRun:
    """The run that a logger begins with or goes on with.

    Args:
        folder: the run folder.
        config: what config.json holds.
        step: optimiser steps done, over all stages.
        resumed: whether it goes on from a checkpoint; points of later steps may have been logged already.
    """

    folder: Path
    config: Mapping[str, object]
    step: int
    resumed: bool

    @property
    def name(self) -> str:
        """The run folder's name."""
        return self.folder.resolve().name

    def settings(self) -> dict[str, Setting]:
        """The configuration on one level, keys joined by dots; what is no number, truth value or text as text."""
        return _flat(self.config)


class ExperimentLogger(ABC):
    """Writes a run where an experiment tracker looks for it. What goes wrong may raise anything; the caller copes.

    Steps are optimiser steps over all stages. Between :meth:`start` and :meth:`close`.
    """

    name: ClassVar[str]
    """As it is asked for."""

    @property
    @abstractmethod
    def place(self) -> Path:
        """What a person opens."""

    @abstractmethod
    def start(self, run: LoggedRun) -> None:
        """Begin, or go on with what was written before: points after ``run.step`` are not in it twice."""

    @abstractmethod
    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of a step, on the disk when this returns."""

    @abstractmethod
    def picture(self, step: int, title: str, jpeg: bytes) -> None:
        """A picture, as a JPEG file; titles are unique."""

    @abstractmethod
    def summary(self, step: int, metrics: Mapping[str, float], report: Path) -> None:
        """What the final judgement found, and where the report is."""

    @abstractmethod
    def close(self, ending: Ending) -> None:
        """Nothing more will come from this process."""


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, Setting]:
    flat: dict[str, Setting] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, bool | int | float | str) else str(value)
    return flat
