"""``sightline evaluate``: how good a trained model is on a split."""

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sightline.cli import combining, options
from sightline.cli.output import counter, show_findings, show_json
from sightline.errors import ConfigError

if TYPE_CHECKING:
    from sightline.cli.against import Rival
    from sightline.data.dataset import Dataset
    from sightline.evaluation.bootstrap import Comparison
    from sightline.evaluation.evaluation import Evaluation


def evaluate_command(
    data: options.Data,
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODEL]",
            help="A model file (.safetensors), a run folder, or 'coco': torchvision's Faster R-CNN as trained on COCO.",
            show_default=False,
        ),
    ] = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Instead of a model: results of any detector as COCO's JSON list; the pictures need not be there.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The split to judge by; val chose the weights of a training run, test did not. Default: val, or the "
            "one of an annotation file.",
        ),
    ] = None,
    protocol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="coco, voc07, voc12 or all; may be repeated. Default: coco."),
    ] = None,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of --predictions: boxes, masks or keypoints. Default: the first of these that the file holds.",
        ),
    ] = None,
    sigmas: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,...",
            help="Of keypoints in --predictions: the spread of each, or one for all. Default: COCO's 17, else 0.05.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="OTHER",
            help="Compare with another model file, run folder or results file (.json) on the same images: the "
            "difference of AP with a 95% interval, by paired bootstrap over images.",
        ),
    ] = None,
    resamples: Annotated[
        int | None, typer.Option(metavar="N", help="Of --against: how often images are drawn. Default: 1000.")
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of --against: of the drawing. Default: 0.")] = None,
    imgsz: options.ImageSize = None,
    multi_scale: combining.MultiScaleOption = None,
    flip: combining.Flip = False,
    ensemble: combining.EnsembleOption = None,
    member_weights: combining.MemberWeights = None,
    fusion: combining.FusionOption = None,
    batch: options.Batch = None,
    device: options.Device = "auto",
    precision: options.Precision = "fp32",
    workers: options.Workers = None,
    out: options.Out = None,
    on_bad_image: options.OnBadImage = "raise",
    as_json: options.Json = False,
) -> None:
    """Judge a trained model, or results of any detector, on labelled images, as COCO and Pascal VOC do."""
    if against is None:
        _refuse({"--resamples": resamples, "--seed": seed}, "one model alone")
    rival = _rival(against, resamples, seed, imgsz, batch, workers, device, precision)
    combined = combining.Combining(multi_scale, flip, tuple(ensemble or ()), member_weights, fusion, imgsz)
    if predictions is not None:
        from sightline.cli.evaluate_results import Rules, evaluate_results

        _refuse({"MODEL": model, **combined.typed()}, "--predictions")
        _refuse({"--on-bad-image": on_bad_image if on_bad_image != "raise" else None}, "--predictions")
        if rival is None or rival.is_results:
            _refuse({"--imgsz": imgsz, "--batch": batch, "--workers": workers}, "--predictions")
            usual = {"--device": (device, "auto"), "--precision": (precision, "fp32")}
            _refuse(
                {name: value if value != default else None for name, (value, default) in usual.items()},
                "--predictions",
            )
        rules = Rules(task, sigmas, protocol)
        evaluate_results(predictions, data, split, rules=rules, rival=rival, out=out, as_json=as_json)
        return
    if model is None:
        raise ConfigError("what is to be judged is not said", cure="give a MODEL, or results with --predictions")
    _refuse({"--task": task, "--sigmas": sigmas}, "a MODEL, which says by itself what it finds")
    from sightline.cli.datasets import find_data
    from sightline.cli.opening import calibration_of, describe_model
    from sightline.cli.session import show_judgement
    from sightline.data.bad_images import on_bad_image as bad_image_policy
    from sightline.data.dataset import open_dataset
    from sightline.data.screening import screened
    from sightline.evaluation.protocols import choose_protocols
    from sightline.judging import judge, write_judgement
    from sightline.workflow import new_folder

    chosen = choose_protocols(protocol)
    system = combined.system(model)
    if rival is not None:
        from sightline.cli.against import require_usable

        require_usable(rival, system.classes)
    opened = open_dataset(find_data(data), split or "val", classes=system.classes)
    options.require_split(split, opened.split, data)
    with counter("looking at images") as looked:
        opened = screened(opened, bad_image_policy(on_bad_image), looked)
    show_findings(opened.findings, opened.split)
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
        judgement = replace(
            judgement,
            evaluation=replace(judgement.evaluation, protocols=chosen),
            combination=combined.described(model, system),
            # A temperature is of one look of one model; what is fused of several has none.
            calibration=None if combined.combines else calibration_of(model),
            comparison=None if rival is None else _comparison(judgement.evaluation, model, rival, opened),
        )
        if folder is not None:
            config = {**describe_model(model, system), **combined.settings()}
            write_judgement(folder, judgement, title=f"{system.name} on {opened.name}", config=config)
    if as_json:
        show_json({**judgement.to_dict(), "out": None if out is None else str(out)})
        return
    show_judgement(judgement)
    if out is not None:
        print(f"written to {out}; open {out / 'report.html'}")


def _rival(
    against: str | None,
    resamples: int | None,
    seed: int | None,
    imgsz: int | None,
    batch: int | None,
    workers: int | None,
    device: str,
    precision: str,
) -> "Rival | None":
    if against is None:
        return None
    from sightline.cli.against import Rival

    return Rival(
        against,
        resamples,
        seed,
        imgsz,
        4 if batch is None else batch,
        1 if workers is None else workers,
        device,
        precision,
    )


def _comparison(evaluation: "Evaluation", name: str, rival: "Rival", images: "Dataset") -> "Comparison":
    from sightline.cli.against import compared, found_by_model, found_in_results, split_of

    if rival.is_results:
        found = found_in_results(rival, split_of(evaluation, images))
    else:
        found = found_by_model(rival, images, evaluation)
    return compared(evaluation, name, rival, found)


def _refuse(given: Mapping[str, object], other: str) -> None:
    for name, value in given.items():
        if value is not None:
            raise ConfigError(f"{name} has no meaning with {other}", cure=f"leave out {name}")
