"""``sightline demo``: the whole way, from no data to a report, in a few minutes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import typer

from sightline.cli import options


@dataclass(frozen=True)
class DemoSettings:
    """What the demo does.

    Args:
        model: name in the catalogue.
        settings: of the model: small enough to learn from random weights on two cores.
        scenes: of the set that is made: what differs from ``ScenesConfig``'s defaults.
        minutes: wall time of the training.
        batch_size: images a step sees.
    """

    model: str = "faster_rcnn"
    settings: Mapping[str, object] = field(
        default_factory=lambda: MappingProxyType(
            {
                "backbone": "resnet18",
                "channels": 64,
                "head_width": 512,
                "short_side": 192,
                "anchor_scale": 5.0,
                "proposals_before_nms": 100,
                "proposals": 100,
                "region_samples": 64,
            }
        )
    )
    scenes: Mapping[str, object] = field(
        default_factory=lambda: MappingProxyType(
            {"images": 3000, "val": 200, "test": 0, "difficulty": 0.3, "objects": (3, 8)}
        )
    )
    minutes: float = 4.0
    batch_size: int = 8


SETTINGS = DemoSettings()


def demo_command(
    out: Annotated[
        Path | None, typer.Option("--out", metavar="DIR", help="Where to. Default: the next free runs/demo.")
    ] = None,
    minutes: Annotated[float, typer.Option(metavar="N", help="Wall time of the training.")] = SETTINGS.minutes,
    images: Annotated[int | None, typer.Option(metavar="N", help="Pictures to train on.")] = None,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    workers: options.Workers = None,
    quiet: options.Quiet = False,
    as_json: options.Json = False,
) -> None:
    """Make pictures, train on them, judge, write a report."""
    from sightline.cli.telling import progress_for_terminal

    with progress_for_terminal(quiet=quiet) as progress:
        progress.working("starting")
        from sightline.cli.session import Start, run_training
        from sightline.config import parse_settings
        from sightline.data.scenes.config import ScenesConfig
        from sightline.data.scenes.scenes import write_scenes
        from sightline.runtime import usable_cores
        from sightline.training.devices import choose_accelerator
        from sightline.training.options import TrainOptions
        from sightline.workflow import RUNS, Splits, next_folder, require_free

        folder = next_folder(RUNS / "demo") if out is None else out
        require_free(folder)
        changes: dict[str, object] = {"seed": seed} if images is None else {"seed": seed, "images": images}
        scenes = parse_settings(ScenesConfig, {**SETTINGS.scenes, **changes})
        options_of_run = TrainOptions(
            minutes=minutes, batch_size=SETTINGS.batch_size, seed=seed, device=device, workers=workers
        )
        choose_accelerator(options_of_run)  # a device that is not there shows before minutes are spent on pictures
        cores = usable_cores() if workers is None else workers
        start = Start(SETTINGS.model, fixed=SETTINGS.settings)
        write_scenes(scenes, folder / "scenes", workers=cores, progress=partial(progress.working, "making pictures"))
        run_training(start, folder / "scenes", Splits(), options_of_run, progress, out=folder / "run", as_json=as_json)
