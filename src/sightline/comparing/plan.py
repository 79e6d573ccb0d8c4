"""All that decides a comparison, as it is written down, read again by each system's process, and kept on resuming."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.comparing.entrants import Entrant, require_two
from sightline.comparing.place import COMPARE_FILE
from sightline.errors import ConfigError

if TYPE_CHECKING:
    from sightline.data.bad_images import OnBadImage
    from sightline.training.options import TrainOptions
    from sightline.workflow import Splits

_HOW = ("resume", "from_previous", "extend")
"""Options that say what to do with a run, not what it is."""


@dataclass(frozen=True)
class Run:
    """One system under one seed.

    Args:
        entrant: the row.
        seed: of the training; None for a model that is only judged.
        folder: name of its folder.
    """

    entrant: Entrant
    seed: int | None
    folder: str


def _usual_splits() -> "Splits":
    from sightline.workflow import Splits

    return Splits()


@dataclass(frozen=True)
class Plan:
    """What is compared, on what, and how it is trained.

    Args:
        entrants: the rows, two at least.
        data: the set: a path, or a name of ``sightline data download``.
        options: of every training; ``seed`` is the first one.
        splits: which splits are used for what.
        seeds: trainings of each system.
        image_size: short side that images are resized to, or None for each system's own.
        backbone_weights: that all start from which are trained, or None.
        on_bad_image: what to do with images that cannot be read.

    Raises:
        ConfigError: fewer than two rows, seeds below 1, or options that make no sense for several systems, or two
            runs of one folder.
    """

    entrants: tuple[Entrant, ...]
    data: str
    options: "TrainOptions"
    splits: "Splits" = field(default_factory=_usual_splits)
    seeds: int = 1
    image_size: int | None = None
    backbone_weights: str | None = None
    on_bad_image: "OnBadImage" = "raise"

    def __post_init__(self) -> None:
        require_two(self.entrants)
        if self.seeds < 1:
            raise ConfigError(f"--seeds must be at least 1, got {self.seeds}")
        if self.image_size is not None and self.image_size < 1:
            raise ConfigError(f"the short side must be at least 1 pixel, got {self.image_size}")
        replace(self.options, seed=self.options.seed + self.seeds - 1)  # the last one is a seed too
        if self.options.devices * self.options.nodes > 1 or self.options.extend is not None:
            raise ConfigError("systems are compared on one device each, by one budget")
        folders = [run.folder for run in self.runs()]
        twice = next((folder for folder in folders if folders.count(folder) > 1), None)
        if twice is not None:
            raise ConfigError(
                f"two runs would be written to the folder {twice}",
                cause="a row is called as another row's run of one seed",
                cure="name one of the rows otherwise: --variant NAME=BASE",
            )
        if not self.trains and self._of_training:
            raise ConfigError(
                "nothing is trained: all are models that are there already",
                cure=f"leave out {', '.join(self._of_training)}",
            )

    @property
    def trains(self) -> bool:
        """Whether anything is trained."""
        return any(entrant.way == "train" for entrant in self.entrants)

    @property
    def _of_training(self) -> tuple[str, ...]:
        """The options that were given and that only training heeds."""
        options = self.options
        given = {
            "--minutes": options.minutes is not None,
            "--epochs": options.epochs is not None,
            "--seeds": self.seeds > 1,
            "--backbone-weights": self.backbone_weights is not None,
            "--batch": options.batch_size is not None,
            "--recipe": bool(options.recipe),
            "--precision": options.precision != "auto",
            "--workers": options.workers is not None,
        }
        return tuple(name for name, is_given in given.items() if is_given)

    def runs(self) -> tuple[Run, ...]:
        """All runs in the order in which they are made: a whole table of the first seed, then the next."""
        found = []
        for seed in range(self.options.seed, self.options.seed + self.seeds):
            for entrant in self.entrants:
                if entrant.way != "given":
                    found.append(Run(entrant, seed, self.folder_of(entrant.name, seed)))
                elif seed == self.options.seed:
                    found.append(Run(entrant, None, entrant.name))
        return tuple(found)

    def folder_of(self, name: str, seed: int) -> str:
        """Name of the folder of a row's run."""
        return name if self.seeds == 1 else f"{name}-seed{seed}"

    def to_dict(self) -> dict[str, Any]:
        """What compare.json holds under ``settings``, as JSON values."""
        values = {
            "systems": {entrant.name: entrant.to_dict() for entrant in self.entrants},
            "data": self.data,
            "splits": asdict(self.splits),
            "seeds": self.seeds,
            "image_size": self.image_size,
            "backbone_weights": self.backbone_weights,
            "on_bad_image": self.on_bad_image,
            "options": {name: value for name, value in asdict(self.options).items() if name not in _HOW},
        }
        plain: dict[str, Any] = json.loads(json.dumps(values, default=str))
        return plain


def plan_of(values: Mapping[str, Any]) -> Plan:
    """The plan that :meth:`Plan.to_dict` took; for processes of the same version."""
    from sightline.training.options import TrainOptions
    from sightline.workflow import Splits

    entrants = tuple(Entrant(name, **row) for name, row in values["systems"].items())
    options = {**values["options"], "loggers": tuple(values["options"]["loggers"])}
    others = {f.name: values[f.name] for f in fields(Plan) if f.name not in ("entrants", "options", "splits")}
    return Plan(entrants, options=TrainOptions(**options), splits=Splits(**values["splits"]), **others)


def read_plan(folder: Path) -> Plan:
    """The plan of a comparison's folder."""
    return plan_of(json.loads((folder / COMPARE_FILE).read_text(encoding="utf-8"))["settings"])
