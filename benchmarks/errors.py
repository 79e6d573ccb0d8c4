"""Why results are wrong, at the size of COCO's validation split: errors, confusion, calibration, bootstrap.

    python benchmarks/errors.py [--rounds 3] [--images 5000] [--json]

About 7 objects and 100 detections an image of 80 classes. The peers are hotcoco's own errors after TIDE, and judging a
resample anew by it, which is what a bootstrap costs that matches again. A resample counts as passed at 10 times the
peer's speed, errors at the same speed.
"""

import argparse
import json
import sys
import time

import numpy as np
from pairing import HEADER, compare, exit_code

from sightline.classes import Classes
from sightline.evaluation.bootstrap import Resampled
from sightline.evaluation.calibration import fit_temperature, reliability
from sightline.evaluation.coco import evaluate_columns
from sightline.evaluation.columns import Found, Truth, xywh
from sightline.evaluation.confusion import confusion
from sightline.evaluation.errors import errors_of
from sightline.evaluation.matching import match_columns

CLASSES = 80
NAMES = tuple(f"class {label}" for label in range(CLASSES))
RESAMPLE_TARGET, ERRORS_TARGET = 10.0, 1.0


def split(images: int, seed: int = 0) -> tuple[Truth, Found]:
    """Objects, a hit or a near miss or two for most of them, and the rest at random."""
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(images), rng.poisson(7.2, images))
    corner, side = rng.uniform(0, 500, (len(owners), 2)), np.exp(rng.uniform(2, 5.5, (len(owners), 2)))
    labels = np.minimum(rng.geometric(0.05, len(owners)) - 1, CLASSES - 1)
    boxes = np.concatenate([corner, corner + side], axis=1)
    truth = Truth(images, owners, labels, boxes, side.prod(axis=1), rng.random(len(owners)) < 0.01)
    near = np.repeat(np.arange(len(owners)), rng.integers(0, 4, len(owners)))
    moved = boxes[near] + np.tile(side[near], 2) * rng.normal(0, 0.15, (len(near), 4))
    moved[:, 2:] = np.maximum(moved[:, 2:], moved[:, :2] + 1)
    named = np.where(rng.random(len(near)) < 0.85, labels[near], rng.integers(0, CLASSES, len(near)))
    more = 100 * images - len(near)
    corner, side = rng.uniform(0, 500, (more, 2)), np.exp(rng.uniform(2, 5.5, (more, 2)))
    where = np.concatenate([owners[near], rng.integers(0, images, more)])
    every = np.concatenate([moved, np.concatenate([corner, corner + side], axis=1)])
    called = np.concatenate([named, rng.integers(0, CLASSES, more)])
    scores = np.concatenate([rng.beta(3, 2, len(near)), rng.beta(1, 8, more)]).astype(np.float32).astype(np.float64)
    order = np.lexsort((-scores, where))
    return truth, Found(images, where[order], called[order], every[order], scores[order])


def hotcoco_errors(truth: Truth, found: Found) -> object:
    """hotcoco's evaluation and its errors after TIDE."""
    import hotcoco

    dataset = hotcoco.COCO.from_arrays(
        [{"id": image, "width": 1, "height": 1} for image in range(truth.count)],
        [{"id": label + 1, "name": name} for label, name in enumerate(NAMES)],
        truth.images,
        truth.labels + 1,
        xywh(truth),
        area=truth.areas,
        iscrowd=truth.ignore,
    )
    rows = np.column_stack([found.images, xywh(found), found.scores, found.labels + 1])
    evaluator = hotcoco.COCOeval(dataset, dataset.load_res(rows), "bbox")
    evaluator.evaluate()
    return evaluator.tide_errors()


def repeated(truth: Truth, found: Found, drawn: np.ndarray) -> tuple[Truth, Found]:
    """The columns of images that are drawn, some of them several times."""
    parts = []
    for columns in (truth, found):
        start, stop = (np.searchsorted(columns.images, drawn, side=side) for side in ("left", "right"))
        counts = stop - start
        rows = np.repeat(start - (np.cumsum(counts) - counts), counts) + np.arange(counts.sum())
        parts.append((np.repeat(np.arange(len(drawn)), counts), rows))
    (truth_images, t), (found_images, f) = parts
    return (
        Truth(len(drawn), truth_images, truth.labels[t], truth.boxes[t], truth.areas[t], truth.ignore[t]),
        Found(len(drawn), found_images, found.labels[f], found.boxes[f], found.scores[f]),
    )


def timed(what: str, run: object) -> None:
    """Print how long one call takes."""
    start = time.perf_counter()
    run()  # type: ignore[operator]
    print(f"{what}: {time.perf_counter() - start:.2f} s")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    truth, found = split(options.images)
    classes = Classes(NAMES)
    drawn = np.sort(np.random.default_rng(1).integers(0, truth.count, truth.count))
    weights = np.bincount(drawn, minlength=truth.count)
    model = Resampled(truth, found, CLASSES)
    anew = evaluate_columns(*repeated(truth, found, drawn), classes).ap
    difference = abs(anew - np.nanmean(model.average_precisions(weights)))
    if not options.json:
        print(f"{len(truth):,} objects, {len(found):,} detections; AP of the resample differs by {difference:.1e}")
        print(HEADER)
    rows = [
        compare(
            lambda: evaluate_columns(*repeated(truth, found, drawn), classes),
            lambda: model.average_precisions(weights),
            rounds=options.rounds,
            target=RESAMPLE_TARGET,
            name="a resample",
        ),
        compare(
            lambda: hotcoco_errors(truth, found),
            lambda: errors_of(truth, found, NAMES),
            rounds=options.rounds,
            target=ERRORS_TARGET,
            name="errors",
        ),
    ]
    if options.json:
        print(json.dumps([row.to_dict() for row in rows]))
        return exit_code(rows)
    counted = match_columns(truth, found)
    timed("matching at the ten overlaps, once a model", lambda: Resampled(truth, found, CLASSES))
    timed("confusion", lambda: confusion(truth, found, NAMES, 0.3))
    timed("ECE", lambda: reliability(found.scores[counted.counted], counted.correct[counted.counted]))
    timed("temperature", lambda: fit_temperature(found.scores[counted.counted], counted.correct[counted.counted]))
    return exit_code(rows)


if __name__ == "__main__":
    sys.exit(main())
