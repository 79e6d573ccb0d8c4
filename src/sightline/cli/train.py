"""``sightline train``: from a folder of labelled images to a judged detector."""

from dataclasses import replace
from typing import Annotated

import typer

from sightline.cli import options


def train_command(
    data: options.Data,
    model: options.Model = "faster_rcnn",
    backbone: options.Backbone = None,
    backbone_weights: options.BackboneWeights = None,
    weights: options.Weights = None,
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Passes over the training split. Default: the model's recipe.")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="N", help="Wall time instead; the learning rate follows the clock.")
    ] = None,
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    train_split: options.TrainSplit = "train",
    val_split: options.ValSplit = "val",
    test_split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Split for the final judgement. Default: test, or else val.")
    ] = None,
    assignments: options.Assignments = None,
    recipe: options.RecipeChanges = None,
    out: options.Out = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the interrupted run in --out, exactly; same command otherwise.")
    ] = False,
    from_previous: Annotated[
        bool, typer.Option("--from-previous", help="With --resume: from the checkpoint before a damaged last one.")
    ] = False,
    extend: Annotated[
        float | None,
        typer.Option(
            metavar="EPOCHS", help="Train the finished run in --out for so many more; same command otherwise."
        ),
    ] = None,
    seed: options.Seed = 0,
    seeds: Annotated[
        int | None, typer.Option(metavar="N", help="Train N seeds from --seed on; report mean and spread.")
    ] = None,
    device: options.Device = "auto",
    devices: Annotated[int, typer.Option(metavar="N", help="Devices on each machine.")] = 1,
    nodes: Annotated[int, typer.Option(metavar="N", help="Machines.")] = 1,
    strategy: Annotated[
        str,
        typer.Option(metavar="NAME", help="Of several devices: auto or ddp (a copy each), fsdp (weights shared out)."),
    ] = "auto",
    sync_norm: Annotated[
        bool,
        typer.Option("--sync-norm/--local-norm", help="Live batch norms see all devices' images, or their own."),
    ] = True,
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="auto (bf16-mixed where it is fast), 32, bf16-mixed or 16-mixed.")
    ] = "auto",
    workers: options.Workers = None,
    validate_every: Annotated[int, typer.Option(metavar="N", help="Epochs between validations.")] = 1,
    logger: options.Loggers = None,
    log_every: Annotated[int, typer.Option(metavar="N", help="Steps between the points that loggers get.")] = 10,
    save_every: Annotated[
        float, typer.Option(metavar="SECONDS", help="Save a checkpoint this often between validations.")
    ] = 300.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run/--no-dry-run", help="Try the largest batch before the first step.")
    ] = True,
    on_bad_image: options.OnBadImage = "raise",
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Train on your images, judge on held-out ones, write a report."""
    from sightline.cli.telling import progress_for_terminal

    with progress_for_terminal(quiet=quiet) as progress:
        progress.working("starting")
        from sightline.cli.datasets import find_data
        from sightline.cli.session import Start, run_seeds, run_training, show_seeds
        from sightline.data.bad_images import on_bad_image as bad_image_policy
        from sightline.workflow import Splits

        training = replace(
            options.train_options(epochs, minutes, batch, seed, device, precision, workers, recipe),
            devices=devices,
            nodes=nodes,
            strategy=strategy,
            sync_norm=sync_norm,
            resume=resume,
            from_previous=from_previous,
            extend=extend,
            validate_every=validate_every,
            loggers=tuple(logger or ()),
            log_every=log_every,
            save_every=save_every,
            dry_run=dry_run,
        )
        start = Start(model, tuple(assignments or ()), backbone, imgsz, weights, backbone_weights)
        splits = Splits(train_split, val_split, test_split)
        policy = bad_image_policy(on_bad_image)
        what = (start, find_data(data, progress), splits, training, progress)
        if seeds is not None:
            show_seeds(run_seeds(*what, seeds=seeds, out=out, on_bad_image=policy), as_json)
            return
        run_training(*what, out=out, as_json=as_json, on_bad_image=policy)
