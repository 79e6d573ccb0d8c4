"""``sightline data convert``: a set of labelled images in another format, with every loss told."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli import options
from sightline.cli.datasets import find_data
from sightline.cli.output import show_json
from sightline.errors import ConfigError

if TYPE_CHECKING:
    from sightline.data.conversion import Conversion


def convert_command(
    data: options.DataArgument,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="coco, voc, yolo, csv, masks or folders.")],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to; a folder that does not exist.")
    ] = None,
    split: options.Splits = None,
    link: options.Link = False,
    plan: Annotated[bool, typer.Option("--plan", help="Only say what would be lost; write nothing.")] = False,
    as_json: options.Json = False,
) -> None:
    """Write a set in another format; what that format cannot carry is said."""
    from sightline.data import conversion

    if (out is None) != plan:
        raise ConfigError("give either --out or --plan", cure="--out DIR writes, --plan only says what would be lost")
    path, splits = find_data(data), tuple(split or ())
    if out is None:
        done = conversion.plan(path, to, splits)
    else:
        done = conversion.convert(path, to, out, splits=splits, images="link" if link else "copy")
    if as_json:
        counts = {name: {"images": images, "objects": objects} for name, (images, objects) in done.splits.items()}
        place = None if out is None else str(out)
        document = {"set": str(path), "format": done.form, "target": to, "splits": counts, "out": place}
        show_json(document | {"lost": dict(done.lost), "changed": dict(done.changed)})
    else:
        _show(done, out)


def _show(done: "Conversion", out: Path | None) -> None:
    for name, (images, objects) in done.splits.items():
        print(f"{name}: {images:,} images, {objects:,} objects")
    for title, counts in ((f"{done.target} has no place for", done.lost), ("changed", done.changed)):
        for what, number in counts.items():
            print(f"{title}: {what}: {number:,}")
    if not done.lost and not done.changed:
        print("nothing is lost")
    print("nothing was written" if out is None else f"written to {out}")
