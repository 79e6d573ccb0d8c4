"""Trains a tiny system that needs memory in proportion to its batch, with little memory allowed; run by a test."""

import resource
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from tiny_system import TinyRaw, TinySystem, make_samples, negative_error, stage

from sightline.errors import SightlineError
from sightline.recipes import Recipe
from sightline.structures import Detections, ImageBatch, LossTerm, Target
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

AN_IMAGE = 1 << 28
"""Bytes that the loss takes for each image."""


class Hungry(TinySystem):
    """Takes much memory where it is told to: in training, validation or predicting."""

    where = ""

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        self.take("training" if torch.is_grad_enabled() else "validation", batch)
        return super().loss(batch, targets)

    def decode(self, raw: TinyRaw, batch: ImageBatch) -> list[Detections]:
        self.take("predicting", batch)
        return super().decode(raw, batch)

    def take(self, where: str, batch: ImageBatch) -> None:
        if where == self.where:
            torch.ones(len(batch) * AN_IMAGE, dtype=torch.uint8)


def said(out: Path, where: str, batch_size: int, dry_run: bool = False) -> str:
    torch.manual_seed(0)
    system = Hungry()
    system.where = where
    chosen = TrainOptions(device="cpu", workers=0, precision="32", batch_size=batch_size, dry_run=dry_run)
    data = TrainData(make_samples(8), make_samples(4, seed=9))
    try:
        with RunFolder.create(out, resume=False) as run:
            train(
                system, Recipe((stage(epochs=1),)), data, chosen, run,
                evaluate=negative_error, progress=SilentProgress(),
            )  # fmt: skip
    except SightlineError as error:
        return str(error)
    return "finished"


if __name__ == "__main__":
    out = Path(sys.argv[1])
    said(out / "first", "", 2)  # all that is allocated once
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 3 * AN_IMAGE, used + 3 * AN_IMAGE))
    print(said(out / "dry", "training", 4, dry_run=True))
    for where, batch_size in (("training", 4), ("training", 2), ("validation", 4), ("predicting", 1)):
        print(said(out / f"{where}-{batch_size}", where, batch_size))
