"""What processes compute together, to be compared with one; run by torchrun in test_distributed.py, or called there.

Each check is given a Fabric and the process among its group, and returns tensors by name; the first process's count.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch
from lightning_fabric import Fabric
from safetensors.torch import save_file
from tiny_system import make_samples, make_system, stage
from torch import Tensor, nn

from sightline.contract import NeuralSystem
from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.evaluation.evaluate import judge, predict_dataset
from sightline.layers.sync_norm import synchronised_norms
from sightline.processes import Processes
from sightline.structures import Classes, Sample, Target
from sightline.training.cache import HeldSamples
from sightline.training.devices import start_fabric
from sightline.training.loader import Loading, Sampling
from sightline.training.options import TrainOptions
from sightline.training.steps import Stepper
from sightline.training.validation import validation_losses

CLASSES = Classes(("one", "two", "three"))
SHAPES = [(64, 64)] * 7
SPREAD = 100.0


def make_detector() -> FasterRCNN:
    """Faster R-CNN as small as it can be, with live batch norms and draws that leave most anchors out."""
    torch.manual_seed(0)
    config = FasterRCNNConfig(
        backbone="resnet18", channels=16, head_width=32, short_side=64, long_side=128, proposals=30, region_samples=16
    )
    system = FasterRCNN(config, CLASSES)
    with torch.no_grad():
        # Fresh weights find all anchors alike; rounding would then decide which are proposed, and so what is drawn.
        system.rpn.objectness.weight.mul_(SPREAD)
    return system


def make_scenes(shapes: list[tuple[int, int]]) -> list[Sample]:
    """Noise with up to three objects an image: the third image has none, the fifth one that is ignored."""
    generator = torch.Generator().manual_seed(5)
    samples = []
    for index, (height, width) in enumerate(shapes):
        image = torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8)
        corners = torch.rand((index % 3 + 1, 2), generator=generator) * 30
        boxes = torch.cat([corners, corners + 8 + torch.rand((len(corners), 2), generator=generator) * 20], dim=1)
        target = Target(boxes, torch.arange(len(boxes)) % 3, (height, width))
        if index == 2:
            target = Target.empty((height, width))
        if index == 4:
            target = replace(target, ignore=torch.arange(len(boxes)) == 0)
        samples.append(Sample(image, target, index + 1))
    return samples


class Noting(torch.optim.SGD):
    """Remembers the gradients that it is given."""

    def step(self, closure: object = None) -> None:  # type: ignore[override]  # no closure here
        self.noted = [p.grad.clone() for group in self.param_groups for p in group["params"]]
        super().step()


def steps_of(
    fabric: Fabric, processes: Processes, system: NeuralSystem, samples: list[Sample], batch_size: int
) -> dict[str, Tensor]:
    """Gradients, losses and running statistics of two steps of one batch each."""
    found: dict[str, Tensor] = {}
    learning = {name: p for name, p in system.named_parameters() if p.requires_grad}
    optimiser = Noting(list(learning.values()), lr=0.01)
    stepper = Stepper(fabric, stage(batch_size=batch_size), system, optimiser, None)
    sampling = Sampling(3, len(samples), batch_size, rank=processes.rank, processes=processes.count)
    batches = Loading(samples, system.preparation, 0).training_batches((), sampling, 0)
    for number in range(2):
        losses = stepper.step(next(batches), 3, number)
        found |= {f"{number} gradient {name}": g for name, g in zip(learning, optimiser.noted, strict=True)}
        found |= {f"{number} loss {name}": torch.tensor(value) for name, value in losses.items()}
        found |= {f"{number} buffer {name}": value.clone().float() for name, value in system.named_buffers()}
    return found


def tiny_steps(fabric: Fabric, processes: Processes) -> dict[str, Tensor]:
    """Seven images a batch, which no number of processes but one divides."""
    system = make_system(draws=False).train()
    with synchronised_norms(system):
        return steps_of(fabric, processes, system, make_samples(13), 7)


def detector_steps(fabric: Fabric, processes: Processes) -> dict[str, Tensor]:
    """Faster R-CNN, with images without objects and with an ignored one."""
    system = make_detector().train()
    with synchronised_norms(system):
        return steps_of(fabric, processes, system, make_scenes(SHAPES), 7)


def judged(fabric: Fabric, processes: Processes) -> dict[str, Tensor]:
    """Detections, metrics and validation losses of five images, one at once and all at once."""
    system, found = make_detector().eval(), {}
    system.config = replace(system.config, score_threshold=0.0)
    samples = make_scenes([(64, 96), (96, 64), (64, 64), (64, 128), (70, 64)])
    held = HeldSamples(samples, CLASSES)
    for size in (1, 8):
        results = predict_dataset(system, held, batch_size=size, processes=processes)
        assert len(results) == (5 if processes.leads else 0)
        for index, result in enumerate(results):
            found |= {f"{size} {index} {name}": getattr(result, name) for name in ("boxes", "scores", "labels")}
        metrics = judge(results, held).result.metrics() if results else {}
        found |= {f"{size} {name}": torch.tensor(value) for name, value in metrics.items() if value is not None}
        loading = Loading(samples, system.preparation, 0)
        losses = validation_losses(system, "loss", loading, size, fabric, processes)
        assert bool(losses) == processes.leads
        found |= {f"{size} loss {name}": torch.tensor(value, dtype=torch.float64) for name, value in losses.items()}
    return found


def norms(fabric: Fabric, processes: Processes) -> dict[str, Tensor]:
    """Batch norms of three kinds on uneven shares of seven images, whose means are large against their deviations."""
    torch.manual_seed(1)
    images = torch.randn(7, 3, 5, 4, dtype=torch.float64) + torch.tensor([0.0, 1e3, -1e5])[:, None, None]
    upstream = torch.randn(images.shape, dtype=torch.float64)
    mine = Sampling(0, 7, 7, rank=processes.rank, processes=processes.count).positions(0, 0)
    kinds = {"plain": {}, "mean of all": {"momentum": None}, "bare": {"affine": False, "track_running_stats": False}}
    found: dict[str, Tensor] = {}
    for dtype in (torch.float32, torch.float64):
        for kind, settings in kinds.items():
            norm = nn.Sequential(nn.BatchNorm2d(3, **settings)).to(dtype).train()
            names = list(norm.state_dict())
            with synchronised_norms(norm) as count:
                assert count == 1 and list(norm.state_dict()) == names
                for _ in range(2):
                    x = images[mine].to(dtype).requires_grad_()
                    out = norm(x)
                    (out * upstream[mine]).sum().backward()
            values = {"out": processes.gathered(out.detach()), "gradient": processes.gathered(x.grad)}
            found |= {f"{dtype} {kind} {name}": torch.cat(parts) for name, parts in values.items() if parts}
            for name, parameter in norm.named_parameters():
                gradients = processes.gathered(parameter.grad)
                found |= {f"{dtype} {kind} {name}": torch.stack(gradients).sum(0)} if gradients else {}
            found |= {f"{dtype} {kind} {name}": value.to(torch.float64) for name, value in norm.named_buffers()}
    return found


CHECKS = {"tiny": tiny_steps, "detector": detector_steps, "norms": norms, "judged": judged}


def launched(devices: int) -> tuple[Fabric, Processes]:
    """Fabric on the CPU as a run has it."""
    fabric, *_ = start_fabric(TrainOptions(device="cpu", devices=devices, precision="32"))
    return fabric, Processes(fabric.global_rank, fabric.world_size)


if __name__ == "__main__":
    torch.set_num_threads(1)
    fabric, processes = launched(int(sys.argv[2]))
    for name, check in CHECKS.items():
        found = check(fabric, processes)
        if processes.leads:
            save_file({key: value.contiguous() for key, value in found.items()}, Path(sys.argv[1]) / name)
