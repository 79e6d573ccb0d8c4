"""``--multi-scale``, ``--flip``, ``--ensemble``: the system that commands make of one model or of several."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.errors import ConfigError

if TYPE_CHECKING:
    from sightline.contract import System

FUSIONS = ("nms", "voting", "average", "wbf")

MultiScaleOption = Annotated[
    str | None,
    typer.Option(
        "--multi-scale",
        metavar="N,N,...",
        help="Look at each image at these short sides in pixels, and fuse what is found.",
    ),
]
Flip = Annotated[bool, typer.Option("--flip", help="Look at each image mirrored as well, and fuse what is found.")]
EnsembleOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ensemble", metavar="OTHER", help="Another model of the same classes beside MODEL; may be repeated."
    ),
]
MemberWeights = Annotated[
    str | None,
    typer.Option(
        "--member-weights", metavar="N,N,...", help="Of --ensemble: how much each counts, MODEL first. Default: alike."
    ),
]
FusionOption = Annotated[
    str | None,
    typer.Option(
        "--fusion",
        metavar="NAME",
        help="What makes one result of several: nms (the best of those that overlap), voting (their mean, by score), "
        "average (of detectors of regions: shared proposals, mean scores and boxes), wbf (weighted box fusion). "
        "Default: voting of several looks, wbf of several models.",
    ),
]


@dataclass(frozen=True)
class Combining:
    """What is made of the models of a command, as it was typed.

    Args:
        multi_scale: short sides, separated by commas.
        flip: whether images are looked at mirrored too.
        ensemble: words for models beside the first.
        weights: of the members, separated by commas.
        fusion: of ``FUSIONS``.
        image_size: of ``--imgsz``.
    """

    multi_scale: str | None = None
    flip: bool = False
    ensemble: tuple[str, ...] = ()
    weights: str | None = None
    fusion: str | None = None
    image_size: int | None = None

    def __post_init__(self) -> None:
        if self.fusion is not None and self.fusion not in FUSIONS:
            from sightline.config import closest

            raise ConfigError(f"unknown fusion {self.fusion!r}", cure=closest(self.fusion, FUSIONS))
        if self.fusion is not None and not self.combines:
            raise ConfigError(
                "--fusion has no meaning with one look of one model",
                cure="leave it out, or add --multi-scale, --flip or --ensemble",
            )
        if self.weights is not None and not self.ensemble:
            raise ConfigError("--member-weights has no meaning with one model", cure="leave it out, or add --ensemble")
        if self.multi_scale is not None and self.image_size is not None:
            raise ConfigError("--multi-scale and --imgsz both give the size of images", cure="keep one of the two")
        self.short_sides, self.member_weights  # noqa: B018  # numbers that are none are said before models are opened

    @property
    def combines(self) -> bool:
        """Whether there is anything to combine."""
        return self.multi_scale is not None or self.flip or bool(self.ensemble)

    @property
    def short_sides(self) -> tuple[int, ...]:
        """Those of ``--multi-scale``."""
        return tuple(int(side) for side in _numbers(self.multi_scale, "--multi-scale", "480,600,800", whole=True))

    @property
    def member_weights(self) -> tuple[float, ...] | None:
        """Those of ``--member-weights``."""
        return None if self.weights is None else _numbers(self.weights, "--member-weights", "2,1")

    def system(self, model: str) -> "System[Any]":
        """The system of a command.

        Args:
            model: word for the first model.

        Raises:
            ConfigError: what cannot be combined.
            ModelFileError: a model that cannot be read.
        """
        from sightline.cli.opening import open_model
        from sightline.combination.build import combine
        from sightline.workflow import resized

        return combine(
            [resized(open_model(word), self.image_size) for word in (model, *self.ensemble)],
            short_sides=self.short_sides,
            flip=self.flip,
            fusion=self.fusion,
            weights=self.member_weights,
        )

    def described(self, model: str, system: "System[Any]") -> dict[str, Any] | None:
        """What was combined and how, with the words for the models; None for one look of one model."""
        from sightline.contract import CombinedSystem

        if not isinstance(system, CombinedSystem):
            return None
        return {"models": [model, *self.ensemble], **system.describe()}

    def typed(self) -> dict[str, object]:
        """The options that were given, and None for those that were not."""
        return {
            "--multi-scale": self.multi_scale,
            "--flip": self.flip or None,
            "--ensemble": self.ensemble or None,
        }

    def settings(self) -> dict[str, object]:
        """The options that were given, as rows of a report."""
        given = {**self.typed(), "--member-weights": self.weights, "--fusion": self.fusion}
        return {name.removeprefix("--"): value for name, value in given.items() if value is not None}


def told(combination: "Mapping[str, Any]") -> str:
    """One line for a terminal on how a combined system looked."""
    from sightline.report.combination import named

    parts = []
    if "members" in combination:
        members = combination["members"]
        models = combination.get("models") or [None] * len(members)
        listed = ", ".join(named(member, model) for member, model in zip(members, models, strict=True))
        weights = combination["weights"]
        by = "" if weights is None else f", weights {', '.join(f'{weight:g}' for weight in weights)}"
        parts.append(f"ensemble of {listed}{by}")
    for each in (combination, *combination.get("members", ())):
        if "flip" in each:
            sizes = (
                "its own size" if each["short_sides"] is None else f"sizes {', '.join(map(str, each['short_sides']))}"
            )
            parts.append(f"looked at {sizes}{' and mirrored' if each['flip'] else ''}")
            break
    fusion = combination["fusion"]
    return f"{', '.join(parts)}; fused by {fusion['name']} ({fusion['source']})"


def _numbers(text: str | None, option: str, example: str, *, whole: bool = False) -> tuple[float, ...]:
    if text is None:
        return ()
    try:
        return tuple(int(part) if whole else float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(
            f"{option} {text} is not a list of numbers", cure=f"separate numbers by commas: {option} {example}"
        ) from error
