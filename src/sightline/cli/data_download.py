"""``sightline data download``: a public data set from its name."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import options
from sightline.cli.datasets import say
from sightline.cli.output import counter, show_json, show_table
from sightline.errors import ConfigError


def download_command(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A name from --list.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="DIR",
            help="The folder of data sets; the set comes to DIR/NAME. Default: $SIGHTLINE_DATASETS, "
            "else ~/.cache/sightline/datasets.",
            show_default=False,
        ),
    ] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Show what there is, and download nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Download a public data set: resumed where it broke off, checked and unpacked."""
    if list_all == (name is not None):
        raise ConfigError("give one data set, or --list", cure="sightline data download --list shows the names")
    if name is None:
        _list(out, as_json)
        return
    from sightline.data.catalogue.entries import find_entry
    from sightline.data.catalogue.install import install

    entry = find_entry(name)
    print(f"{entry.title}. Licence: {entry.licence.text} ({entry.licence.url})", file=sys.stderr)
    with counter(f"downloading {entry.name}") as progress:
        folder = install(entry.name, root=out, progress=progress, say=say)
    if as_json:
        show_json({"folder": str(folder), **_described(entry)})
    else:
        counts = ", ".join(f"{count} {split}" for split, count in entry.images.items())
        print(f"{folder}: {counts} images{f'; {entry.note}' if entry.note else ''}")


def _list(out: Path | None, as_json: bool) -> None:
    from sightline.data.catalogue.entries import CATALOGUE, shown_size
    from sightline.data.catalogue.folder import datasets_folder, is_installed

    root = datasets_folder() if out is None else out
    rows = [(entry, is_installed(entry, root / entry.name)) for entry in CATALOGUE.values()]
    if as_json:
        show_json([{**_described(entry), "installed": there} for entry, there in rows])
        return
    show_table(
        ("name", ">images", ">download", "licence", "labels for", "here"),
        [
            (
                entry.name,
                f"{sum(entry.images.values()):,}",
                shown_size(entry.bytes),
                entry.licence.text,
                ", ".join(entry.tasks),
                "yes" if there else "",
            )
            for entry, there in rows
        ],
    )


def _described(entry: Any) -> dict[str, Any]:
    """An entry of the catalogue as plain values."""
    from dataclasses import asdict

    return {**asdict(entry), "bytes": entry.bytes}
