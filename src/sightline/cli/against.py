"""``sightline evaluate --against``: another model, or results of one, on the same images; torch only for a model."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sightline.classes import Classes
from sightline.cli.output import counter
from sightline.errors import ConfigError, DataError
from sightline.evaluation.bootstrap import RESAMPLES, Comparison, compare
from sightline.evaluation.columns import Found, Kind
from sightline.evaluation.evaluation import Evaluation
from sightline.evaluation.results import read_results
from sightline.evaluation.truth import TruthOfSplit

if TYPE_CHECKING:
    from sightline.data.dataset import Dataset


@dataclass(frozen=True)
class Rival:
    """What is judged against, and how.

    Args:
        word: a model file, a run folder, ``coco``, or a results file (.json).
        resamples: to draw; None for the usual number.
        seed: of the drawing; None for 0.
        short_side: that images are resized to for a model; None leaves it as the model has it.
        batch_size: images that a model predicts at once.
        workers: threads that read images ahead.
        device: as for ``judging.judge``.
        precision: as for ``judging.judge``.
    """

    word: str
    resamples: int | None = None
    seed: int | None = None
    short_side: int | None = None
    batch_size: int = 4
    workers: int = 1
    device: str = "auto"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.resamples is not None and self.resamples < 1:
            raise ConfigError(
                f"a comparison needs at least 1 resample, got {self.resamples}", cure=f"{RESAMPLES} is usual"
            )
        if self.seed is not None and self.seed < 0:
            raise ConfigError(f"--seed must be at least 0, got {self.seed}", cure="0 is usual")

    @property
    def is_results(self) -> bool:
        """Whether it is a results file rather than a model."""
        return Path(self.word).suffix.lower() == ".json"


def require_usable(rival: Rival, classes: Classes) -> None:
    """Look at a rival before the minutes that judging takes.

    Raises:
        ConfigError: a model of other classes.
        DataError: no such results file.
        ModelFileError: the model cannot be read.
    """
    if rival.is_results:
        if not Path(rival.word).is_file():
            raise DataError("no such results file", place=rival.word, cause="the path is mistyped")
        return
    from sightline.cli.opening import OFFICIAL
    from sightline.model_file import read_header
    from sightline.zoo import model_path

    if rival.word != OFFICIAL:
        _require_same(rival, read_header(model_path(rival.word)).classes, classes)


def _require_same(rival: Rival, theirs: Classes, ours: Classes) -> None:
    if theirs.names != ours.names:
        raise ConfigError(
            f"{rival.word} answers with the classes {', '.join(theirs.names)}, but {', '.join(ours.names)} are judged",
            cause="the two were trained on different sets",
            cure="compare models of the same classes, in the same order",
        )


def require_boxes(kind: Kind) -> None:
    """Raise ``ConfigError`` unless it is boxes that are judged: only they are compared."""
    if kind != "boxes":
        raise ConfigError(f"--against compares boxes, but {kind} are judged", cure="add --task boxes")


def compared(evaluation: Evaluation, name: str, rival: Rival, found: Found) -> Comparison:
    """The comparison of what was judged with a rival's detections.

    Args:
        evaluation: of the first.
        name: what the first is.
        rival: the second.
        found: its detections, of the same images and classes.
    """
    with counter("resampling") as progress:
        comparison = compare(
            evaluation.truth,
            evaluation.found,
            found,
            evaluation.classes.names,
            turns=evaluation.turns,
            resamples=RESAMPLES if rival.resamples is None else rival.resamples,
            seed=0 if rival.seed is None else rival.seed,
            progress=progress,
        )
    return replace(comparison, models=(name, rival.word))


def found_in_results(rival: Rival, split: TruthOfSplit) -> Found:
    """What a results file holds for a split.

    Raises:
        DataError: a file that cannot be used.
    """
    return read_results(Path(rival.word), split, "boxes").found


def found_by_model(rival: Rival, images: "Dataset", evaluation: Evaluation) -> Found:
    """What a model finds in the images of an evaluation.

    Args:
        rival: names the model.
        images: of the split.
        evaluation: which images and classes it must be.

    Raises:
        ConfigError: the model has other classes, or the images are not those of the evaluation.
        ModelFileError: the model cannot be read.
    """
    from sightline.evaluation.columns import found_of
    from sightline.evaluation.evaluate import predict_dataset

    if tuple(record.image_id for record in images.records) != evaluation.image_ids:
        raise ConfigError(
            "the two are not judged on the same images",
            cause="some images cannot be read, or have no id",
            cure="repair the set first: sightline data check",
        )
    fast = _ready(rival)
    _require_same(rival, fast.classes, evaluation.classes)
    with counter(f"judging {rival.word}") as progress:
        return found_of(
            predict_dataset(fast, images, batch_size=rival.batch_size, workers=rival.workers, progress=progress)
        )


def _ready(rival: Rival) -> Any:
    from sightline.cli.opening import open_model
    from sightline.judging import ready
    from sightline.workflow import resized

    system = resized(open_model(rival.word), rival.short_side)
    return ready(system, device=rival.device, precision=rival.precision)  # type: ignore[arg-type]  # ready checks it


def split_of(evaluation: Evaluation, images: "Dataset") -> TruthOfSplit:
    """An evaluation's images as what results are read for."""
    return TruthOfSplit(
        images.name, images.split, images.root, evaluation.truth, evaluation.image_ids, evaluation.classes, Counter()
    )
