"""Which loggers a run is to have: ``NAME`` or ``NAME=PLACE``, checked before anything else is done."""

import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sightline.errors import ConfigError
from sightline.training.loggers.experiment_logger import ExperimentLogger

PACKAGES: Mapping[str, tuple[str, ...]] = {
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
    "wandb": ("wandb",),
}
"""What each logger imports; the extra that installs it has its name."""


@dataclass(frozen=True)
class LoggerChoice:
    """One logger that is asked for.

    Args:
        name: tensorboard, mlflow or wandb.
        place: where to, or None for the run folder.
    """

    name: str
    place: Path | None = None


def parse_choices(texts: Sequence[str]) -> tuple[LoggerChoice, ...]:
    """The loggers that are asked for.

    Args:
        texts: each ``NAME`` or ``NAME=PLACE``.

    Raises:
        ConfigError: an unknown name, one that is given twice, or one whose package is not installed.
    """
    choices: dict[str, LoggerChoice] = {}
    for text in texts:
        name, equals, place = text.partition("=")
        if name not in PACKAGES:
            raise ConfigError(f"unknown logger {name!r}", cure=f"choose {', '.join(PACKAGES)}")
        if equals and not place:
            raise ConfigError(f"--logger {text} names no place", cure=f"give {name}=PLACE, or {name} alone")
        if name in choices:
            raise ConfigError(f"the logger {name} is asked for twice", cure="keep one of the two")
        _require_installed(name)
        choices[name] = LoggerChoice(name, Path(place) if place else None)
    return tuple(choices.values())


def build_logger(choice: LoggerChoice) -> ExperimentLogger:
    """The logger, not yet started; its package is imported when it is."""
    if choice.name == "tensorboard":
        from sightline.training.loggers.tensorboard import TensorBoardLogger

        return TensorBoardLogger(choice.place)
    if choice.name == "mlflow":
        from sightline.training.loggers.mlflow import MlflowLogger

        return MlflowLogger(choice.place)
    from sightline.training.loggers.wandb import WandbLogger

    return WandbLogger(choice.place)


def _require_installed(name: str) -> None:
    missing = [package for package in PACKAGES[name] if not _installed(package)]
    if missing:
        raise ConfigError(
            f"the logger {name} needs {', '.join(missing)}, which this Python does not have",
            cure=f"pip install 'sightline[{name}]'",
        )


def _installed(package: str) -> bool:
    # A folder of that name without Python in it, such as a tracker makes where it runs, has no origin.
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None
