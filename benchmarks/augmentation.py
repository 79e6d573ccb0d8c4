"""SSD's augmentation chain against torchvision.transforms.v2's, in images a second on one core.

    python benchmarks/augmentation.py [--rounds 9] [--images 64] [--json]

Both take the same uint8 pictures of 640x480 with some 10 boxes and end with float32 in 0..1 of 300x300. Probabilities
and ranges are the same; ours counts as passed at 4 times the peer's speed.
"""

import argparse
import json
import sys
from collections.abc import Callable

import numpy as np
import torch
from pairing import HEADER, compare, exit_code
from torchvision import tv_tensors
from torchvision.transforms import v2

from sightline.structures import Sample, Target
from sightline.transforms.expand import IMAGENET_GREY
from sightline.transforms.pipeline import apply
from sightline.transforms.presets import ssd_augmentation

TARGET = 4.0


def pictures(count: int) -> list[Sample]:
    """Smooth random pictures of 640x480 with 5 to 15 boxes each."""
    generator = torch.Generator().manual_seed(0)
    samples = []
    for index in range(count):
        coarse = torch.rand((1, 3, 30, 40), generator=generator)
        image = torch.nn.functional.interpolate(coarse, size=(480, 640), mode="bicubic").clamp_(0, 1)
        boxes = torch.rand((5 + index % 11, 4), generator=generator)
        low, extent = boxes[:, :2] * 0.8, 0.04 + boxes[:, 2:] * 0.5
        boxes = torch.cat([low, (low + extent).clamp(max=1.0)], dim=1) * torch.tensor([640.0, 480, 640, 480])
        target = Target(boxes, torch.zeros(len(boxes), dtype=torch.int64), (480, 640))
        samples.append(Sample(image[0].mul(255).to(torch.uint8), target, index))
    return samples


def peer_run(samples: list[Sample]) -> Callable[[], object]:
    """torchvision's chain over all samples."""
    chain = v2.Compose(
        [
            v2.RandomPhotometricDistort(p=0.5),
            v2.RandomZoomOut(fill=list(IMAGENET_GREY)),
            v2.RandomIoUCrop(),
            v2.RandomHorizontalFlip(),
            v2.SanitizeBoundingBoxes(),
            v2.Resize((300, 300), antialias=True),
            v2.ToDtype(torch.float32, scale=True),
        ]
    )
    inputs = []
    for sample in samples:
        boxes = tv_tensors.BoundingBoxes(sample.target.boxes, format="XYXY", canvas_size=sample.target.size)
        inputs.append((tv_tensors.Image(sample.image), {"boxes": boxes, "labels": sample.target.labels}))
    return lambda: [chain(image, target) for image, target in inputs]


def our_run(samples: list[Sample]) -> Callable[[], object]:
    """Our chain over all samples, with the float conversion that the peer's ends with."""
    transforms = ssd_augmentation(300)
    rng = np.random.default_rng(0)

    def run() -> list[torch.Tensor]:
        return [apply(transforms, sample, rng).image.to(torch.float32).div_(255) for sample in samples]

    return run


def main() -> int:
    """Reads the command line, times, prints; gives the exit code, 1 if the target was missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="pairs of passes to time (default 9)")
    parser.add_argument("--images", type=int, default=64, help="images a pass (default 64)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON too")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    samples = pictures(options.images)
    print(HEADER)
    result = compare(
        peer_run(samples), our_run(samples), rounds=options.rounds, target=TARGET, name="SSD augmentation, 640x480"
    )
    rates = {"peer": options.images / result.peer_seconds, "ours": options.images / result.our_seconds}
    print(f"images/s on one core: torchvision v2 {rates['peer']:.0f}, ours {rates['ours']:.0f}")
    if options.json:
        print(json.dumps({**result.to_dict(), "images_per_second": rates}))
    return exit_code([result])


if __name__ == "__main__":
    sys.exit(main())
