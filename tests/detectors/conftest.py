"""torchvision's Faster, Mask and Keypoint R-CNN and ours with the same random weights."""

from collections.abc import Callable

import pytest
import torch
from torchvision.models import resnet18
from torchvision.models.detection import FasterRCNN as Peer
from torchvision.models.detection import KeypointRCNN as KeypointPeer
from torchvision.models.detection import MaskRCNN as MaskPeer
from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
from torchvision.ops.misc import FrozenBatchNorm2d

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.detectors.faster_rcnn_weights import load_torchvision_faster_rcnn
from sightline.detectors.keypoint_rcnn import KeypointRCNN, KeypointRCNNConfig
from sightline.detectors.keypoint_rcnn_weights import load_torchvision_keypoint_rcnn
from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
from sightline.detectors.mask_rcnn_weights import load_torchvision_mask_rcnn
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
        elif "mask_fcn_logits.weight" in name or "kps_score_lowres.weight" in name:
            tensor.mul_(4)


_CLASSES = Classes(tuple(f"class {i}" for i in range(5)))
_FEW = {"rpn_pre_nms_top_n_test": 200, "rpn_post_nms_top_n_test": 100, "box_detections_per_img": 15}
_PEER = {"min_size": 160, "max_size": 320, **_FEW}
_OURS = {
    "backbone": "resnet18",
    "norm": "frozen",
    "frozen_stages": 2,
    "short_side": 160,
    "long_side": 320,
    "proposals_before_nms": 200,
    "proposals": 100,
    "region_samples": 32,
    "detections": 15,
}


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


@pytest.fixture(scope="session")
def make_mask_pair() -> Callable[..., tuple[MaskPeer, MaskRCNN]]:
    def make(seed: int = 0) -> tuple[MaskPeer, MaskRCNN]:
        torch.manual_seed(seed)
        trunk = _resnet_fpn_extractor(resnet18(norm_layer=FrozenBatchNorm2d), trainable_layers=3)
        peer = MaskPeer(trunk, num_classes=6, **_PEER)
        _lively(peer)
        ours = MaskRCNN(MaskRCNNConfig(**_OURS), _CLASSES)
        load_torchvision_mask_rcnn(ours, peer.state_dict(), "the peer")
        return peer.eval(), ours.eval()

    return make


@pytest.fixture(scope="session")
def make_keypoint_pair() -> Callable[..., tuple[KeypointPeer, KeypointRCNN]]:
    def make(seed: int = 0) -> tuple[KeypointPeer, KeypointRCNN]:
        torch.manual_seed(seed)
        trunk = _resnet_fpn_extractor(resnet18(norm_layer=FrozenBatchNorm2d), trainable_layers=3)
        peer = KeypointPeer(trunk, num_classes=6, num_keypoints=17, **_PEER)
        _lively(peer)
        ours = KeypointRCNN(KeypointRCNNConfig(**_OURS), _CLASSES)
        load_torchvision_keypoint_rcnn(ours, peer.state_dict(), "the peer")
        return peer.eval(), ours.eval()

    return make
