"""``sightline data make``: a made set of pictures with boxes, masks and keypoints."""

from pathlib import Path
from typing import Annotated

import typer

from sightline.cli import options
from sightline.cli.output import counter, show_json

_Knob = Annotated[float | None, typer.Option(metavar="0..1", help="Default: as the difficulty.")]


def make_command(
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Where to; a folder that does not exist.")],
    images: Annotated[int, typer.Option(metavar="N", help="Pictures of the training split.")] = 1200,
    val: Annotated[int, typer.Option(metavar="N", help="Pictures of the validation split.")] = 200,
    test: Annotated[int, typer.Option(metavar="N", help="Pictures of the test split.")] = 200,
    size: Annotated[tuple[int, int], typer.Option(metavar="H W", help="Of every picture, in pixels.")] = (192, 256),
    objects: Annotated[tuple[int, int], typer.Option(metavar="FEW MANY", help="Objects of a picture.")] = (1, 6),
    scale: Annotated[
        tuple[float, float],
        typer.Option(metavar="SMALL LARGE", help="Long side of an object over the picture's short side."),
    ] = (0.04, 0.60),
    difficulty: Annotated[
        float, typer.Option(metavar="0..1", help="What the five knobs below follow unless they are set.")
    ] = 0.5,
    occlusion: _Knob = None,
    clutter: _Knob = None,
    texture: _Knob = None,
    shading: _Knob = None,
    noise: _Knob = None,
    seed: options.Seed = 0,
    workers: options.Workers = None,
    as_json: options.Json = False,
) -> None:
    """Make a Scenes set: procedural pictures of 12 classes with boxes, masks and keypoints, as a COCO folder."""
    from sightline.data.scenes.config import ScenesConfig
    from sightline.data.scenes.scenes import write_scenes
    from sightline.runtime import usable_cores

    config = ScenesConfig(
        images=images,
        val=val,
        test=test,
        size=size,
        objects=objects,
        scale=scale,
        difficulty=difficulty,
        occlusion=occlusion,
        clutter=clutter,
        texture=texture,
        shading=shading,
        noise=noise,
        seed=seed,
    )
    cores = usable_cores() if workers is None else workers
    with counter("making pictures") as progress:
        write_scenes(config, out, workers=cores, progress=progress)
    counts = {split: config.count(split) for split in ("train", "val", "test")}
    if as_json:
        show_json({"folder": str(out), "images": counts})
    else:
        print(f"{out}: {', '.join(f'{count} {split}' for split, count in counts.items())} pictures")
