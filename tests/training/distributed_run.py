"""Trains the tiny system in as many processes as it is told; run by the tests of distributed runs.

distributed_run.py FOLDER DEVICES NODES [--resume] [--epochs=2] [die|hang|pause|fail|data=RANK@STEP]
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Sequence

from tiny_system import TinySystem, make_samples, make_system, negative_error, stage

from sightline.errors import DataError, SightlineError
from sightline.recipes import Optimiser, Recipe
from sightline.structures import ImageBatch, LossTerm, Target
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

SAMPLES, VALIDATION, BATCH = 13, 5, 5


def recipe(epochs: float) -> Recipe:
    """What every run of these tests learns by."""
    return Recipe((stage(epochs=epochs, optimiser=Optimiser(lr=0.001)),))


class Fated(TinySystem):
    """Something happens to one process at one of its steps."""

    fate, rank, step, seen = "", -1, -1, 0

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        if self.training:
            self.seen += 1
            here = int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")))
            if self.seen == self.step and here == self.rank:
                self.meet_fate()
        return super().loss(batch, targets)

    def meet_fate(self) -> None:
        print(f"fate {time.time()}", file=sys.stderr, flush=True)
        if self.fate == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.fate == "hang":
            # A machine that is gone says nothing and closes no connection.
            os.kill(os.getpid(), signal.SIGSTOP)
        elif self.fate == "pause":
            time.sleep(5)
        elif self.fate == "data":
            raise DataError("is cut off", place="photos/bad.jpg", cure="run `sightline data check`")
        elif self.fate == "fail":
            raise ZeroDivisionError("a mistake in a system")


def main() -> int:
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    flags = dict(word[2:].partition("=")[::2] for word in sys.argv[1:] if word.startswith("--"))
    out, devices, nodes, *fates = words
    system = make_system(draws=False)
    system.__class__ = Fated
    for fate in fates:
        system.fate, _, where = fate.partition("=")
        system.rank, system.step = (int(number) for number in where.split("@"))
    options = TrainOptions(
        device="cpu",
        devices=int(devices),
        nodes=int(nodes),
        workers=0,
        precision="32",
        batch_size=BATCH,
        resume="resume" in flags,
        save_every=0,
        dry_run=False,
    )
    data = TrainData(make_samples(SAMPLES), make_samples(VALIDATION, seed=9))
    epochs = float(flags.get("epochs", "2"))
    try:
        with RunFolder.create(out, resume=options.resume) as run:
            train(system, recipe(epochs), data, options, run, evaluate=negative_error, progress=SilentProgress())
    except SightlineError as error:
        print(f"ended {time.time()} {threading.active_count()} {type(error).__name__}: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
