"""The options that several commands share, so that a name means the same everywhere."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.errors import ConfigError

if TYPE_CHECKING:
    from sightline.training.options import TrainOptions

_DATA_HELP = (
    "Labelled images: a folder or annotation file (COCO, Pascal VOC, YOLO, CSV, label images, a folder for each "
    "class), or a name from `sightline data download --list`."
)
Data = Annotated[str, typer.Option("--data", metavar="DATA", help=_DATA_HELP, show_default=False)]
OptionalData = Annotated[str | None, typer.Option("--data", metavar="DATA", help=_DATA_HELP, show_default=False)]
DataArgument = Annotated[str, typer.Argument(metavar="DATA", help=_DATA_HELP, show_default=False)]
Splits = Annotated[
    list[str] | None, typer.Option("--split", metavar="NAME", help="Only this split; may be repeated. Default: all.")
]
Link = Annotated[
    bool, typer.Option("--link", help="Link images instead of copying them: no space, but one file under two names.")
]
Model = Annotated[str, typer.Option("--model", metavar="NAME", help="A name from `sightline models`.")]
ModelFile = Annotated[
    str,
    typer.Argument(
        metavar="MODEL",
        help="A model file (.safetensors), a run folder, or 'coco': torchvision's Faster R-CNN as trained on COCO.",
        show_default=False,
    ),
]
Backbone = Annotated[
    str | None, typer.Option("--backbone", metavar="NAME", help="Another backbone than the model's own.")
]
BackboneWeights = Annotated[
    str | None,
    typer.Option(
        "--backbone-weights", metavar="FILE", help="'imagenet', or a safetensors file with torchvision's names."
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        "--weights", metavar="FILE", help="Of the whole model: a Sightline model file, a run folder, or 'coco'."
    ),
]
ImageSize = Annotated[
    int | None, typer.Option("--imgsz", metavar="PIXELS", help="Short side that images are resized to.")
]
Batch = Annotated[int | None, typer.Option("--batch", metavar="N", help="Images at once.")]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1 or mps.")]
Workers = Annotated[
    int | None, typer.Option("--workers", metavar="N", help="Processes or threads that read images ahead.")
]
Assignments = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Change one setting of the model; may be repeated."),
]
RecipeChanges = Annotated[
    list[str] | None,
    typer.Option(
        "--recipe",
        metavar="NAME=VALUE",
        help="Change the recipe: optimiser.kind, optimiser.lr, schedule.kind, schedule.warmup_steps, clip_norm, "
        "clip_value, accumulate, ema ...; may be repeated.",
    ),
]
Loggers = Annotated[
    list[str] | None,
    typer.Option(
        "--logger",
        metavar="NAME[=PLACE]",
        help="Beside history.csv: tensorboard, mlflow (an sqlite file) or wandb (offline); in the run folder, or at "
        "PLACE; may be repeated.",
    ),
]
TrainSplit = Annotated[str, typer.Option("--train-split", metavar="NAME", help="Split to learn from.")]
ValSplit = Annotated[
    str, typer.Option("--val-split", metavar="NAME", help="Split that decides which weights are best.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", help="Of everything that is drawn at random.")]
Out = Annotated[Path | None, typer.Option("--out", metavar="DIR", help="Where to write; a folder that does not exist.")]
Json = Annotated[bool, typer.Option("--json", help="Write one JSON document to standard output, nothing else.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress; errors and the result only.")]
Precision = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="fp32, or bf16: faster where the processor has it.")
]
OnBadImage = Annotated[
    str,
    typer.Option(
        "--on-bad-image",
        metavar="NAME",
        help="What to do with images that cannot be read: raise (end at the first), skip, or salvage what is left.",
    ),
]


def require_split(wanted: str | None, opened: str, place: str) -> None:
    """Raise ``ConfigError`` where another split was asked for than the one that was opened: a file has its own."""
    if wanted not in (None, opened):
        raise ConfigError(
            f"--split {wanted}, but this file is the split '{opened}'",
            place=place,
            cure="leave out --split, or name the folder of the set",
        )


def train_options(
    epochs: float | None,
    minutes: float | None,
    batch: int | None,
    seed: int,
    device: str,
    precision: str,
    workers: int | None,
    recipe: Sequence[str] | None,
) -> "TrainOptions":
    """What a command that trains was told of training itself; the arguments are options of their names.

    Raises:
        ConfigError: a value that makes no sense.
    """
    from sightline.config import parse_assignments
    from sightline.training.options import TrainOptions

    return TrainOptions(
        epochs=epochs,
        minutes=minutes,
        batch_size=batch,
        seed=seed,
        precision=precision,  # type: ignore[arg-type]  # TrainOptions checks it
        device=device,
        workers=workers,
        recipe=parse_assignments(recipe or (), "--recipe"),
    )
