"""Images a second that reach the training step: Sightline's loading against torchvision's ``CocoDetection``.

Both read the same COCO file with the same batch size and 2 worker processes, and decode, flip and resize to 320 x 320,
as floats, normalised. The peer is ``CocoDetection`` wrapped for the v2 transforms, boxes and labels only. It is run
against two of ours: the same v2 transforms on samples of our data set, and our own flip and preparation.

    python benchmarks/loading.py [--data FILE.json] [--rounds 5]
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from pairing import HEADER, compare
from torch.utils.data import DataLoader, Dataset
from torchvision import tv_tensors
from torchvision.datasets import CocoDetection, wrap_dataset_for_transforms_v2
from torchvision.transforms import v2

from sightline.data.dataset import Dataset as Annotated
from sightline.data.dataset import open_dataset
from sightline.data.scenes.config import ScenesConfig
from sightline.data.scenes.scenes import write_scenes
from sightline.training.loader import Loading, Sampling
from sightline.transforms.preparation import IMAGENET_MEAN, IMAGENET_STD, Preparation
from sightline.transforms.presets import flip_augmentation
from sightline.transforms.resize import Resize

SIDE, BATCH, WORKERS, EPOCHS, TARGET = 320, 8, 2, 3, 1.5


def v2_transforms() -> v2.Compose:
    """Flip, resize, to float, normalise."""
    return v2.Compose(
        [
            v2.ToImage(),
            v2.RandomHorizontalFlip(),
            v2.Resize((SIDE, SIDE), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(IMAGENET_MEAN, IMAGENET_STD),
        ]
    )


class WithV2(Dataset[Any]):
    """Our samples as tv_tensors, through the peer's transforms."""

    def __init__(self, samples: Annotated) -> None:
        self._samples, self._transforms = samples, v2_transforms()

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> Any:
        sample = self._samples[index]
        size = sample.target.size
        boxes = tv_tensors.BoundingBoxes(sample.target.boxes, format="XYXY", canvas_size=size)
        truth = {"boxes": boxes, "labels": sample.target.labels, "image_id": sample.image_id}
        return self._transforms(tv_tensors.Image(sample.image), truth)


def collated(samples: list[Any]) -> tuple[torch.Tensor, list[Any]]:
    """One tensor of images, and the targets."""
    return torch.stack([image for image, _ in samples]), [target for _, target in samples]


def batches(data: Dataset[Any]) -> Iterator[Any]:
    """One epoch."""
    return iter(DataLoader(data, BATCH, shuffle=True, num_workers=WORKERS, collate_fn=collated))


def peer(path: Path, root: Path) -> Dataset[Any]:
    """torchvision's data set."""
    plain = CocoDetection(root, path, transforms=v2_transforms())
    return wrap_dataset_for_transforms_v2(plain, target_keys=("boxes", "labels", "image_id"))


def epoch_of(data: Dataset[Any]) -> None:
    """Goes through all batches, EPOCHS times."""
    for _ in range(EPOCHS):
        for _ in batches(data):
            pass


def own_epoch(data: Annotated) -> None:
    """The same through our own loading, which never ends: as many steps as an epoch has."""
    steps = EPOCHS * len(data) // BATCH
    loading = Loading(data, Preparation(SIDE, SIDE), WORKERS)
    augmentation = (*flip_augmentation(), Resize((SIDE, SIDE)))
    stream = loading.training_batches(augmentation, Sampling(0, len(data), BATCH), 0)
    for _ in range(steps):
        next(stream)
    stream.close()


def main() -> int:
    """Prints a table; 1 where the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="a COCO file; default: 400 made pictures of 480 x 640")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        path = options.data
        if path is None:
            write_scenes(ScenesConfig(images=400, val=1, test=1, size=(480, 640)), Path(folder) / "set", workers=2)
            path = Path(folder) / "set" / "annotations" / "instances_train.json"
        data = open_dataset(path)
        theirs = peer(path, data.records.table.image_root)
        same = WithV2(data)
        print(f"{len(data)} images an epoch\n{HEADER}")
        results = [
            compare(lambda: epoch_of(theirs), ours, rounds=options.rounds, target=TARGET, name=name)
            for name, ours in (
                ("the same v2 transforms", lambda: epoch_of(same)),
                ("our own flip and resize", lambda: own_epoch(data)),
            )
        ]
    return int(not all(result.passed for result in results))


if __name__ == "__main__":
    sys.exit(main())
