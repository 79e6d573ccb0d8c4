"""``sightline data split``: a set divided into parts, by class, by group, and near-duplicates together."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import options
from sightline.cli.datasets import find_data
from sightline.cli.output import counter, show_findings, show_json, show_table
from sightline.errors import ConfigError


def split_command(
    data: options.DataArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where to; a folder that does not exist.", show_default=False)
    ],
    parts: Annotated[
        str, typer.Option("--parts", metavar="NAME=SHARE,...", help="Parts and their shares of the images.")
    ] = "train=0.8,val=0.1,test=0.1",
    split: options.Splits = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            "--group-by",
            metavar="WHAT",
            help="Images that stay together: of one 'folder', with the same 'regex:EXPRESSION' in the name (its first "
            "group), or the same 'column:KEY' of the image's COCO entry.",
        ),
    ] = None,
    seed: options.Seed = 0,
    duplicates: Annotated[
        bool,
        typer.Option(
            "--duplicates/--no-duplicates",
            help="Decode all images, and keep together those that are identical or nearly so.",
        ),
    ] = True,
    link: options.Link = False,
    as_json: options.Json = False,
) -> None:
    """Divide a set into train, val and test, stratified by class; write it as COCO."""
    from sightline.data.split_set import SplitWishes, split_set

    wishes = SplitWishes(_shares(parts), seed, group_by, duplicates, "link" if link else "copy")
    path = find_data(data)
    with counter("comparing images") as progress:
        done = split_set(path, out, wishes, splits=tuple(split or ()), progress=progress)
    show_findings(done.remarks, "split")
    if as_json:
        remarks: dict[str, Any] = {"groups": done.groups, "alike": done.alike, "remarks": dict(done.remarks)}
        show_json({"out": str(out), **done.report.to_dict(), **remarks})
    else:
        _show(done.report, out)
        if duplicates:
            print(
                f"{done.alike} images have an identical or nearly identical one, and are in the same part",
                file=sys.stderr,
            )


def _shares(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for item in text.split(","):
        name, _, value = (word.strip() for word in item.partition("="))
        try:
            share = float(value)
        except ValueError as error:
            raise ConfigError(f"'{item}' is no part", cure="give --parts as train=0.8,val=0.1,test=0.1") from error
        if name in shares:
            raise ConfigError(f"the part '{name}' is there twice", cure="give each part once")
        shares[name] = share
    return shares


def _show(report: Any, out: Path) -> None:
    """One row for the images and one a class: how many each part has, and what share that is."""
    rows = [("images", report.images.tolist())]
    rows += [(name, report.objects[:, label].tolist()) for label, name in enumerate(report.classes)]
    wished = [f">{name} ({wish:.1%})" for name, wish in report.parts.items()]
    show_table(("", *wished), [(name, *_cells(counts)) for name, counts in rows])
    print(f"shares of classes are off by {report.deviation:.2%} on average\nwritten to {out}")


def _cells(counts: list[int]) -> list[str]:
    total = sum(counts)
    return [f"{count:,} ({count / total:.1%})" if total else "0" for count in counts]
