"""``sightline proposals``: what proposers of regions propose, on photos or judged on labelled images."""

from typing import Annotated

import typer

from sightline.cli import options
from sightline.cli.output import show_findings
from sightline.errors import ConfigError

USUAL_COUNT, USUAL_DRAWN = 1000, 30


def proposals_command(
    photos: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PHOTOS",
            help="Instead of --data: files, folders or patterns like 'p/*.jpg' whose proposals are drawn, not judged.",
            show_default=False,
        ),
    ] = None,
    data: options.OptionalData = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of --data: the split to judge by. Default: val.")
    ] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME,NAME,...",
            help="selective_search, selective_search_quality, sliding_window, anchors, uniform, gaussian, "
            "superpixels, rpn, or all; may be repeated. Default: selective_search.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Of --method rpn: a model file or run folder of a Faster or Mask R-CNN, or 'coco'.",
        ),
    ] = None,
    count: Annotated[int, typer.Option(metavar="N", help="Proposals asked for an image.")] = USUAL_COUNT,
    images: Annotated[
        int | None, typer.Option(metavar="N", help="Of --data: only so many images, evenly spread. Default: all.")
    ] = None,
    draw: Annotated[
        int,
        typer.Option(
            metavar="N",
            help="Proposals that are drawn on a picture: the first ones; methods that make any number and rank nothing "
            "(sliding_window, anchors, uniform, gaussian) are asked anew for so many.",
        ),
    ] = USUAL_DRAWN,
    repeatability: Annotated[
        bool,
        typer.Option(
            "--repeatability",
            help="Of --data: also whether the same boxes are found after 34 small changes of each image, for which "
            "each method looks at it 36 times more.",
        ),
    ] = False,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL", help="Of --data: a trained Fast R-CNN or its kin; its AP on each method's proposals."
        ),
    ] = None,
    device: options.Device = "auto",
    out: options.Out = None,
    on_bad_image: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="What to do with images that cannot be read: raise (end at the first), skip, or salvage what is left. "
            "Default: raise with --data, skip with photos.",
        ),
    ] = None,
    list_all: Annotated[
        bool, typer.Option("--list", help="Show every method, what it proposes and its source, and propose nothing.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Propose regions that may hold objects: draw them on photos, or judge methods side by side on labelled images.

    Written are proposals.json and pictures; with --data also metrics.json and report.html with recall against IoU and
    against count, average recall, time, and repeatability (Hosang et al. 2016).
    """
    if list_all:
        from sightline.cli.proposal_runs import list_methods

        other = (photos, data, split, method, model, images, repeatability, detector, out, on_bad_image)
        if any(other) or (count, draw, device) != (USUAL_COUNT, USUAL_DRAWN, "auto"):
            raise ConfigError("--list only lists", cure="leave out the rest, or leave out --list")
        list_methods(as_json)
        return
    _require_sense(photos, data, count, images, draw)
    if data is None:
        only_data = {"--split": split, "--images": images, "--detector": detector}
        only_data["--repeatability"] = True if repeatability else None
        for name, value in only_data.items():
            if value is not None:
                raise ConfigError(f"{name} has no meaning without --data", cure=f"leave out {name}, or give --data")
    if device != "auto" and model is None and detector is None:
        raise ConfigError(
            "--device has no meaning without a network", cure="leave out --device, or give --model or --detector"
        )
    from sightline.cli.proposal_runs import Wanted, draw_photos, judge_methods, make_proposers, open_images
    from sightline.workflow import RUNS, new_folder, next_folder

    proposers = make_proposers(method, model, device)
    wanted = Wanted(proposers, count, draw, repeatability, device)
    place = next_folder(RUNS / "proposals", numbered=True) if out is None else out
    if data is None:
        draw_photos(wanted, photos or [], place, on_bad_image or "skip", as_json)
        return
    opened, system = open_images(data, split, images, detector, on_bad_image or "raise")
    show_findings(opened.findings, opened.split)
    with new_folder(place) as folder:
        judged = judge_methods(wanted, opened, system, detector or "")
        judged.write(folder)
    judged.show(folder, as_json)


def _require_sense(photos: list[str] | None, data: str | None, count: int, images: int | None, draw: int) -> None:
    if bool(photos) == (data is not None):
        raise ConfigError(
            "photos and --data are both given" if photos else "neither photos nor --data are given",
            cure="name PHOTOS to draw proposals on them, or --data to judge proposals on labelled images",
        )
    for name, value in (("--count", count), ("--images", images), ("--draw", draw)):
        if value is not None and value < 1:
            raise ConfigError(f"{name} {value} makes no sense", cure=f"give {name} at least 1")
