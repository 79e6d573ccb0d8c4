"""Mask and Keypoint R-CNN R50-FPN on 640x480 images with 2 threads, against torchvision's same models in eager mode.

    python benchmarks/mask_rcnn.py                           # all figures
    python benchmarks/mask_rcnn.py --only predict-mask-fp32  # one

Peer and ours live in a process each and work in turns in the same run. The peer is plain fp32 eager torchvision with
masks as 0 to 1 turned to bits at 0.5, as ours are; ours is what ``sightline`` does on its own. Both start from the same
random weights, with the class layer's weights enlarged so that about as many boxes are found as with trained weights.
"""

import sys
from collections.abc import Callable

from pairing import Result
from torchvision_peer import Half, as_if_trained, compare_in_processes, peer_trunk, photos, run

FIGURES = {
    "predict-mask-fp32": (1.2, "mask", "fp32"),
    "predict-mask-bf16": (1.5, "mask", "bf16"),
    "predict-keypoint-fp32": (1.2, "keypoint", "fp32"),
    "predict-keypoint-bf16": (1.5, "keypoint", "bf16"),
}
CLASSES = {"mask": 90, "keypoint": 1}


def _peer_model(form: str):
    from torchvision.models.detection import KeypointRCNN, MaskRCNN

    kind = {"mask": MaskRCNN, "keypoint": KeypointRCNN}[form]
    return as_if_trained(kind(peer_trunk(), num_classes=1 + CLASSES[form])).eval()


def _peer_call(form: str) -> Callable[[], int]:
    import torch

    model, images = _peer_model(form), photos(1)

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
    fast, images = model.for_prediction("bf16" if precision == "bf16" else "fp32"), photos(1)
    return lambda: len(fast.predict(images)[0])


def measure(name: str, rounds: int) -> Result:
    """One figure, by its name in ``FIGURES``."""
    target, form, precision = FIGURES[name]
    peer, ours = Half(_peer_call, (form,)), Half(_our_call, (form, precision))
    result, detections = compare_in_processes(peer, ours, rounds=rounds, target=target, name=name)
    print(f"  detections: {detections[0]} of the peer, {detections[1]} of ours", flush=True)
    return result


def main() -> int:
    """The figures asked for."""
    return run(__doc__, FIGURES, measure)


if __name__ == "__main__":
    sys.exit(main())
