"""The same images as every compared system sees them, the truth first: those they disagree on most, and some at random.

An image is scored by its F1 at overlap 0.5, each system at the score threshold that serves it best; systems disagree as
much as the standard deviation of their scores says.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sightline.evaluation.evaluate import LabelledImages
from sightline.evaluation.evaluation import Evaluation
from sightline.report.comparison_data import ComparedSystem
from sightline.report.draw import image_name
from sightline.report.gallery import Scored, drawn_prediction, drawn_truth, score_images, small_jpeg


@dataclass(frozen=True)
class Panel:
    """One image as one system sees it.

    Args:
        title: the system, or that it is the truth.
        caption: what was found.
        jpeg: the picture.
    """

    title: str
    caption: str
    jpeg: bytes


@dataclass(frozen=True)
class SameImage:
    """One image as all see it.

    Args:
        image_id: of the image.
        name: of its file; its id in words where there is none.
        why: it was chosen.
        panels: the truth, then one a system.
    """

    image_id: int
    name: str
    why: str
    panels: tuple[Panel, ...]


def same_images(
    systems: Sequence[ComparedSystem], data: LabelledImages, count: int = 3, seed: int = 0
) -> tuple[SameImage, ...]:
    """So many images of each kind, no image twice; none without a system that was judged.

    Args:
        systems: rows of a comparison.
        data: the images that they were judged on.
        count: of each kind at most.
        seed: of the random choice.

    Raises:
        DataError: an image that cannot be read.
    """
    judged = [(system.name, system.evaluation) for system in systems if system.evaluation is not None]
    if not judged:
        return ()
    scores = [score_images(evaluation, evaluation.shown_threshold) for _, evaluation in judged]
    spread = np.std([[each.f1 for each in of_system] for of_system in scores], axis=0)
    apart = [int(place) for place in np.argsort(-spread, kind="stable")[:count] if spread[place] > 0]
    rest = [place for place in range(len(spread)) if place not in apart]
    drawn = sorted(rest[place] for place in np.random.default_rng(seed).permutation(len(rest))[:count])
    chosen = [(place, "the systems disagree") for place in apart] + [(place, "at random") for place in drawn]
    return tuple(_same_image(place, why, judged, scores, data) for place, why in chosen)


def _same_image(
    place: int,
    why: str,
    judged: Sequence[tuple[str, Evaluation]],
    scores: Sequence[Sequence[Scored]],
    data: LabelledImages,
) -> SameImage:
    sample, first = data[place], judged[0][1]
    # Nothing is missed in the truth itself: broken lines would be those of one system.
    panels = [
        Panel("truth", f"{scores[0][place].objects} objects", small_jpeg(drawn_truth(sample, first, place, None)))
    ]
    for (name, evaluation), of_system in zip(judged, scores, strict=True):
        picture = drawn_prediction(sample, evaluation, place, evaluation.shown_threshold)
        score = of_system[place]
        caption = (
            f"{score.found} right, {score.wrong} wrong, F1 {score.f1:.2f}; scores from {evaluation.shown_threshold:.2f}"
        )
        panels.append(Panel(name, caption, small_jpeg(picture)))
    return SameImage(first.image_ids[place], image_name(sample), why, tuple(panels))
