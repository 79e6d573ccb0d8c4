"""Errors that are answers: what is wrong, where, the likely cause and the cure, on one line.

The exit code of each kind is the one that the command line ends with: 1 runtime, 2 usage and configuration,
3 data, 4 model file, 5 export.
"""

from pathlib import Path
from typing import ClassVar


class SightlineError(Exception):
    """Base of every error that Sightline raises on purpose.

    Args:
        what: what is wrong, one sentence without a full stop.
        place: the file, and where it helps the place in it, that the error is about.
        cause: the likely cause.
        cure: what the reader can do about it.
    """

    exit_code: ClassVar[int] = 1

    def __init__(
        self, what: str, *, place: str | Path | None = None, cause: str | None = None, cure: str | None = None
    ) -> None:
        self.what = what
        self.place = None if place is None else str(place)
        self.cause = cause
        self.cure = cure
        super().__init__(str(self))

    def __str__(self) -> str:
        text = self.what if self.place is None else f"{self.place}: {self.what}"
        if self.cause:
            text += f"; likely cause: {self.cause}"
        if self.cure:
            text += f"; cure: {self.cure}"
        return " ".join(text.split())

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors back by pickle, which would otherwise call __init__ with the finished text.
        return _rebuild, (type(self), self.what, self.place, self.cause, self.cure)


def _rebuild(
    kind: type[SightlineError], what: str, place: str | None, cause: str | None, cure: str | None
) -> SightlineError:
    return kind(what, place=place, cause=cause, cure=cure)


class ConfigError(SightlineError):
    """A configuration key, value or command-line argument that cannot be used."""

    exit_code = 2


class DataError(SightlineError):
    """Images or annotations that cannot be read or make no sense."""

    exit_code = 3


class ModelFileError(SightlineError):
    """A model or weight file that is damaged, foreign or does not fit."""

    exit_code = 4


class ExportError(SightlineError):
    """An export that failed or does not agree with the model that it came from."""

    exit_code = 5


class HelperEndedError(SightlineError):
    """A helper process of a distributed run ends; the first process tells a person why."""
