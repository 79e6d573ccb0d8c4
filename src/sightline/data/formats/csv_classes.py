"""The list of classes beside tables of boxes: ``classes.csv`` with name and number, or ``classes.txt`` with names."""

from collections.abc import Sequence
from pathlib import Path

from sightline.data.formats.csv_table import Columns, read_rows
from sightline.errors import DataError

CLASS_LISTS = ("classes.csv", "classes.txt")
"""Names of the lists of classes."""


def read_class_list(folders: Sequence[Path]) -> dict[int, str]:
    """Names by number, in order of number; empty where there is no list of classes.

    Args:
        folders: where it is looked for, in order.

    Raises:
        DataError: a list that cannot be read, or has not a name and a number of its own on every line.
    """
    places = (folder / name for folder in folders for name in CLASS_LISTS)
    source = next((place for place in places if place.is_file()), None)
    if source is None:
        return {}
    pairs = _lines(source) if source.suffix == ".txt" else [_pair(row) for _, row in read_rows(source, _NO_NAMES)]
    if pairs and pairs[0] is None:  # a line of names
        pairs = pairs[1:]
    named = [pair for pair in pairs if pair is not None]
    numbers = dict(named)
    if not named or len(set(numbers.values())) != len(pairs):
        raise DataError("must have a name and its own number on every line", place=source, cure="correct the file")
    return dict(sorted(numbers.items()))


_NO_NAMES = Columns(",", (), {})


def _lines(source: Path) -> list[tuple[int, str] | None]:
    try:
        lines = source.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the list of classes cannot be read ({error})", place=source, cure="save it as UTF-8"
        ) from error
    names = [line.strip() for line in lines]
    return list(enumerate(name for name in names if name))


def _pair(row: Sequence[str]) -> tuple[int, str] | None:
    """Number and name of a row, in either order; None where it is no such row."""
    values = [value.strip() for value in row]
    if len(values) != 2 or not all(values):
        return None
    for name, number in (values, values[::-1]):
        if is_number(number) and "\0" not in name:
            return int(number), name
    return None


def is_number(name: str) -> bool:
    """Whether the name of a class is a whole number."""
    return name.isascii() and name.isdigit() and len(name) < 19
