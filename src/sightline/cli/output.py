"""How commands show things: tables for people, JSON for machines."""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal

_WIDTH_OF_FILES = 140
"""Characters of a line where a table goes to a file or a pipe, which have no width."""


def show_json(document: Any) -> None:
    """One JSON document on standard output."""
    print(json.dumps(document, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str | None = None) -> None:
    """A table on standard output; columns whose name begins with ">" are set flush right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(columns):
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        table.add_column(column.lstrip(">"), justify=justify, no_wrap=index == 0)
    for row in rows:
        table.add_row(*[_escaped(cell) for cell in row])
    console = Console(width=None if sys.stdout.isatty() else _WIDTH_OF_FILES)
    console.print(table)


def show_findings(findings: Mapping[str, int], split: str) -> None:
    """What reading a split repaired or dropped, on standard error; nothing when there is nothing to say."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    for line in findings_lines(findings, split):
        console.print(_escaped(line), soft_wrap=True)


def findings_lines(findings: Mapping[str, int], split: str) -> list[str]:
    """What reading a split repaired or dropped, a line a reason."""
    return [f"{split}: {reason}: {count}" for reason, count in sorted(findings.items())]


def share(value: float | None) -> str:
    """A number of 0..1 with three decimals, or n/a where there is none."""
    return "n/a" if value is None or math.isnan(value) else f"{value:.3f}"


def counted(number: int, what: str) -> str:
    """A number of things: 1 image, 5,000 images."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


@contextmanager
def counter(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on standard error that is moved by calls with how many are done and how many there are in all.

    Where standard error is no terminal a line every ten seconds, so that what is over soon says nothing.
    """
    from rich.console import Console
    from rich.progress import Progress

    from sightline.training.progress import PlainProgress

    console = Console(stderr=True)
    if not console.is_terminal:
        with PlainProgress(at_once=False) as lines:
            lines.working(what)
            yield partial(lines.working, what)
        return
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
