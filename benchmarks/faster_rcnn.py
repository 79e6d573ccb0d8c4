"""Faster R-CNN R50-FPN on 640x480 images with 2 threads, against torchvision's same model and weights in eager mode.

    python benchmarks/faster_rcnn.py                      # all six figures
    python benchmarks/faster_rcnn.py --only predict-fp32  # one

Peer and ours live in a process each, because the allocator's settings belong to a whole process, and work in turns in
the same run. The peer is plain fp32 eager torchvision with the C library's own settings; ours is what ``sightline``
does on its own: allocator tuned, channels-last, batch norms folded. Both start from the same random weights, with the
class layer's weights enlarged so that about as many boxes go through suppression as with trained weights.
"""

import argparse
import json
import multiprocessing as mp
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from pairing import HEADER, Result, compare, exit_code

FIGURES = {
    "predict-fp32": (1.35, 1, "32"),
    "predict-fp32-batch4": (1.9, 4, "32"),
    "predict-bf16": (2.4, 1, "bf16"),
    "predict-bf16-batch4": (3.5, 4, "bf16"),
    "train-fp32": (1.35, 2, "32"),
    "train-bf16": (2.5, 2, "bf16"),
}


def _peer_model():
    import torch
    from torchvision.models import resnet50
    from torchvision.models.detection import FasterRCNN
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.misc import FrozenBatchNorm2d

    torch.manual_seed(0)
    trunk = _resnet_fpn_extractor(resnet50(norm_layer=FrozenBatchNorm2d), trainable_layers=3)
    model = FasterRCNN(trunk, num_classes=91)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("bn3.weight"):
                tensor.mul_(0.2)
            if "cls_score.weight" in name:
                tensor.mul_(30)
    return model


def _images(batch: int):
    import torch

    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 480, 640, generator=generator) for _ in range(batch)]


def _truth(batch: int):
    import torch

    boxes = torch.tensor([[50.0, 60, 200, 220], [300, 100, 420, 400], [400, 300, 460, 350], [10, 10, 600, 450]])
    return [(boxes, torch.tensor([1, 5, 17, 60])) for _ in range(batch)]


def _peer_call(kind: str, batch: int) -> Callable[[], object]:
    import torch

    model, images = _peer_model(), _images(batch)
    if kind == "predict":
        model.eval()

        def predict() -> object:
            with torch.inference_mode():
                return model(images)

        return predict
    model.train()
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)
    targets = [{"boxes": boxes, "labels": labels + 1} for boxes, labels in _truth(batch)]

    def step() -> None:
        optimiser.zero_grad()
        sum(model(images, targets).values()).backward()
        optimiser.step()

    return step


def _our_call(kind: str, batch: int, precision: str) -> Callable[[], object]:
    import torch

    from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
    from sightline.detectors.faster_rcnn_weights import load_torchvision_faster_rcnn
    from sightline.runtime import tune_allocator
    from sightline.structures import Classes, Target

    tune_allocator()
    model = FasterRCNN(FasterRCNNConfig(norm="frozen", frozen_stages=2), Classes(tuple(str(i) for i in range(90))))
    load_torchvision_faster_rcnn(model, _peer_model().state_dict(), "the peer")
    images = _images(batch)
    if kind == "predict":
        fast = model.for_prediction("bf16" if precision == "bf16" else "fp32")
        return lambda: fast.predict(images)
    model.train().to(memory_format=torch.channels_last)
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-5, momentum=0.9)
    targets = [model.preparation.target(Target(boxes, labels, (480, 640))) for boxes, labels in _truth(batch)]

    def step() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            losses = model.loss(model.prepare(images), targets)
        sum(term.value for term in losses.values()).backward()
        optimiser.step()

    return step


def _worker(connection: Connection, who: str, kind: str, batch: int, precision: str) -> None:
    import torch

    torch.set_num_threads(2)
    call = _peer_call(kind, batch) if who == "peer" else _our_call(kind, batch, precision)
    while connection.recv():
        call()
        connection.send(True)


def measure(name: str, rounds: int) -> Result:
    """One figure, by its name in ``FIGURES``."""
    target, batch, precision = FIGURES[name]
    kind = name.split("-", maxsplit=1)[0]
    context = mp.get_context("spawn")
    calls, ends, processes = [], [], []
    for who in ("peer", "ours"):
        here, there = context.Pipe()
        process = context.Process(target=_worker, args=(there, who, kind, batch, precision), daemon=True)
        process.start()

        def call(end: Connection = here) -> object:
            end.send(True)
            return end.recv()

        calls.append(call)
        ends.append(here)
        processes.append(process)
    result = compare(*calls, rounds=rounds, warmup=1, target=target, name=name)
    for end, process in zip(ends, processes, strict=True):
        end.send(False)
        process.join()
    return result


def main() -> int:
    """The figures asked for, as a table, or as JSON; gives the exit code, 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=FIGURES, action="append", help="measure this figure (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs to time")
    parser.add_argument("--json", action="store_true", help="print one JSON object a figure after the table")
    options = parser.parse_args()
    print(HEADER, flush=True)
    results = [measure(name, options.rounds) for name in options.only or FIGURES]
    if options.json:
        print(json.dumps([result.to_dict() for result in results], indent=2))
    return exit_code(results)


if __name__ == "__main__":
    sys.exit(main())
