"""Faster R-CNN R50-FPN on 640x480 images with 2 threads, against torchvision's same model and weights in eager mode.

    python benchmarks/faster_rcnn.py                      # all six figures
    python benchmarks/faster_rcnn.py --only predict-fp32  # one

Peer and ours live in a process each and work in turns in the same run. The peer is plain fp32 eager torchvision with
the C library's own settings; ours is what ``sightline`` does on its own: allocator tuned, channels-last, batch norms
folded. Both start from the same random weights, with the class layer's weights enlarged so that about as many boxes go
through suppression as with trained weights.
"""

import sys
from collections.abc import Callable

from pairing import Result
from torchvision_peer import Half, as_if_trained, compare_in_processes, peer_trunk, photos, run

FIGURES = {
    "predict-fp32": (1.35, 1, "32"),
    "predict-fp32-batch4": (1.9, 4, "32"),
    "predict-bf16": (2.4, 1, "bf16"),
    "predict-bf16-batch4": (3.5, 4, "bf16"),
    "train-fp32": (1.35, 2, "32"),
    "train-bf16": (2.5, 2, "bf16"),
}


def _peer_model():
    from torchvision.models.detection import FasterRCNN

    return as_if_trained(FasterRCNN(peer_trunk(), num_classes=91))


def _truth(batch: int):
    import torch

    boxes = torch.tensor([[50.0, 60, 200, 220], [300, 100, 420, 400], [400, 300, 460, 350], [10, 10, 600, 450]])
    return [(boxes, torch.tensor([1, 5, 17, 60])) for _ in range(batch)]


def _peer_call(kind: str, batch: int) -> Callable[[], object]:
    import torch

    model, images = _peer_model(), photos(batch)
    if kind == "predict":
        model.eval()

        def predict() -> None:
            with torch.inference_mode():
                model(images)

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
    images = photos(batch)
    if kind == "predict":
        fast = model.for_prediction("bf16" if precision == "bf16" else "fp32")
        return lambda: len(fast.predict(images))
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


def measure(name: str, rounds: int) -> Result:
    """One figure, by its name in ``FIGURES``."""
    target, batch, precision = FIGURES[name]
    kind = name.split("-", maxsplit=1)[0]
    peer, ours = Half(_peer_call, (kind, batch)), Half(_our_call, (kind, batch, precision))
    return compare_in_processes(peer, ours, rounds=rounds, target=target, name=name)[0]


def main() -> int:
    """The figures asked for."""
    return run(__doc__, FIGURES, measure)


if __name__ == "__main__":
    sys.exit(main())
