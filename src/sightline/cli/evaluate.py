"""``sightline evaluate``: how good a trained model is on a split."""

from contextlib import nullcontext
from typing import Annotated

import typer

from sightline.cli import options
from sightline.cli.output import counter, show_findings, show_json


def evaluate_command(
    model: options.ModelFile,
    data: options.Data,
    split: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="The split to judge by; val chose the weights of a training run, test did not."
        ),
    ] = "val",
    imgsz: options.ImageSize = None,
    batch: options.Batch = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    workers: options.Workers = None,
    out: options.Out = None,
    on_bad_image: options.OnBadImage = "raise",
    as_json: options.Json = False,
) -> None:
    """Judge a trained model on labelled images, as COCO does."""
    from sightline.cli.datasets import find_data
    from sightline.cli.opening import describe_model, open_model
    from sightline.cli.session import show_judgement
    from sightline.data.bad_images import on_bad_image as bad_image_policy
    from sightline.data.dataset import open_dataset
    from sightline.data.screening import screened
    from sightline.judging import judge, write_judgement
    from sightline.workflow import new_folder, resized

    system = resized(open_model(model), imgsz)
    opened = open_dataset(find_data(data), split, classes=system.classes)
    with counter("looking at images") as looked:
        opened = screened(opened, bad_image_policy(on_bad_image), looked)
    show_findings(opened.findings, split)
    with nullcontext() if out is None else new_folder(out) as folder:
        with counter("judging") as progress:
            judgement = judge(
                system,
                opened,
                device=device,
                precision=precision,  # type: ignore[arg-type]  # judge checks it
                batch_size=4 if batch is None else batch,
                workers=1 if workers is None else workers,
                progress=progress,
            )
        if folder is not None:
            config = describe_model(model, system)
            write_judgement(folder, judgement, title=f"{system.name} on {opened.name}", config=config)
    if as_json:
        show_json({**judgement.to_dict(), "out": None if out is None else str(out)})
        return
    show_judgement(judgement)
    if out is not None:
        print(f"written to {out}")
