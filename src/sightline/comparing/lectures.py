"""What lectures and papers report of R-CNN, Fast and Faster R-CNN, to stand beside one's own numbers as ratios.

VGG-16 on PASCAL VOC 2007, mean average precision of 2007's protocol (Girshick 2015, "Fast R-CNN", table 4; Ren et al.
2015, "Faster R-CNN", table 5; as they are taught: 84 h and 9.5 h of training; 50, 2 and 0.2 s an image with proposals;
66.0, 66.9 and 66.9). Seconds of one's own machine say nothing beside them; how many times one is faster does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sightline.report.comparison_data import ComparedSystem, LectureRow, times_as_fast


@dataclass(frozen=True)
class Reported:
    """What is reported of one system.

    Args:
        train_hours: of training.
        test_seconds: of one image, proposals included.
        given_seconds: with proposals given; None where they are part of the network.
        mean_ap: VOC 2007, in 0..1.
    """

    train_hours: float | None
    test_seconds: float
    given_seconds: float | None
    mean_ap: float


REPORTED: Mapping[str, Reported] = {
    "rcnn": Reported(84.0, 50.0, 47.0, 0.660),
    "fast_rcnn": Reported(9.5, 2.0, 0.32, 0.669),
    "faster_rcnn": Reported(None, 0.2, None, 0.669),
}
"""By name in the catalogue."""


def lecture_rows(systems: Sequence[tuple[str, ComparedSystem]]) -> tuple[LectureRow, ...]:
    """One's own ratios beside those reported, of the systems that were trained and that they name; none unless two are.

    Args:
        systems: rows of the table, each with its name in the catalogue; the first of a name counts.
    """
    trained = [(model, system) for model, system in systems if system.way == "train" and system.runs]
    ours = {model: system for model, system in reversed(trained) if model in REPORTED}
    if len(ours) < 2:
        return ()
    named = [(model, ours[model], REPORTED[model]) for model in REPORTED if model in ours]
    own = [
        times_as_fast([system.mean(key) for _, system, _ in named])
        for key in ("train_seconds", "milliseconds", "given_milliseconds")
    ]
    theirs = [
        times_as_fast([reported.train_hours for _, _, reported in named]),
        times_as_fast([reported.test_seconds for _, _, reported in named]),
        times_as_fast([reported.given_seconds for _, _, reported in named]),
    ]
    return tuple(
        LectureRow(
            system=system.name,
            reported_name=model,
            train=(own[0][place], theirs[0][place], reported.train_hours),
            test=(own[1][place], theirs[1][place], reported.test_seconds),
            given=(own[2][place], theirs[2][place], reported.given_seconds),
            mean_ap=(system.mean("VOC07_AP50"), reported.mean_ap),
        )
        for place, (model, system, reported) in enumerate(named)
    )
