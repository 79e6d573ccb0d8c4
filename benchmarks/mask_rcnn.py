"""Mask and Keypoint R-CNN R50-FPN on 640x480 images with 2 threads, against torchvision's same models in eager mode.

    python benchmarks/mask_rcnn.py                           # all figures
    python benchmarks/mask_rcnn.py --only predict-mask-fp32  # one

Peer and ours live in a process each, because the allocator's settings belong to a whole process, and work in turns in
the same run. The peer is plain fp32 eager torchvision with masks as 0 to 1 turned to bits at 0.5, as ours are; ours is
what ``sightline`` does on its own. Both start from the same random weights, with the class layer's weights enlarged so
that about as many boxes are found as with trained weights.
"""

import argparse
import json
import multiprocessing as mp
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection

from pairing import HEADER, Result, compare, exit_code

FIGURES = {
    "predict-mask-fp32": (1.2, "mask", "fp32"),
    "predict-mask-bf16": (1.5, "mask", "bf16"),
    "predict-keypoint-fp32": (1.2, "keypoint", "fp32"),
    "predict-keypoint-bf16": (1.5, "keypoint", "bf16"),
}
CLASSES = {"mask": 90, "keypoint": 1}


def _peer_model(form: str):
    import torch
    from torchvision.models import resnet50
    from torchvision.models.detection import KeypointRCNN, MaskRCNN
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.misc import FrozenBatchNorm2d

    torch.manual_seed(0)
    trunk = _resnet_fpn_extractor(resnet50(norm_layer=FrozenBatchNorm2d), trainable_layers=3)
    model = {"mask": MaskRCNN, "keypoint": KeypointRCNN}[form](trunk, num_classes=1 + CLASSES[form])
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("bn3.weight"):
                tensor.mul_(0.2)
            if "cls_score.weight" in name:
                tensor.mul_(30)
    return model.eval()


def _images():
    import torch

    return [torch.rand(3, 480, 640, generator=torch.Generator().manual_seed(1))]


def _peer_call(form: str) -> Callable[[], int]:
    import torch

    model, images = _peer_model(form), _images()

    def predict() -> int:
        with torch.inference_mode():
            (found,) = model(images)
            if form == "mask":
                found["masks"] = found["masks"][:, 0] > 0.5
            return len(found["boxes"])

    return predict


def _our_call(form: str, precision: str) -> Callable[[], int]:
    from sightline.detectors.keypoint_rcnn import KeypointRCNN, KeypointRCNNConfig
    from sightline.detectors.keypoint_rcnn_weights import load_torchvision_keypoint_rcnn
    from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
    from sightline.detectors.mask_rcnn_weights import load_torchvision_mask_rcnn
    from sightline.runtime import tune_allocator
    from sightline.structures import Classes

    tune_allocator()
    classes = Classes(tuple(str(i) for i in range(CLASSES[form])))
    if form == "mask":
        model = MaskRCNN(MaskRCNNConfig(norm="frozen", frozen_stages=2), classes)
        load_torchvision_mask_rcnn(model, _peer_model(form).state_dict(), "the peer")
    else:
        model = KeypointRCNN(KeypointRCNNConfig(norm="frozen", frozen_stages=2), classes)
        load_torchvision_keypoint_rcnn(model, _peer_model(form).state_dict(), "the peer")
    fast, images = model.for_prediction("bf16" if precision == "bf16" else "fp32"), _images()
    return lambda: len(fast.predict(images)[0])


def _worker(connection: Connection, who: str, form: str, precision: str) -> None:
    import torch

    torch.set_num_threads(2)
    call = _peer_call(form) if who == "peer" else _our_call(form, precision)
    while connection.recv():
        connection.send(call())


def measure(name: str, rounds: int) -> Result:
    """One figure, by its name in ``FIGURES``."""
    target, form, precision = FIGURES[name]
    context = mp.get_context("spawn")
    calls, ends, processes = [], [], []
    for who in ("peer", "ours"):
        here, there = context.Pipe()
        process = context.Process(target=_worker, args=(there, who, form, precision), daemon=True)
        process.start()

        def call(end: Connection = here) -> object:
            end.send(True)
            return end.recv()

        calls.append(call)
        ends.append(here)
        processes.append(process)
    detections = [call() for call in calls]
    result = compare(*calls, rounds=rounds, warmup=0, target=target, name=name)
    print(f"  detections: {detections[0]} of the peer, {detections[1]} of ours", flush=True)
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
