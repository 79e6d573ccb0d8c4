"""What a comparison of systems has to tell: rows, their numbers, and which numbers stand in a table."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean, stdev
from typing import Any, Literal

from sightline.evaluation.evaluation import Evaluation

State = Literal["finished", "failed", "interrupted", "waiting"]
"""Of a row: all of its runs are done; one went wrong; one was begun and not brought to its end; not all are begun."""

_MOST_ALL_PAIRS = 5
"""Rows of which every pair is compared; of more, each with the first and with the row that its Δ is to."""


@dataclass(frozen=True, eq=False)
class ComparedRun:
    """What one run of a system gave.

    Args:
        seed: of its training; None for a model that was only judged.
        folder: name of its folder.
        report: path of its own report from the page.
        numbers: by key of :data:`COLUMNS` and a few more; None where one is not defined or not measured.
        classes: AP by class; None where it is not defined.
        history: one row a validation; empty without training.
        warnings: of its training: what the data have too little of, and what its fits warned of.
    """

    seed: int | None
    folder: str
    report: str
    numbers: Mapping[str, float | None]
    classes: Mapping[str, float | None]
    history: Sequence[Mapping[str, float | str]] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ComparedSystem:
    """One row.

    Args:
        name: of the row.
        model: name in the catalogue, path of a model, or the row whose weights it has.
        way: ``train``, ``given`` or ``trained``.
        settings: that differ from the model's own.
        base: the row that it differs from by a setting, or None.
        members: the rows that it makes one; it is compared with the best of them.
        state: whether all of its runs are done, and if not, why.
        message: why it failed.
        runs: those that are done.
        evaluation: of the first of them.
    """

    name: str
    model: str
    way: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    base: str | None = None
    members: tuple[str, ...] = ()
    state: State = "finished"
    message: str = ""
    runs: tuple[ComparedRun, ...] = ()
    evaluation: Evaluation | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Those of its runs, each once."""
        return tuple(dict.fromkeys(warning for run in self.runs for warning in run.warnings))

    def mean(self, key: str) -> float | None:
        """A number over the runs that have it; None where none has."""
        values = self._values(key)
        return fmean(values) if values else None

    def deviation(self, key: str) -> float | None:
        """Its sample standard deviation (n - 1); None for fewer than two runs."""
        values = self._values(key)
        return stdev(values) if len(values) > 1 else None

    def class_mean(self, name: str) -> float | None:
        """AP of a class, over the runs where it is defined."""
        values = [value for run in self.runs if (value := run.classes.get(name)) is not None]
        return fmean(values) if values else None

    def _values(self, key: str) -> list[float]:
        return [value for run in self.runs if (value := run.numbers.get(key)) is not None]


@dataclass(frozen=True)
class LectureRow:
    """One's own ratios beside reported ones: times as fast as the slowest.

    Args:
        system: name of one's own row.
        reported_name: of the system that is reported.
        train: own ratio of training time, the reported one, and the reported hours.
        test: the same of a prediction with its proposals, in seconds.
        given: the same of a prediction with proposals given.
        mean_ap: own average precision by VOC 2007's protocol, and the reported one, in 0..1.
    """

    system: str
    reported_name: str
    train: tuple[float | None, float | None, float | None]
    test: tuple[float | None, float | None, float | None]
    given: tuple[float | None, float | None, float | None]
    mean_ap: tuple[float | None, float]


@dataclass(frozen=True)
class Column:
    """One column of numbers.

    Args:
        key: of the numbers.
        title: above it.
        show: a value as people read it.
        meaning: one sentence.
        ratio: title of a column beside it that tells how many times as fast as the slowest a row is; empty: none.
    """

    key: str
    title: str
    show: Callable[[float], str]
    meaning: str
    ratio: str = ""


TIMED = ("milliseconds", "proposal_milliseconds", "given_milliseconds")
"""Numbers that are medians of several predictions of one image; their quartiles stand beside them."""


def quartile_keys(key: str) -> tuple[str, str]:
    """The keys of the first and the third quartile of a number of :data:`TIMED`."""
    return f"{key}_first_quartile", f"{key}_third_quartile"


