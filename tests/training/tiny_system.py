"""A detector small enough to train in a test: it answers with one box an image, that of the brightest square."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sightline.contract import NeuralSystem
from sightline.processes import ALONE, Processes
from sightline.recipes import GradientStage, Optimiser, Recipe, Schedule
from sightline.structures import Classes, Detections, ImageBatch, LossTerm, Sample, Target
from sightline.transforms.pipeline import Transform
from sightline.transforms.preparation import Preparation

SIDE = 16


@dataclass(frozen=True)
class TinyConfig:
    width: int = 4


@dataclass(frozen=True)
class TinyRaw:
    centres: Tensor


class TinySystem(NeuralSystem[TinyRaw, Detections]):
    name = "tiny"
    task = "detection"

    def __init__(self, config: TinyConfig | None = None, draws: bool = True) -> None:
        super().__init__()
        self.config = config or TinyConfig()
        self.classes = Classes(("square",))
        self.preparation = Preparation(short_side=SIDE, long_side=SIDE, divisor=SIDE)
        self.draws = draws
        self.trunk = nn.Conv2d(3, self.config.width, 3, padding=1)
        self.norm = nn.BatchNorm2d(self.config.width)
        self.head = nn.Linear(self.config.width * 16, 2)

    def forward(self, batch: ImageBatch) -> TinyRaw:
        maps = F.relu(self.norm(self.trunk(batch.images)))
        return TinyRaw(self.head(F.adaptive_avg_pool2d(maps, 4).flatten(1)).float())

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        centres = self(batch).centres
        true = torch.stack([(t.boxes[0, :2] + t.boxes[0, 2:]) / (2 * SIDE) for t in targets])
        noise = torch.rand(()) if self.draws else 1.0
        x, y = ((centres - true) ** 2).sum(dim=0)
        return {"x": LossTerm(x, len(true)), "y": LossTerm(y * noise, len(true))}

    def decode(self, raw: TinyRaw, batch: ImageBatch) -> list[Detections]:
        boxes = (raw.centres * SIDE)[:, [0, 1, 0, 1]] + torch.tensor([-2.0, -2.0, 2.0, 2.0])
        one, label = torch.ones(1), torch.zeros(1, dtype=torch.int64)
        return [Detections(b[None], one, label, s) for b, s in zip(boxes, batch.original_sizes, strict=True)]

    def recipe(self) -> Recipe:
        return Recipe((stage(),))


@dataclass(frozen=True)
class Brighter(Transform):
    """Draws from the sample's generator, so that a wrong generator is seen in the weights."""

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        pixels = (sample.image.float() * rng.uniform(0.8, 1.2)).clamp(0, 255).to(torch.uint8)
        return Sample(pixels, sample.target, sample.image_id, sample.path)


def stage(**changes: object) -> GradientStage:
    settings: dict[str, object] = {
        "epochs": 3,
        "batch_size": 2,
        "optimiser": Optimiser(lr=0.05),
        "schedule": Schedule("cosine", warmup_steps=2),
        "augmentation": (Brighter(),),
    }
    return GradientStage(**{**settings, **changes})


def make_system(seed: int = 0, *, draws: bool = True) -> TinySystem:
    torch.manual_seed(seed)
    return TinySystem(draws=draws)


def make_samples(count: int, seed: int = 0) -> list[Sample]:
    rng = np.random.default_rng(seed)
    return [_sample(rng, index) for index in range(count)]


def _sample(rng: np.random.Generator, index: int) -> Sample:
    image = torch.from_numpy(rng.integers(0, 60, (3, SIDE, SIDE), dtype=np.uint8))
    x, y = (int(v) for v in rng.integers(0, SIDE - 4, 2))
    image[:, y : y + 4, x : x + 4] = 255
    boxes = torch.tensor([[x, y, x + 4, y + 4]], dtype=torch.float32)
    return Sample(image, Target(boxes, torch.zeros(1, dtype=torch.int64), (SIDE, SIDE)), index)


def negative_error(system: TinySystem, samples: Sequence[Sample], processes: Processes = ALONE) -> dict[str, float]:
    """A made metric, higher is better: minus the mean distance of the corners."""
    found = system.predict([sample.image for sample in samples])
    errors = [(f.boxes[0] - s.target.boxes[0]).abs().mean() for f, s in zip(found, samples, strict=True)]
    return {"closeness": -float(torch.stack(errors).mean())}
