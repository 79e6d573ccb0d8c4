"""``sightline data check``: what is wrong with a set of labelled images, and a repaired copy of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.cli import options
from sightline.cli.datasets import find_data
from sightline.cli.output import counter, show_json, show_table
from sightline.errors import ConfigError, DataError
from sightline.files import require_outside

if TYPE_CHECKING:
    from sightline.data.doctor.check import Checkup
    from sightline.data.doctor.repair import Repair
    from sightline.data.findings import Finding

_SHOWN = 5


def check_command(
    data: options.DataArgument,
    split: options.Splits = None,
    fix: Annotated[
        Path | None,
        typer.Option("--fix", metavar="DIR", help="Write a repaired copy there and list what is different in it."),
    ] = None,
    link: options.Link = False,
    fast: Annotated[
        bool, typer.Option("--fast", help="Do not decode images: damaged and alike ones are not found.")
    ] = False,
    most: Annotated[
        int, typer.Option("--most", metavar="N", min=0, help="Cases of a kind that are shown; 0 for all.")
    ] = _SHOWN,
    as_json: options.Json = False,
) -> None:
    """Find every defect of a set: boxes, ids, masks, images, splits; ends with exit code 3 where there are errors."""
    from sightline.data.doctor.check import check

    if fix is not None and fix.exists():
        raise ConfigError("there is something of this name already", place=fix, cure="choose another --fix")
    if link and fix is None:
        raise ConfigError(
            "--link says how images are copied, but nothing is copied", cure="give --fix, or leave it out"
        )
    path = find_data(data)
    if fix is not None:
        require_outside(fix, path)
    with counter("looking at images") as progress:
        checkup = check(path, splits=tuple(split or ()), pixels=not fast, progress=progress)
    if not as_json:
        _show(checkup, most)
    repaired: Repair | None = None
    if fix is not None:
        from sightline.data.doctor.repair import repair

        repaired = repair(checkup, fix, images="link" if link else "copy")
    if as_json:
        show_json(_document(checkup, repaired, fix))
    elif repaired is not None:
        _show_changes(repaired, fix, most)
        _show_left(checkup)
    if checkup.number("error"):
        raise typer.Exit(DataError.exit_code)


def _document(checkup: "Checkup", repaired: "Repair | None", out: Path | None) -> dict[str, Any]:
    fixed = None
    if repaired is not None:
        changes = [change.to_dict() for change in repaired.changes]
        fixed = {"out": str(out), "changes": changes, "objects_lost": repaired.lost, "losses": dict(repaired.losses)}
    return checkup.to_dict() | {"fixed": fixed}


def _show(checkup: "Checkup", most: int) -> None:
    from sightline.data.doctor.check import SEVERITIES
    from sightline.data.finding_kinds import KINDS

    # Places in a set start from its folder; a file's own are whole.
    root = f"{checkup.path}/" if checkup.path.is_dir() else ""
    for name, tables in checkup.splits.items():
        print(f"{name}: {len(tables.images):,} images, {len(tables.objects):,} objects ({checkup.form})")
    rows = [[KINDS[code].severity, code, f"{number:,}", KINDS[code].title] for code, number in checkup.counts.items()]
    if rows:
        show_table(["severity", "code", ">cases", "what"], rows)
    for code, number in checkup.counts.items():
        kind = KINDS[code]
        print(f"{kind.severity} {code}: {kind.title}; likely cause: {kind.cause}; cure: {kind.cure}")
        cases = [finding for finding in checkup.findings if finding.code == code]
        for finding in cases[: most or None]:
            split = f"{finding.split}: " if finding.split and len(checkup.splits) > 1 else ""
            print(f"  {split}{_line(finding, root)}")
        if most and number > most:
            print(f"  ... and {number - most:,} more; --most 0 shows all")
    counts = [
        f"{checkup.number(severity):,} {severity}{'' if checkup.number(severity) == 1 else 's'}"
        for severity in SEVERITIES
    ]
    print(", ".join(counts) + ("" if checkup.looked else "; images were not decoded"))


def _line(finding: "Finding", root: str) -> str:
    """A case in one line; what its kind says already is not said again."""
    what = finding.what if finding.what != finding.kind.title else ""
    line = what if finding.file in what else ": ".join(part for part in (finding.place, what) if part)
    return line.replace(root, "") if root else line


def _show_changes(repaired: "Repair", out: Path | None, most: int) -> None:
    from collections import Counter

    numbers = Counter((change.code, change.what) for change in repaired.changes)
    lost = Counter[tuple[str, str]]()
    for change in repaired.changes:
        lost[change.code, change.what] += change.lost
    print(f"repaired copy: {out}, changes: {len(repaired.changes):,}, objects left out: {repaired.lost:,}")
    for (code, what), number in numbers.items():
        objects = f" (objects left out: {lost[code, what]:,})" if lost[code, what] else ""
        print(f"  {code}: {what}: {number:,}{objects}")
        changes = [change for change in repaired.changes if (change.code, change.what) == (code, what)]
        for change in changes if most == 0 else ():
            print(f"    {change.split}: {change.place}" if change.split else f"    {change.place}")
    for reason, number in repaired.losses.items():
        print(f"  not in the copy as it was, for the format has no place for it: {reason}: {number:,}")


def _show_left(checkup: "Checkup") -> None:
    """What a repair leaves to people."""
    kinds = {finding.code: finding.kind for finding in checkup.findings}
    left = [code for code, kind in kinds.items() if not kind.repair and kind.severity != "note"]
    if left:
        print(f"left as they are, for people to decide: {', '.join(left)}")
