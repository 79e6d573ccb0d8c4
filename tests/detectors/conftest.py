"""torchvision's Faster R-CNN and ours with the same random weights."""

from collections.abc import Callable

import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN as Peer
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.detectors.faster_rcnn_weights import load_torchvision_faster_rcnn
from sightline.structures import Classes

Pair = tuple[Peer, FasterRCNN]


def _lively(peer: Peer) -> None:
    """Random weights that give confident, different answers: fresh ones score everything alike."""
    for name, tensor in peer.state_dict().items():
        if name.endswith("running_mean"):
            tensor.normal_(std=0.1)
        elif name.endswith("running_var"):
            tensor.uniform_(0.5, 1.5)
        elif "bn" in name and name.endswith("weight"):
            tensor.uniform_(0.8, 1.2)
        elif "layer_blocks" in name:
            tensor.mul_(0.2)
        elif "rpn.head.cls_logits.weight" in name:
            tensor.mul_(8)
        elif "cls_score.weight" in name:
            tensor.mul_(40)


@pytest.fixture(scope="session")
def make_pair() -> Callable[..., Pair]:
    def make(classes: int = 5, short_side: int = 160, seed: int = 0) -> Pair:
        torch.manual_seed(seed)
        trunk = _resnet_fpn_extractor(resnet18(norm_layer=FrozenBatchNorm2d), trainable_layers=3)
        peer = Peer(trunk, num_classes=classes + 1, min_size=short_side, max_size=2 * short_side)
        _lively(peer)
        config = FasterRCNNConfig(
            backbone="resnet18", norm="frozen", frozen_stages=2, short_side=short_side, long_side=2 * short_side
        )
        ours = FasterRCNN(config, Classes(tuple(f"class {i}" for i in range(classes))))
        load_torchvision_faster_rcnn(ours, peer.state_dict(), "the peer")
        return peer.eval(), ours.eval()

    return make
