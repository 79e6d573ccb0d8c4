"""``sightline data stats``: what the annotations of a set look like, and which of them a model's anchors can match."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from sightline.cli import options
from sightline.cli.datasets import find_data
from sightline.cli.output import counter, show_findings, show_json, show_table
from sightline.errors import ConfigError

_MOST_CLASSES = 100


def stats_command(
    data: options.DataArgument,
    split: options.Splits = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Also tell which objects its anchors match: a name of `sightline models`, or a file."
        ),
    ] = None,
    assignments: options.Assignments = None,
    imgsz: options.ImageSize = None,
    coverage_images: Annotated[
        int, typer.Option(metavar="N", min=1, help="Images of a split, drawn at random, that anchors are laid over.")
    ] = 2000,
    seed: options.Seed = 0,
    out: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Also write a page: FILE.html.")] = None,
    as_json: options.Json = False,
) -> None:
    """Count objects, sizes, shapes and classes; with --model, which objects its anchors cover."""
    from sightline.data.opening import open_split, split_names
    from sightline.data.statistics import describe

    if model is None and (assignments or imgsz is not None):
        raise ConfigError("settings of a model without a model", cure="give --model, or leave --set and --imgsz out")
    _require_page(out)
    path = find_data(data)
    opened = {name: open_split(path, name) for name in split or split_names(path)}
    for name, one in opened.items():
        show_findings(one.findings, name)
    indexes = {name: one.index for name, one in opened.items()}
    described = [describe(index, name) for name, index in indexes.items()]
    coverage: Mapping[str, Any] = {}
    if model is not None:
        classes = next(iter(indexes.values())).classes
        system = _system(model, classes, tuple(assignments or ()), imgsz)
        coverage = _coverage(indexes, system, coverage_images, seed)
    if out is not None:
        _write(out, path.resolve().name, described, model or "", coverage)
    if as_json:
        covered = {name: found.to_dict() for name, found in coverage.items()}
        show_json({"splits": [one.to_dict() for one in described], **({"anchors": covered} if covered else {})})
        return
    _show(described)
    for name, found in coverage.items():
        _show_coverage(name, found, model or "")
    if out is not None:
        print(f"written to {out}")


def _require_page(out: Path | None) -> None:
    if out is None:
        return
    if out.suffix.lower() not in (".html", ".htm"):
        raise ConfigError("the page is an HTML file", place=out, cure="end the name of --out in .html")
    if out.exists():
        raise ConfigError("there is something at this place already", place=out, cure="choose another --out")
    if not out.parent.is_dir():
        raise ConfigError("the folder does not exist", place=out.parent, cure="make it, or choose another --out")


def _system(model: str, classes: Any, assignments: tuple[str, ...], imgsz: int | None) -> Any:
    """The system that a word means: a new one of the catalogue, or a trained one.

    Raises:
        ConfigError: it has no anchors, or settings that do not fit.
    """
    from sightline.cli.opening import open_model
    from sightline.cli.session import Start
    from sightline.workflow import resized
    from sightline.zoo import CATALOGUE, create

    if model in CATALOGUE:
        settings = Start(model, assignments, image_size=imgsz).settings()
        system = create(model, classes=classes, settings=settings)
    elif assignments:
        raise ConfigError("a trained model's settings are fixed", place="--set", cure="leave --set out")
    else:
        system = resized(open_model(model), imgsz)
    if system.anchors((64, 64)) is None:
        raise ConfigError(f"{system.name} has no anchors", place="--model", cure="leave --model out")
    return system


def _coverage(indexes: Mapping[str, Any], system: Any, count: int, seed: int) -> dict[str, Any]:
    import numpy as np

    from sightline.evaluation.anchor_coverage import anchor_coverage

    found = {}
    with counter("laying anchors over images") as progress:
        for number, (name, index) in enumerate(indexes.items(), start=1):
            drawn = np.random.default_rng(seed).permutation(len(index.image_ids))[:count]
            found[name] = anchor_coverage(index, system.anchors, np.sort(drawn))
            progress(number, len(indexes))
    return found


def _write(out: Path, title: str, described: Sequence[Any], model: str, coverage: Mapping[str, Any]) -> None:
    from sightline.files import write_atomically
    from sightline.report.data_stats import StatsPage, render, worst_pictures

    worst = {name: worst_pictures(found) for name, found in coverage.items()}
    write_atomically(out, render(StatsPage(title, tuple(described), model, coverage, worst)))


def _show(described: Sequence[Any]) -> None:
    from sightline.report.data_plots import range_text
    from sightline.report.data_stats import class_rows, split_facts

    names = [f">{one.split}" for one in described]
    facts = [split_facts(one) for one in described]
    rows = [[what, *(part.get(what, "-") for part in facts)] for what in facts[0]]
    show_table(["least / median / most", *names], rows)
    edges = described[0].per_image_histogram.edges
    bars = ([range_text(edges, n), *_counts(described, n)] for n in range(len(edges)))
    show_table(["objects an image", *names], bars)
    classes = class_rows(described)
    shown = [[name, *map(_class_cell, counts)] for name, counts in classes[:_MOST_CLASSES]]
    show_table(["class: objects (images)", *names], shown)
    if len(classes) > _MOST_CLASSES:
        print(f"and {len(classes) - _MOST_CLASSES} classes with fewer objects; --json and --out have them all")


def _counts(described: Sequence[Any], place: int) -> list[str]:
    return [f"{one.per_image_histogram.counts[place]:,}" for one in described]


def _class_cell(count: Any) -> str:
    return "-" if count is None else f"{count.objects:,} ({count.images:,})"


def _show_coverage(name: str, coverage: Any, model: str) -> None:
    from sightline.report.data_stats import coverage_text, share_cells

    classes = coverage.by_class()
    shares = [coverage.overall(), *coverage.by_size(), *classes[:_MOST_CLASSES]]
    rows = [[share.name, f"{share.objects:,}", *share_cells(share)] for share in shares]
    show_table(["", ">objects", ">matched", ">between", ">missed"], rows, title=f"{name}: anchors")
    if len(classes) > _MOST_CLASSES:
        print(f"and {len(classes) - _MOST_CLASSES} classes; --json and --out have them all")
    print(coverage_text(coverage, model))
