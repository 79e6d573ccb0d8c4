"""R-CNN whose features cannot be written to their end: run by test_caching.py as a process without other threads.

``kill``: it is killed at lines of the code that caches features, again and again. ``disk``: on a small file system that
is full just before the features of every n-th image. Each time it goes on, and must come to the bytes of a run that
nothing happened to. Prints counts as JSON.
"""

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import sklearn.svm  # noqa: F401 - here and not in every process anew
import torch
from fill_disk import attempt, ballast
from kill_training import Case, outcome
from kill_writing import EVENTS, in_child, kill_at, killed
from tiny_system import make_samples

from sightline.detectors.rcnn import RCNN, RCNNConfig
from sightline.regions import feature_cache, svm_stages
from sightline.regions.feature_cache import FeatureCache
from sightline.structures import Classes
from sightline.training.checkpoints import has_checkpoint
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

IMAGES = 5
TRACED = {feature_cache.__file__, svm_stages.__file__}


def make_rcnn() -> RCNN:
    torch.manual_seed(0)
    config = RCNNConfig(
        backbone="mobilenet_v3_small",
        norm="frozen",
        short_side=32,
        long_side=32,
        crop_side=32,
        proposer="uniform",
        proposals=20,
        region_samples=4,
        box_cells=1,
    )
    return RCNN(config, Classes(("square",)))


def go(folder: Path) -> None:
    resume = has_checkpoint(folder / "last")
    options = TrainOptions(workers=0, device="cpu", precision="32", epochs=1, dry_run=False, resume=resume)
    system = make_rcnn()
    with RunFolder.create(folder, resume=resume) as run:
        train(
            system,
            system.recipe(),
            TrainData(make_samples(IMAGES), make_samples(1)),
            options,
            run,
            evaluate=lambda system, samples, processes: {"the same": 1.0},
            progress=SilentProgress(),
        )


CASE = Case(lambda folder: None, go)


def compare(folder: Path, expected: dict[str, object], found: Counter[str]) -> None:
    got = outcome(folder)
    for thing in sorted(expected.keys() | got.keys()):
        if expected.get(thing) != got.get(thing) and not thing.startswith("history"):
            found["differences"] += 1
            print(f"{thing} differs", file=sys.stderr)
    found["runs"] += 1
    shutil.rmtree(folder)


def kill(root: Path, trials: int) -> Counter[str]:
    found, rng = Counter[str](differences=0), random.Random(0)
    whole, events = root / "whole", root / "events"

    def count() -> None:
        kill_at(None, TRACED)
        go(whole)
        sys.settrace(None)
        events.write_text(str(EVENTS[0]))

    assert not killed(in_child(count))
    expected, most = outcome(whole), int(events.read_text())
    for _ in range(trials):
        folder = root / "run"
        for number in (rng.randint(1, most), rng.randint(1, most // 2)):

            def cut(number: int = number, folder: Path = folder) -> None:
                kill_at(number, TRACED)
                go(folder)

            found["kills"] += killed(in_child(cut))
        assert not killed(in_child(lambda folder=folder: go(folder)))
        compare(folder, expected, found)
    return found


def disk(root: Path, every: int) -> Counter[str]:
    found = Counter[str](differences=0)
    assert attempt(CASE, root / "whole", lambda: None) is None
    expected = outcome(root / "whole")
    shutil.rmtree(root / "whole")
    for number in range(1, IMAGES + 1, every):
        folder = root / "run"

        def first(number: int = number) -> None:
            append: Callable[..., None] = FeatureCache.append
            done = [0]

            def fill(cache: FeatureCache, *features: object) -> None:
                done[0] += 1
                if done[0] == number:
                    ballast(root, 0)
                append(cache, *features)

            FeatureCache.append = fill  # type: ignore[method-assign,assignment]

        error = attempt(CASE, folder, first)
        (root / "ballast").unlink()
        assert error is not None
        place, _, rest = error.partition(": ")
        assert Path(place).parent.name == "features" and "--resume" in rest and "\n" not in error, error
        found["full"] += 1
        assert len(list((folder / "features").iterdir())) == 4
        assert attempt(CASE, folder, lambda: None) is None
        compare(folder, expected, found)
    return found


if __name__ == "__main__":
    torch.set_num_threads(1)
    where = Path(sys.argv[2])
    print(json.dumps({"disk": disk, "kill": kill}[sys.argv[1]](where, int(sys.argv[3]))))
