"""A small judged set with everything in it that a report can show: right, wrong, missed and ignored."""

from dataclasses import dataclass

import torch

from sightline.evaluation.cost import Cost
from sightline.evaluation.evaluate import judge
from sightline.structures import Classes, Detections, Sample, Target

COST = Cost(
    parameters=41_300_000,
    trainable=41_000_000,
    flops=134_000_000_000,
    milliseconds=77.3,
    quartiles=(75.1, 80.2),
    peak_memory_mb=512.3,
    device="cpu",
    threads=2,
    image_size=(480, 640),
    prepared_size=(320, 448),
    precision="float32",
    repeats=20,
)

HISTORY = [
    {"epoch": 1.0, "lr": 0.02, "train/loss": 1.5, "train/loss_box": 0.7, "val/loss": 1.6, "val/AP": 0.1},
    {"epoch": 2.0, "lr": 0.01, "train/loss": 1.0, "train/loss_box": 0.5, "val/loss": 1.2, "val/AP": 0.3},
]


@dataclass(frozen=True)
class Record:
    image_id: int
    size: tuple[int, int]
    path: str = ""


class Images:
    """Pictures of noise with one object at the left and one at the right."""

    def __init__(self, count, names=("cat", "dog"), height=60, width=90):
        self.classes = Classes(tuple(names))
        self.records = [Record(10 + index, (height, width)) for index in range(count)]

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        height, width = self.records[index].size
        generator = torch.Generator().manual_seed(index)
        image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=generator)
        return Sample(image, self.target(index), self.records[index].image_id, self.records[index].path)

    def target(self, index):
        height, width = self.records[index].size
        boxes = torch.tensor([[2.0, 10, 30, height - 10], [50, 10, width - 5, height - 10]])
        return Target(boxes, torch.tensor([0, len(self.classes) - 1]), (height, width))


def judged(data, right, scores=(0.9, 0.8)):
    """Detections that are right for the first ``right[i]`` objects of each image, and wrong for the rest."""
    detections = []
    for index, count in enumerate(right):
        target = data.target(index)
        boxes = target.boxes.clone()
        boxes[count:] = torch.tensor([0.0, 0, 9, 9])
        detections.append(Detections(boxes, torch.tensor(scores), target.labels, target.size))
    return judge(detections, data)
