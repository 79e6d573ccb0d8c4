"""history.csv: one row a validation, the same columns in every row, rewritten in one move each time."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path

from sightline.errors import DataError
from sightline.files import write_atomically, writing

Row = dict[str, float | str]


def read_history(path: Path) -> list[Row]:
    """The rows of a history, numbers as floats, empty cells left out; no file is no rows.

    Raises:
        DataError: the file is no CSV text.
    """
    if not path.exists():
        return []
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return [{k: _value(v) for k, v in row.items() if v} for row in csv.DictReader(file, strict=True)]
    except (csv.Error, UnicodeDecodeError, AttributeError) as error:
        raise DataError(f"is no history ({error})", place=path, cause="it was changed by hand") from error


def write_history(path: Path, rows: list[Row]) -> None:
    """Write all rows; the columns are those of all rows, in order of appearance. Floats come back bit for bit.

    Raises:
        SightlineError: it cannot be written; what was there is unharmed.
    """
    columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows([_cells(row) for row in rows])
    with writing(path, "make room and go on with --resume"):
        write_atomically(path, text.getvalue())


def describe_row(row: Mapping[str, float | str]) -> str:
    """A row on one line, for the log: where it is, the summed losses, the metrics; the table has the rest."""
    told = [f"{row['stage']} epoch {row['epoch']}, step {row['step']}:"]
    for name, value in row.items():
        part, _, what = name.partition("/")
        metric = part == "val" and f"train/{what}" not in row
        if isinstance(value, float) and (what == "total" or metric):
            told.append(f"{what if metric else name} {value:.4f}")
    return "  ".join(told)


def _cells(row: Mapping[str, float | str]) -> dict[str, str]:
    return {name: _cell(name, value) for name, value in row.items()}


def _cell(name: str, value: float | str) -> str:
    if isinstance(value, str):
        return value
    return str(int(value)) if name == "step" else repr(value)


def _value(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text
