"""docs/findings.md says of every kind of finding what the table in the code says.

Run as a program, this prints the tables as they should be.
"""

from pathlib import Path

from sightline.data.finding_kinds import KINDS, Kind

DOCUMENT = Path(__file__).parents[2] / "docs" / "findings.md"


def row(kind: Kind) -> str:
    """The line of the document about one kind."""
    refused = "refused" if kind.refused else ""
    cells = (f"`{kind.code}`", kind.severity, kind.title, kind.cause, kind.cure, refused, kind.repair)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def test_every_kind_has_its_line_and_no_other_has_one() -> None:
    lines = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    assert lines == [row(kind) for kind in KINDS.values()], "run this file as a program for the lines"


if __name__ == "__main__":
    for one in KINDS.values():
        print(row(one))
