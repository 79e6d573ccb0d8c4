"""torchvision's Keypoint R-CNN weights in ours: the official file or any state dict of that form."""

from collections.abc import Mapping

from torch import Tensor
from torchvision.models.detection import KeypointRCNN_ResNet50_FPN_Weights

from sightline.detectors.keypoint_rcnn import COCO_KEYPOINTS, KeypointRCNN, KeypointRCNNConfig
from sightline.regions.torchvision_weights import Form, load_state, start_from
from sightline.structures import Classes

_OFFICIAL = KeypointRCNN_ResNet50_FPN_Weights.COCO_V1


def _form(config: KeypointRCNNConfig, *, maps: bool = True) -> Form:
    names: dict[str, tuple[str, ...]] = {}
    for leaf in ("weight", "bias"):
        for index in range(config.keypoint_depth):
            # Between two convolutions of torchvision's stands a layer without weights.
            names[f"keypoint_branch.convolutions.{index}.{leaf}"] = (f"roi_heads.keypoint_head.{2 * index}.{leaf}",)
        if maps:
            names[f"keypoint_branch.maps.{leaf}"] = (f"roi_heads.keypoint_predictor.kps_score_lowres.{leaf}",)
    return Form("KeypointRCNN", _OFFICIAL.url, tuple(_OFFICIAL.meta["categories"]), further=names)


def keypoint_rcnn_from(config: KeypointRCNNConfig, classes: Classes | None, weights: str) -> KeypointRCNN:
    """Keypoint R-CNN that starts from torchvision's weights, as ``regions.torchvision_weights.start_from`` does it.

    Of the official weights the maps of the keypoints start anew where the keypoints are not COCO's.

    Args:
        config: of the pyramid form; ``norm=auto`` freezes.
        classes: what it is to tell apart; None for the official weights' one, person.
        weights: ``coco`` for ``keypointrcnn_resnet50_fpn`` as trained on COCO 2017 (box AP 54.6, keypoint AP 65.0),
            from the cache or the network; or a safetensors file with torchvision's names.
    """
    others = weights == "coco" and config.keypoints != COCO_KEYPOINTS
    model = start_from(_form(config, maps=not others), KeypointRCNN, config, classes, weights)
    if others:
        model.origin += f"; the maps of {len(config.keypoints)} keypoints start anew"
    return model


def load_torchvision_keypoint_rcnn(model: KeypointRCNN, weights: Mapping[str, Tensor], place: str) -> None:
    """Takes over a state dict of torchvision's ``KeypointRCNN`` with a pyramid; ``place`` is where it comes from.

    Raises:
        ModelFileError: a tensor is missing or has another shape.
    """
    load_state(model, _form(model.config), weights, place)
