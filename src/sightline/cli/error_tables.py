"""What is wrong, whether scores mean what they say, and how two models differ, as tables for people."""

from sightline.cli.output import share, show_table
from sightline.evaluation.bootstrap import Comparison, Difference
from sightline.evaluation.errors import KINDS
from sightline.evaluation.evaluation import Evaluation


def show_errors(evaluation: Evaluation) -> None:
    """Errors by kind with the AP50 that each costs, and a line on calibration."""
    errors = evaluation.errors.overall
    wrong = sum(errors.counts[kind] for kind in KINDS[:-1])
    counts = [f"{errors.counts[kind]:,}" for kind in KINDS] + [f"{wrong:,}", ""]
    costs = [errors.costs[kind] for kind in KINDS] + [errors.false_positive_cost, errors.false_negative_cost]
    columns = ("errors", *(f">{kind}" for kind in KINDS), ">all wrong", ">all not found")
    show_table(columns, [["count", *counts], ["dAP50", *(share(cost) for cost in costs)]])
    found = evaluation.reliability
    if found is not None and found.detections:
        before = evaluation.reliability_before
        earlier = "" if before is None else f" ({before.ece:.3f} at temperature 1)"
        known = "" if evaluation.temperature is None else f"; temperature {evaluation.temperature:.3f}"
        print(f"calibration error (ECE) {found.ece:.3f}{earlier} over {found.detections:,} detections{known}")


def show_comparison(comparison: Comparison) -> None:
    """The differences with their intervals, and what they come to."""
    a, b = comparison.models
    columns = ("A less B", ">A", ">B", ">difference", f">{comparison.level:.0%} interval", ">A better in", "verdict")
    rows = [_difference_row(found) for found in (*comparison.overall, *comparison.per_class)]
    show_table(columns, rows, title=f"A: {a}\nB: {b}")
    print(
        f"{comparison.method}: {comparison.resamples:,} resamples of {comparison.images:,} images (unit: "
        f"{comparison.unit}), seed {comparison.seed}"
    )


def _difference_row(found: Difference) -> list[str]:
    if found.resamples == 0:
        return [found.name, share(found.a), share(found.b), "-", "-", "-", found.in_words()]
    interval = f"{found.low:+.3f} to {found.high:+.3f}"
    cells = [share(found.a), share(found.b), f"{found.difference:+.3f}", interval, f"{found.a_better:.1%}"]
    return [found.name, *cells, found.in_words()]
