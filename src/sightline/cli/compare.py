"""``sightline compare``: several systems on one set, by one budget and one judgement."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli import options
from sightline.errors import ConfigError

if TYPE_CHECKING:
    from sightline.comparing.compare import Compared
    from sightline.comparing.entrants import Entrant
    from sightline.comparing.plan import Plan
    from sightline.report.comparison_data import ComparedSystem
    from sightline.training.progress import Progress

_INTERRUPTED = 130


def compare_command(
    data: options.Data,
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--models",
            metavar="NAME,NAME,...",
            help="What is compared: names from `sightline models`, which are trained; model files and folders of "
            "finished runs, which are only judged.",
        ),
    ] = None,
    variant: Annotated[
        list[str] | None,
        typer.Option(
            "--variant",
            metavar="NAME=BASE,KEY=VALUE,...",
            help="One more row, which differs from BASE (a row before it, or what --models takes) by settings; with "
            "trained:BASE it has the weights of BASE and only the settings differ (also multi_scale, flip), with "
            "trained:A+B it is several as one (fusion, member_weights). May be repeated, and adds up.",
        ),
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(metavar="N", help="Training time of each; proposals and what is solved (SVMs) come on top."),
    ] = None,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Passes over the training split of each. Default: its recipe.")
    ] = None,
    seeds: Annotated[int, typer.Option(metavar="N", help="Train each with N seeds, from --seed on.")] = 1,
    seed: options.Seed = 0,
    backbone: Annotated[str | None, typer.Option("--backbone", metavar="NAME", help="Of all that are trained.")] = None,
    backbone_weights: options.BackboneWeights = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="[ROW.]KEY=VALUE",
            help="Change a setting of all that are trained, or of one row; may be repeated.",
        ),
    ] = None,
    recipe: options.RecipeChanges = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    train_split: options.TrainSplit = "train",
    val_split: options.ValSplit = "val",
    test_split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Split that all are judged on. Default: test, or else val.")
    ] = None,
    out: options.Out = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the comparison in --out: what is finished stays, what failed is tried again."
        ),
    ] = False,
    device: options.Device = "auto",
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="Of training: auto (bf16-mixed where it is fast), 32, bf16-mixed.")
    ] = "auto",
    workers: options.Workers = None,
    resamples: Annotated[
        int, typer.Option(metavar="N", help="How often images are drawn for the intervals of differences.")
    ] = 1000,
    on_bad_image: options.OnBadImage = "raise",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train several systems on your images, judge all alike, write one table and report."""
    from sightline.cli.telling import progress_for_terminal
    from sightline.comparing.entrants import entrants_of

    words = [word for listed in models or () for word in listed.split(",")]
    entrants = entrants_of(words, variant or (), assignments or (), backbone)
    _require_sense(entrants, minutes, epochs, resamples)
    _require_places(data, out, resume=resume)
    with progress_for_terminal(quiet=quiet) as progress:
        progress.working("starting")
        from sightline.cli.datasets import find_data
        from sightline.comparing.plan import Plan
        from sightline.data.bad_images import on_bad_image as bad_image_policy
        from sightline.workflow import Splits

        training = options.train_options(epochs, minutes, batch, seed, device, precision, workers, recipe)
        plan = Plan(
            entrants,
            data,
            replace(training, resume=resume),
            Splits(train_split, val_split, test_split),
            seeds,
            imgsz,
            backbone_weights,
            bad_image_policy(on_bad_image),
        )
        find_data(data, progress)
        _compare(plan, out, progress, resamples, as_json=as_json)


def _require_sense(
    entrants: "tuple[Entrant, ...]", minutes: float | None, epochs: float | None, resamples: int
) -> None:
    """What can be seen to be wrong before torch is imported."""
    from sightline.comparing.entrants import require_two

    require_two(entrants)
    if minutes is not None and epochs is not None:
        raise ConfigError("epochs and minutes both say when training ends", cure="give --epochs or --minutes")
    if resamples < 1:
        raise ConfigError(f"--resamples must be at least 1, got {resamples}", cure="1000 is usual")


def _require_places(data: str, out: Path | None, *, resume: bool) -> None:
    """The same of the set and the folder; a set of the catalogue is not looked for yet."""
    from sightline.comparing.place import require_comparison_folder
    from sightline.data.catalogue.entries import CATALOGUE
    from sightline.data.formats.layouts import recognise

    require_comparison_folder(out, resume=resume)
    if not Path(data).exists() and data.lower() not in CATALOGUE:
        recognise(Path(data))


