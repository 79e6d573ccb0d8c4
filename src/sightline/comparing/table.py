"""A comparison as JSON and as CSV."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sightline.evaluation.bootstrap import Comparison
from sightline.evaluation.voc import PROTOCOLS
from sightline.report.comparison_data import (
    COLUMNS,
    TIMED,
    ComparedSystem,
    LectureRow,
    base_of,
    delta,
    quartile_keys,
    ratios,
)

_ALSO = ("proposals_waited", *(quartile for key in TIMED for quartile in quartile_keys(key)))
"""Numbers that stand in compare.json and in no table."""

_DELTAS = ("AP", "AP50", "VOC07_AP50")


def document_of(
    systems: Sequence[ComparedSystem],
    lectures: Sequence[LectureRow],
    comparisons: Sequence[Comparison],
    *,
    place: str,
    settings: Mapping[str, Any],
) -> dict[str, Any]:
    """What compare.json holds: plain values, ``None`` where there is nothing to measure.

    Args:
        systems: the rows.
        lectures: ratios beside reported ones.
        comparisons: intervals of differences.
        place: what all were judged on.
        settings: of the comparison.
    """
    evaluation = next((system.evaluation for system in systems if system.evaluation is not None), None)
    coco = None if evaluation is None else evaluation.result.protocol
    fast = {column.key: ratios(systems, column.key) for column in COLUMNS if column.ratio}
    return {
        "settings": dict(settings),
        "judged_on": place,
        "protocols": {"AP": coco, "AP50": "COCO bbox AP@.50", "VOC07_AP50": PROTOCOLS["voc07"]},
        "finished": all(system.state == "finished" for system in systems),
        "spread": "sample standard deviation over the seeds (n - 1)",
        "meanings": {column.key: column.meaning for column in COLUMNS},
        "systems": [
            {**_row(systems, system), "times_as_fast": {key: values[place] for key, values in fast.items()}}
            for place, system in enumerate(systems)
        ],
        "lectures": [asdict(row) for row in lectures],
        "comparisons": [comparison.to_dict() for comparison in comparisons],
    }


def _row(systems: Sequence[ComparedSystem], system: ComparedSystem) -> dict[str, Any]:
    base = base_of(systems, system)
    keys = [*(column.key for column in COLUMNS), *_ALSO]
    return {
        "name": system.name,
        "model": system.model,
        "way": system.way,
        "settings": dict(system.settings),
        "state": system.state,
        "message": system.message or None,
        "warnings": list(system.warnings),
        "numbers": {
            key: {"mean": system.mean(key), "std": system.deviation(key), "n": _count(system, key)} for key in keys
        },
        "compared_with": None if base is None else base.name,
        "delta": {key: delta(systems, system, key) for key in _DELTAS},
        "runs": [
            {"seed": run.seed, "folder": run.folder, "numbers": dict(run.numbers), "classes": dict(run.classes)}
            for run in system.runs
        ],
    }


def _count(system: ComparedSystem, key: str) -> int:
    return sum(run.numbers.get(key) is not None for run in system.runs)


def as_csv(systems: Sequence[ComparedSystem]) -> str:
    """One line a row: means, their deviations where there are several seeds, ratios and differences."""
    several = any(len(system.runs) > 1 for system in systems)
    fast = {column.key: ratios(systems, column.key) for column in COLUMNS if column.ratio}
    lines = []
    for place, system in enumerate(systems):
        line: dict[str, Any] = {"system": system.name, "state": system.state, "seeds": len(system.runs)}
        for column in COLUMNS:
            line[column.key] = system.mean(column.key)
            if several:
                line[f"{column.key}_std"] = system.deviation(column.key)
            if column.ratio:
                line[f"{column.key}_times_as_fast"] = fast[column.key][place]
        base = base_of(systems, system)
        line["compared_with"] = None if base is None else base.name
        line |= {f"{key}_delta": delta(systems, system, key) for key in _DELTAS}
        lines.append({**line, "message": system.message})
    text = io.StringIO()
    writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()
