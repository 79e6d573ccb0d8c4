"""Trains with shared out weights in two processes; run by torchrun in test_fsdp.py, which says what must come of it."""

import os
import signal
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from distributed_checks import SHAPES, Noting, make_detector, make_scenes
from lightning_fabric import Fabric
from safetensors.torch import save_file
from tiny_system import TinySystem, make_samples, make_system, negative_error, stage
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.errors import SightlineError
from sightline.layers.sync_norm import synchronised_norms
from sightline.processes import Processes
from sightline.recipes import Optimiser, ParameterGroup, Recipe
from sightline.structures import ImageBatch, LossTerm, Sample, Target
from sightline.training.devices import start_fabric
from sightline.training.job import TrainData
from sightline.training.loader import Loading, Sampling
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train
from sightline.training.sharding import Shards, whole_of
from sightline.training.steps import LossOf, Stepper

CLIPPED = {"tiny": 0.5, "parts": 0.5, "detector": None}
"""Clipping by norm. The detector's second step turns on a single zero crossing if it is clipped, with ddp as well."""


class Stopping(TinySystem):
    """Asks for the end of the run in a step, or has a gradient without a number in the second process's shard."""

    stop_at = bad_at = -1
    seen = 0

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        losses = super().loss(batch, targets)
        self.seen += self.training
        if self.training and self.seen == self.stop_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if self.training and self.seen == self.bad_at:
            trouble = (self.head.weight[1] * 0).abs().sqrt().sum()
            losses["x"] = LossTerm(losses["x"].total + trouble, losses["x"].count)
        return losses


def options(devices: int, *, resume: bool = False) -> TrainOptions:
    return TrainOptions(
        device="cpu",
        devices=devices,
        strategy="auto" if devices == 1 else "fsdp",
        workers=0,
        precision="32",
        batch_size=5,
        resume=resume,
        save_every=0,
        dry_run=False,
    )


def run(out: Path, devices: int, kind: str, *, resume: bool = False, **fate: int) -> str:
    """A run of five steps with a frozen norm; gives how it ended, as the error that ended it."""
    system = make_system(draws=False)
    system.__class__ = Stopping
    for name, step in fate.items():
        setattr(system, name, step)
    optimiser = Optimiser(kind=kind, lr=0.001)  # type: ignore[arg-type]
    frozen = (ParameterGroup(r"^norm", 0.0),)
    recipe = Recipe((stage(epochs=2, optimiser=optimiser, clip_norm=1.0, groups=frozen),))
    data = TrainData(make_samples(13), make_samples(5, seed=9))
    try:
        with RunFolder.create(out, resume=resume) as folder:
            train(
                system,
                recipe,
                data,
                options(devices, resume=resume),
                folder,
                evaluate=negative_error,
                progress=SilentProgress(),
            )
    except SightlineError as error:
        return str(error)
    return ""


def steps_of(fabric: Fabric, name: str, system: NeuralSystem, samples: list[Sample]) -> dict[str, Tensor]:
    """Gradients, losses, weights and running statistics of two steps of seven images."""
    processes = Processes(fabric.global_rank, fabric.world_size)
    found: dict[str, Tensor] = {}
    described = stage(batch_size=7, clip_norm=CLIPPED[name], accumulate=2 if name == "parts" else 1)
    system.train()
    with synchronised_norms(system) if name != "parts" else torch.enable_grad():
        shards, learning, module = None, system, None
        if processes.count > 1:
            shards = Shards(fabric, system, partial(LossOf, method="loss"))
            learning, module = shards.system, shards.module
            found |= _held(learning, processes)
        optimiser = Noting([p for p in learning.parameters() if p.requires_grad], lr=0.01, momentum=0.9)
        stepper = Stepper(fabric, described, learning, optimiser, None, module)
        sampling = Sampling(3, len(samples), 7, described.accumulate, processes.rank, processes.count)
        batches = Loading(samples, system.preparation, 0).training_batches((), sampling, 0)
        names = [name for name, p in learning.named_parameters() if p.requires_grad]
        for number in range(2):
            losses = stepper.step(next(batches), 3, number)
            noted = zip(names, optimiser.noted, strict=True)
            found |= {f"{number} gradient {name}": whole_of(gradient) for name, gradient in noted}
            found |= {f"{number} loss {name}": torch.tensor(value) for name, value in losses.items()}
        if shards is not None:
            shards.gather()
    return found | {f"weights {name}": value.clone().float() for name, value in system.state_dict().items()}


def _held(learning: NeuralSystem, processes: Processes) -> dict[str, Tensor]:
    """How many numbers each process holds, and how many there are."""
    held = processes.gathered(sum(p.to_local().numel() for p in learning.parameters()))
    return {"held": torch.tensor([*held, sum(p.numel() for p in learning.parameters())])}


def steps(fabric: Fabric) -> dict[str, dict[str, Tensor]]:
    """Of the tiny system, of a batch in parts without live norms, and of Faster R-CNN."""
    tiny, parts = make_system(draws=False), make_system(draws=False)
    parts.norm.__class__ = FixedNorm
    return {
        "tiny": steps_of(fabric, "tiny", tiny, make_samples(13)),
        "parts": steps_of(fabric, "parts", parts, make_samples(13)),
        "detector": steps_of(fabric, "detector", make_detector(), make_scenes(SHAPES)),
    }


class FixedNorm(torch.nn.BatchNorm2d):
    """Uses its running statistics, so that parts of a batch do not see each other."""

    def train(self, mode: bool = True) -> "FixedNorm":
        return super().train(False)


def main() -> None:
    torch.set_num_threads(1)
    out = Path(sys.argv[1])
    fabric, *_ = start_fabric(options(2))
    for name, found in steps(fabric).items():
        if fabric.is_global_zero:
            save_file({key: value.contiguous() for key, value in found.items()}, out / name)
    run(out / "sgd", 2, "sgd")
    run(out / "whole", 2, "adamw")
    run(out / "resumed", 2, "adamw", stop_at=3)
    run(out / "resumed", 2, "adamw", resume=True)
    told = run(out / "bad", 2, "adamw", bad_at=4)
    (out / f"told-{fabric.global_rank}").write_text(told, encoding="utf-8")


if __name__ == "__main__":
    main()
