"""Trains the tiny system; run by torchrun in test_distributed.py."""

import sys

from tiny_system import make_samples, make_system, negative_error, stage

from sightline.contract import Optimiser, Recipe
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

if __name__ == "__main__":
    out, resume = sys.argv[1], "--resume" in sys.argv
    system = make_system(draws=False)
    system.norm.eval().requires_grad_(False)
    system.norm.train = lambda mode=True: system.norm
    options = TrainOptions(
        device="cpu", devices=2, strategy="ddp", workers=0, precision="32", batch_size=4, resume=resume
    )
    data = TrainData(make_samples(12), make_samples(4, seed=9))
    with RunFolder.create(out, resume=resume) as run:
        result = train(
            system,
            Recipe((stage(epochs=2, optimiser=Optimiser(lr=0.001)),)),
            data,
            options,
            run,
            evaluate=negative_error,
            progress=SilentProgress(),
        )
    assert result.finished
