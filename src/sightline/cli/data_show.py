"""``sightline data show``: images of a set with what is written about them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import options
from sightline.cli.datasets import find_data
from sightline.cli.output import counter, show_findings, show_json
from sightline.errors import ConfigError, DataError
from sightline.files import require_outside

SHEET, GALLERY = "contact_sheet.jpg", "gallery.html"
_MOST_TOLD = 5


def show_command(
    data: options.DataArgument,
    split: options.Splits = None,
    count: Annotated[int, typer.Option(metavar="N", min=1, help="Images at most; drawn at random.")] = 60,
    classes: Annotated[
        list[str] | None,
        typer.Option("--class", metavar="NAME", help="Only images with an object of this class; may be repeated."),
    ] = None,
    finding: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="Only what `sightline data check` finds of this kind; may be repeated."),
    ] = None,
    masks: Annotated[
        bool | None,
        typer.Option("--masks/--no-masks", help="Draw masks. Default: where every object shown has one."),
    ] = None,
    seed: options.Seed = 0,
    out: options.Out = None,
    as_json: options.Json = False,
) -> None:
    """Show images with their annotations as written: a contact sheet, and a page to look through."""
    from sightline.report.data_pictures import all_masked, choose, class_names
    from sightline.workflow import RUNS, new_folder, next_folder

    _require_codes(finding or ())
    path, splits = find_data(data), tuple(split or ())
    if out is not None:
        require_outside(out, path)
    tables, found = _check(path, splits, finding) if finding else (_read(path, splits), None)
    _require_classes(classes or (), class_names(tables))
    chosen = choose(tables, count, seed=seed, classes=classes or (), findings=found)
    if not chosen.choices:
        raise DataError("no image to show", place=path, cure="ask for another --split, --class or --finding")
    with_masks = all_masked(tables, chosen.choices) if masks is None else masks
    with new_folder(next_folder(RUNS / "data-show", numbered=True) if out is None else out) as folder:
        failed = _write(folder, path, tables, chosen, with_masks)
    _tell(failed, chosen.unseen)
    shown = len(chosen.choices) - len(failed)
    size = (folder / GALLERY).stat().st_size
    if as_json:
        show_json(
            {
                **{"folder": str(folder), "shown": shown, "matching": chosen.matching, "bytes": size},
                **{"left_out": failed, "findings_without_picture": chosen.unseen},
            }
        )
    else:
        print(f"{shown} of {chosen.matching:,} images: {folder / SHEET} and {folder / GALLERY} ({size / 1e6:.1f} MB)")


def _read(data: Path, splits: tuple[str, ...]) -> dict[str, Any]:
    """The splits as they are written; what is wrong with them is told, and does not keep them from being shown."""
    from sightline.data.findings import Findings
    from sightline.data.formats.layouts import recognise

    layout = recognise(data)
    layout.require(splits, data)
    tables = {}
    for name in splits or layout.readers:
        findings = Findings()
        tables[name] = layout.readers[name](findings)
        show_findings(findings.by_title(), name)
    return tables


def _check(data: Path, splits: tuple[str, ...], codes: Sequence[str]) -> tuple[Mapping[str, Any], list[Any]]:
    """The splits as they are written, and what the check finds of some kinds in them."""
    from sightline.data.doctor.check import check

    # Only findings about images can need their pixels, which takes as long as looking at all of them.
    pixels = any(code.startswith("image") for code in codes)
    with counter("checking") as progress:
        checkup = check(data, splits=splits, pixels=pixels, progress=progress)
    return checkup.splits, [finding for finding in checkup.findings if finding.code in codes]


def _require_codes(codes: Sequence[str]) -> None:
    from sightline.config import closest
    from sightline.data.finding_kinds import KINDS

    for code in codes:
        if code not in KINDS:
            raise ConfigError(f"unknown kind of finding {code!r}", place="--finding", cure=closest(code, list(KINDS)))


def _require_classes(wanted: Sequence[str], known: Sequence[str]) -> None:
    from sightline.config import closest

    for name in wanted:
        if name not in known:
            raise ConfigError(f"unknown class {name!r}", place="--class", cure=closest(name, list(known)))


def _write(folder: Path, data: Path, tables: Mapping[str, Any], chosen: Any, masks: bool) -> list[str]:
    """Contact sheet and gallery, one image after the other; gives what is wrong with those that cannot be shown."""
    from sightline.files import write_atomically
    from sightline.report.contact_sheet import contact_sheet, thumbnail
    from sightline.report.data_gallery import GalleryPage, figure, render
    from sightline.report.data_pictures import class_names, read_picture
    from sightline.report.draw import save_image

    names, splits = class_names(tables), tuple(tables)
    thumbnails, captions, figures, failed = [], [], [], []
    kinds: dict[str, str] = {}
    with counter("reading pictures") as progress:
        for number, choice in enumerate(chosen.choices, start=1):
            try:
                picture = read_picture(choice, tables.get(choice.split), names, masks=masks)
            except DataError as error:
                failed.append(str(error))
                continue
            kinds |= {finding.code: finding.kind.title for finding in picture.findings}
            thumbnails.append(thumbnail(picture))
            codes = ", ".join(dict.fromkeys(finding.code for finding in picture.findings))
            captions.append((Path(picture.name).name, codes) if codes else (Path(picture.name).name,))
            figures.append(figure(picture, splits))
            progress(number, len(chosen.choices))
    if not figures:
        raise DataError(failed[0], cure="none of the images can be read")
    notes = (f"{len(figures)} of {chosen.matching:,} images, with the annotations as they are written.",)
    title = data.resolve().name
    write_atomically(folder / GALLERY, render(GalleryPage(title, notes, names, splits, tuple(figures), kinds)))
    save_image(contact_sheet(thumbnails, captions), folder / SHEET)
    return failed


def _tell(failed: Sequence[str], unseen: int) -> None:
    for line in failed[:_MOST_TOLD]:
        print(f"left out: {line}", file=sys.stderr)
    if failed:
        print(f"images left out because they cannot be read: {len(failed)}", file=sys.stderr)
    if unseen:
        print(f"findings about no picture: {unseen}; `sightline data check` lists them", file=sys.stderr)
