"""What it saves to take the regions of a mini-batch from few images: N images with R/N regions each (Girshick 2015).

    python benchmarks/hierarchical_sampling.py [--rounds 5] [--images 2] [--regions 128] [--backbone NAME] [--json]

A training step of Fast R-CNN on R regions. "Peer" draws each region from an image of its own, as R-CNN and SPP-net do,
and so passes R images through the trunk, N at a time; ours draws R/N of each of N images. The paper's R = 128, N = 2
make that roughly 64 times as fast (section 2.3), less what the head costs, which is the same for both. Counts as passed
from half of R/N on.
"""

import argparse
import json
import sys

import torch
from pairing import HEADER, compare, exit_code

from sightline.detectors.fast_rcnn import FastRCNN
from sightline.structures import ImageBatch, Target
from sightline.zoo import create

SIZE = (320, 416)
SHARE = 0.5
"""Of R/N, at which the saving counts as seen."""


def build(backbone: str, samples: int) -> FastRCNN:
    """A detector that learns from so many regions an image."""
    settings = {"backbone": backbone, "proposer": "sliding_window", "proposals": 500, "region_samples": samples}
    system = create("fast_rcnn", classes=["one", "two", "three"], settings=settings, seed=0)
    assert isinstance(system, FastRCNN)
    return system.to(memory_format=torch.channels_last).train()


def images(system: FastRCNN, count: int) -> tuple[ImageBatch, list[Target]]:
    """Noisy pictures with eight boxes each, prepared, with the proposals of a sliding window."""
    generator = torch.Generator().manual_seed(0)
    pictures = [torch.randint(0, 255, (3, *SIZE), dtype=torch.uint8, generator=generator) for _ in range(count)]
    corners = torch.rand((count, 8, 2), generator=generator) * 200
    boxes = torch.cat([corners, corners + 20 + torch.rand((count, 8, 2), generator=generator) * 90], dim=2)
    targets = [system.preparation.target(Target(each, torch.arange(8) % 3, SIZE)) for each in boxes]
    return system.prepare(pictures), targets


def step(system: FastRCNN, batch: ImageBatch, targets: list[Target], parts: int) -> None:
    """The gradient of a mini-batch in parts of one size."""
    system.zero_grad(set_to_none=True)
    for _ in range(parts):
        total = sum(term.value for term in system.loss(batch, targets).values())
        (total / parts).backward()


def main() -> int:
    """Times both and says whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--regions", type=int, default=128)
    parser.add_argument("--backbone", default="mobilenet_v2")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    count, regions = arguments.images, arguments.regions
    print(HEADER, file=sys.stderr if arguments.json else sys.stdout)
    many, one = build(arguments.backbone, regions // count), build(arguments.backbone, 1)
    batch, targets = images(many, count)
    result = compare(
        lambda: step(one, batch, targets, regions // count),
        lambda: step(many, batch, targets, 1),
        rounds=arguments.rounds,
        target=SHARE * regions / count,
        name=f"{regions} regions of {count} images, R/N = {regions // count}",
    )
    if arguments.json:
        print(json.dumps([result.to_dict()], indent=2))
    return exit_code([result])


if __name__ == "__main__":
    sys.exit(main())
