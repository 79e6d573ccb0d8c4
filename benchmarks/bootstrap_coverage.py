"""How often the paired bootstrap calls one of two equal models better. Target: 7.5% at most.

Two detectors of the same quality look at the same made images: which objects each finds, how well and how surely, and
what it invents are drawn anew for each, from the same distributions, given how hard the image and its objects are. So
neither is better, and an interval of 95% should leave 0 out in one trial of twenty. Of few images it does
so more often: ``LEAST_IMAGES`` is chosen by it.

    python benchmarks/bootstrap_coverage.py --trials 500 --images 5 8 10 15 20 30
"""

import argparse
import json
import math
import sys

import numpy as np

from sightline.evaluation.bootstrap import LEAST_IMAGES, compare
from sightline.evaluation.columns import Found, Truth

TARGET = 0.075
"""Of equal pairs called different, from ``LEAST_IMAGES`` on: half as many again as an interval of 95% promises."""

SIDE, EXTENT = 60.0, 600.0


def images_of(rng: np.random.Generator, count: int, classes: int) -> tuple[Truth, np.ndarray]:
    """Objects of some images, one to seven each, and how hard each is to find, in 0..1."""
    owners = np.repeat(np.arange(count), rng.integers(1, 8, count))
    total = len(owners)
    corners = rng.uniform(0, EXTENT - SIDE, (total, 2))
    hard = np.clip(rng.beta(2, 4, count)[owners] + rng.normal(0, 0.15, total), 0, 1)
    truth = Truth(
        count=count,
        images=owners,
        labels=rng.integers(0, classes, total),
        boxes=np.concatenate([corners, corners + SIDE], axis=1),
        areas=np.full(total, SIDE**2),
        ignore=np.zeros(total, np.bool_),
    )
    return truth, hard


def detections_of(rng: np.random.Generator, truth: Truth, hard: np.ndarray, classes: int) -> Found:
    """What a detector finds of them."""
    seen = rng.random(len(truth)) > hard
    moved = truth.boxes[seen] + rng.normal(0, 2 + 8 * hard[seen])[:, None] * np.asarray([1, 0.5, 1, 0.5])
    invented = np.repeat(np.arange(truth.count), rng.poisson(1.5, truth.count))
    corners = rng.uniform(0, EXTENT - SIDE, (len(invented), 2))
    images = np.concatenate([truth.images[seen], invented])
    labels = np.concatenate([truth.labels[seen], rng.integers(0, classes, len(invented))])
    boxes = np.concatenate([moved, np.concatenate([corners, corners + SIDE], axis=1)])
    scores = np.concatenate([np.clip(rng.normal(0.9 - 0.5 * hard[seen], 0.15), 0, 1), rng.beta(1.5, 4, len(invented))])
    order = np.lexsort((-scores, images))
    return Found(truth.count, images[order], labels[order], boxes[order], scores[order])


def false_verdicts(count: int, trials: int, resamples: int, classes: int) -> float:
    """Share of trials whose interval of AP leaves 0 out, of images that many."""
    rng, names, wrong = np.random.default_rng(count), [str(label) for label in range(classes)], 0
    for trial in range(trials):
        truth, hard = images_of(rng, count, classes)
        a, b = (detections_of(rng, truth, hard, classes) for _ in range(2))
        found = compare(truth, a, b, names, resamples=resamples, seed=trial).overall[0]
        wrong += found.low > 0 or found.high < 0
    return wrong / trials


def main() -> int:
    """Measure it; fails where more than the target are called different, by twice the standard error."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--resamples", type=int, default=200)
    parser.add_argument("--classes", type=int, default=3)
    parser.add_argument("--images", type=int, nargs="+", default=[LEAST_IMAGES])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    shares, passed = {}, True
    for count in options.images:
        share = false_verdicts(count, options.trials, options.resamples, options.classes)
        error = math.sqrt(share * (1 - share) / options.trials)
        shares[count] = share
        passed = passed and (count < LEAST_IMAGES or share - 2 * error <= TARGET)
        if not options.json:
            print(f"{count:>4} images: {share:6.1%} ± {error:.1%} of equal pairs called different", flush=True)
    if options.json:
        print(json.dumps({"trials": options.trials, "resamples": options.resamples, "false_verdicts": shares}))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
