"""torchvision's Mask R-CNN weights in our Mask R-CNN: the official file or any state dict of that form."""

from collections.abc import Mapping

from torch import Tensor
from torchvision.models.detection import MaskRCNN_ResNet50_FPN_Weights

from sightline.detectors.mask_rcnn import MaskRCNN, MaskRCNNConfig
from sightline.regions.torchvision_weights import BOX_LAYERS, ClassLayer, Form, load_state, start_from
from sightline.structures import Classes

_OFFICIAL = MaskRCNN_ResNet50_FPN_Weights.COCO_V1
_MASK_LAYER = ClassLayer("mask_branch.logits", "roi_heads.mask_predictor.mask_fcn_logits", background=False)


def _form(config: MaskRCNNConfig) -> Form:
    names: dict[str, tuple[str, ...]] = {}
    for leaf in ("weight", "bias"):
        for index in range(config.mask_depth):
            # The second name is that of before torchvision's version 0.14.
            theirs = (f"roi_heads.mask_head.{index}.0.{leaf}", f"roi_heads.mask_head.mask_fcn{index + 1}.{leaf}")
            names[f"mask_branch.convolutions.{index}.{leaf}"] = theirs
        names[f"mask_branch.upsampling.{leaf}"] = (f"roi_heads.mask_predictor.conv5_mask.{leaf}",)
    return Form("MaskRCNN", _OFFICIAL.url, tuple(_OFFICIAL.meta["categories"]), (*BOX_LAYERS, _MASK_LAYER), names)


def mask_rcnn_from(config: MaskRCNNConfig, classes: Classes | None, weights: str) -> MaskRCNN:
    """Mask R-CNN that starts from torchvision's weights, as ``regions.torchvision_weights.start_from`` does it.

    Args:
        config: of the pyramid form; ``norm=auto`` freezes.
        classes: what it is to tell apart; None for the 90 outputs of the official weights.
        weights: ``coco`` for ``maskrcnn_resnet50_fpn`` as trained on COCO 2017 (box AP 37.9, mask AP 34.6), from the
            cache or the network; or a safetensors file with torchvision's names.
    """
    return start_from(_form(config), MaskRCNN, config, classes, weights)


def load_torchvision_mask_rcnn(model: MaskRCNN, weights: Mapping[str, Tensor], place: str) -> None:
    """Takes over a state dict of torchvision's ``MaskRCNN`` with a pyramid; ``place`` is where it comes from.

    Raises:
        ModelFileError: a tensor is missing or has another shape.
    """
    load_state(model, _form(model.config), weights, place)