def _share(value: float) -> str:
    return f"{value:.3f}"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours with three digits."""
    for limit, unit in ((7200.0, "h"), (120.0, "min")):
        if seconds >= limit:
            return f"{seconds / (3600.0 if unit == 'h' else 60.0):.3g} {unit}"
    return f"{seconds:.3g} s"


def milliseconds(value: float) -> str:
    """Milliseconds, or seconds where there are many."""
    return f"{value / 1e3:.3g} s" if value >= 1000 else f"{value:.3g} ms"


def quantity(value: float) -> str:
    """A large number with three digits and a unit: 41.3 M."""
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.3g}"


def _bytes(value: float) -> str:
    return "0" if value == 0 else f"{quantity(value)}B"


def _megabytes(value: float) -> str:
    return f"{quantity(value * 1e6)}B"


QUALITY_AND_TIME = (
    Column("AP", "AP", _share, "COCO's mean average precision at IoU 0.50 to 0.95"),
    Column("AP50", "AP50", _share, "COCO's average precision at IoU 0.50"),
    Column("VOC07_AP50", "VOC07", _share, "VOC2007's average precision at IoU 0.50, 11 points, which lectures report"),
    Column(
        "train_seconds",
        "training",
        duration,
        "wall time of the run, validation and saving included, proposals before the first step not",
        ratio="x training",
    ),
    Column(
        "proposal_seconds",
        "proposing, training",
        duration,
        "the time of one image's proposals times the training and validation images; they are made once and kept on "
        "the disk for all systems",
    ),
    Column("milliseconds", "an image", milliseconds, "one prediction of one image, proposals included", "x image"),
    Column("proposal_milliseconds", "proposing", milliseconds, "what making the proposals of this image takes of it"),
    Column(
        "given_milliseconds",
        "with proposals given",
        milliseconds,
        "one prediction with its proposals given; regions that the network finds itself are part of it",
        ratio="x given",
    ),
)
"""How good and how fast: the first table."""

SIZE = (
    Column("feature_bytes", "features", _bytes, "files of features that the run keeps on the disk"),
    Column("parameters", "parameters", quantity, "of the network"),
    Column("flops", "FLOPs", quantity, "of one forward as it was run, regions included; a multiply-add is 2"),
    Column(
        "train_memory",
        "memory, training",
        _megabytes,
        "peak of the training process, Python and its libraries included (on CUDA: of what PyTorch allocated), since "
        "its last start",
    ),
    Column("predict_memory", "memory, prediction", _megabytes, "peak of one prediction beside the weights"),
)
"""What it takes: the second table."""

COLUMNS = QUALITY_AND_TIME + SIZE
"""All numbers, in order."""


def shown_columns(systems: Sequence[ComparedSystem], columns: Sequence[Column]) -> list[Column]:
    """Those that say something: without a proposer the time with proposals given does not."""
    proposed = any(system.mean("proposal_milliseconds") is not None for system in systems)
    return [
        column
        for column in columns
        if (proposed or column.key != "given_milliseconds")
        and any(system.mean(column.key) is not None for system in systems)
    ]


def times_as_fast(times: Sequence[float | None]) -> list[float | None]:
    """How many times as fast as the slowest each is; None where there is no time."""
    known = [time for time in times if time is not None]
    return [None if not time else max(known) / time for time in times]


def ratios(systems: Sequence[ComparedSystem], key: str) -> list[float | None]:
    """How many times as fast as the slowest each row is."""
    return times_as_fast([system.mean(key) for system in systems])


def base_of(systems: Sequence[ComparedSystem], system: ComparedSystem) -> ComparedSystem | None:
    """The row that a row is compared with; None for the first.

    The one that it is based on, or else the first. Where it makes one of several, the best of these by AP, and of
    equals the first.
    """
    names = system.members or (systems[0].name if system.base is None else system.base,)
    others = [other for other in systems if other.name in names and other.name != system.name]
    return max(others, key=lambda other: -1.0 if (ap := other.mean("AP")) is None else ap, default=None)


def delta(systems: Sequence[ComparedSystem], system: ComparedSystem, key: str) -> float | None:
    """By how much a number is greater than that of the row that it is compared with."""
    base, own = base_of(systems, system), system.mean(key)
    other = None if base is None else base.mean(key)
    return None if own is None or other is None else own - other


def pairs_of(systems: Sequence[ComparedSystem], judged: Sequence[ComparedSystem]) -> list[tuple[int, int]]:
    """Which rows are compared by an interval, a later one as A with an earlier one as B, as places in ``judged``.

    Args:
        systems: all rows.
        judged: those of them that there are detections of.
    """
    if len(judged) <= _MOST_ALL_PAIRS:
        return [(later, earlier) for later in range(len(judged)) for earlier in range(later)]
    places = {system.name: place for place, system in enumerate(judged)}
    bases = [(later, base_of(systems, system)) for later, system in enumerate(judged)]
    pairs = [(later, places[base.name]) for later, base in bases if base is not None and base.name in places]
    return list(dict.fromkeys([*((later, 0) for later in range(1, len(judged))), *pairs]))
