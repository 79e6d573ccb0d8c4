"""What looking at every gradient costs: training steps with the check against the same steps without it.

    python benchmarks/gradient_check.py [--rounds 10] [--precision bf16-mixed] [--json]

Faster R-CNN on MobileNet v2, two images of 320 x 416, AdamW. "Peer" looks at the losses alone, as a step did before;
ours takes the norm of the whole gradient too. Counts as passed where a step is at most 3% longer.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence

import torch
from lightning_fabric import Fabric
from pairing import HEADER, compare, exit_code

from sightline.recipes import GradientStage, Optimiser
from sightline.structures import Target
from sightline.training.loader import TrainBatch
from sightline.training.optimisers import build_optimiser
from sightline.training.steps import NotFiniteError, Stepper
from sightline.zoo import create

TARGET = 0.97


class LossesAlone(Stepper):
    """A step that looks at the losses and not at the gradient."""

    def _require_finite(self, by_part: Sequence[dict[str, float]], values: Mapping[str, float]) -> None:
        if any(value - value != 0 for value in values.values()):
            raise NotFiniteError("a loss is not finite", by_part)


def stepper(kind: type[Stepper], precision: str) -> Stepper:
    """Steps of a system of its own, so that neither warms the other's weights."""
    system = create("faster_rcnn", classes=["one", "two", "three"], settings={"backbone": "mobilenet_v2"}, seed=0)
    system.to(memory_format=torch.channels_last).train()
    stage = GradientStage(batch_size=2, optimiser=Optimiser("adamw", lr=1e-5))
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    return kind(fabric, stage, system, build_optimiser(system, stage.optimiser, ()), None)


def batch(preparation) -> TrainBatch:
    """Two noisy pictures with eight boxes each."""
    generator = torch.Generator().manual_seed(0)
    images = [torch.randint(0, 255, (3, 320, 416), dtype=torch.uint8, generator=generator) for _ in range(2)]
    corners = torch.rand((2, 8, 2), generator=generator) * 200
    boxes = torch.cat([corners, corners + 20 + torch.rand((2, 8, 2), generator=generator) * 90], dim=2)
    labels = torch.arange(8) % 3
    targets = tuple(preparation.target(Target(each, labels, (320, 416))) for each in boxes)
    return TrainBatch(preparation.batch(images), targets, ("a", "b"))


def main() -> int:
    """Times both and says whether the target was met."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--precision", default="32-true", choices=["32-true", "bf16-mixed"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    print(HEADER, file=sys.stderr if arguments.json else sys.stdout)
    without, checked = (stepper(kind, arguments.precision) for kind in (LossesAlone, Stepper))
    part = batch(checked._system.preparation)
    result = compare(
        lambda: without.step([part], 0, 0),
        lambda: checked.step([part], 0, 0),
        rounds=arguments.rounds,
        target=TARGET,
        name=f"a step of 2, {arguments.precision}",
    )
    if arguments.json:
        print(json.dumps([result.to_dict()], indent=2))
    return exit_code([result])


if __name__ == "__main__":
    sys.exit(main())