def _compare(plan: "Plan", out: Path | None, progress: "Progress", resamples: int, *, as_json: bool) -> None:
    """Run it, show it, and end with the exit code that says how it went."""
    from sightline.comparing.compare import compare_systems

    compared = compare_systems(plan, out=out, progress=progress, resamples=resamples)
    progress.stop()
    if as_json:
        from sightline.cli.output import show_json

        show_json({**compared.document, "folder": str(compared.folder)})
    else:
        _show(compared)
    if compared.stopped:
        raise typer.Exit(_INTERRUPTED)
    if compared.failed:
        raise typer.Exit(1)


def _show(compared: "Compared") -> None:
    """The table, how much of it is luck, and where everything is."""
    from sightline.cli.output import show_table
    from sightline.comparing.place import COMPARE_FILE, COMPARE_REPORT, COMPARE_TABLE

    systems = compared.systems
    protocol = compared.document["protocols"]["AP"]
    print(f"{compared.document['judged_on']}" + (f"; AP: {protocol}" if protocol else ""))
    for part in table_parts(systems):
        show_table(*part)
    print("x: times as fast as the slowest; Δ AP: less the AP of the row against which it stands")
    for system in systems:
        if system.state == "failed":
            print(f"{system.name} failed: {system.message}")
        for warning in system.warnings:
            print(f"warning, {system.name}: {warning}")
    _show_differences(compared)
    for name, file in (("numbers", COMPARE_FILE), ("table", COMPARE_TABLE), ("report", COMPARE_REPORT)):
        if (compared.folder / file).exists():
            print(f"{name + ':':<13}{compared.folder / file}")
    if compared.stopped or compared.failed:
        print(way_on(compared))


def way_on(compared: "Compared") -> str:
    """One line on how a comparison goes on that was interrupted, or of which something failed."""
    from sightline.comparing.place import same_command

    again = same_command(compared.folder)
    if compared.stopped:
        return f"interrupted; {again} goes on"
    return f"{again} tries again what failed; what is finished stays"


def table_parts(systems: "Sequence[ComparedSystem]", most: int = 8) -> list[tuple[list[str], list[list[str]]]]:
    """The table in parts that fit a terminal: titles of columns and rows, each with the names at its left.

    Args:
        systems: the rows.
        most: columns of a part beside the names; what is told of one number is not parted.
    """
    parts: list[list[list[str]]] = []
    for group in _groups(systems):
        if not parts or len(parts[-1]) + len(group) > most:
            parts.append([])
        parts[-1] += group
    names = ["system", *(system.name for system in systems)]
    tables = [list(zip(names, *columns, strict=True)) for columns in parts]
    return [(list(heads), [list(row) for row in rows]) for heads, *rows in tables]


def _groups(systems: "Sequence[ComparedSystem]") -> list[list[list[str]]]:
    """Columns, each its title and a cell a row; those that belong together in one list."""
    from sightline.report.comparison_data import COLUMNS, base_of, delta, ratios, shown_columns

    groups = []
    if any(system.state != "finished" for system in systems):
        groups.append([["state", *(system.state for system in systems)]])
    for column in shown_columns(systems, COLUMNS):
        group = [[f">{column.title}", *(_cell(system, column.key, column.show) for system in systems)]]
        if column.ratio:
            times = ratios(systems, column.key)
            group.append([f">{column.ratio}", *("n/a" if time is None else f"{time:.3g}" for time in times)])
        if column.key == "AP":
            bases = [base_of(systems, system) for system in systems]
            group.append([">Δ AP", *(_signed(delta(systems, system, "AP")) for system in systems)])
            group.append(["against", *("" if base is None else base.name for base in bases)])
        groups.append(group)
    return groups


def _cell(system: "ComparedSystem", key: str, show: Callable[[float], str]) -> str:
    mean, deviation = system.mean(key), system.deviation(key)
    if mean is None:
        return "n/a"
    return show(mean) + (f" ± {show(deviation)}" if deviation else "")


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.3f}"


def _show_differences(compared: "Compared") -> None:
    for each in compared.comparisons:
        found, (a, b) = each.overall[0], each.models
        interval = f"{found.difference:+.3f} ({found.low:+.3f} to {found.high:+.3f})"
        print(f"AP of {a} less {b}: {interval}: {found.in_words(a, b)}")
