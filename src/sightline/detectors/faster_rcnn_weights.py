"""torchvision's Faster R-CNN weights in our Faster R-CNN: the official file or any state dict of that form."""

from collections.abc import Mapping

from torch import Tensor
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.regions.torchvision_weights import Form, load_state, start_from
from sightline.structures import Classes

_OFFICIAL = FasterRCNN_ResNet50_FPN_Weights.COCO_V1
FORM = Form("FasterRCNN", _OFFICIAL.url, tuple(_OFFICIAL.meta["categories"]))


def faster_rcnn_from(config: FasterRCNNConfig, classes: Classes | None, weights: str) -> FasterRCNN:
    """Faster R-CNN that starts from torchvision's weights, as ``regions.torchvision_weights.start_from`` does it.

    Args:
        config: of the pyramid form; ``norm=auto`` freezes.
        classes: what it is to tell apart; None for the 90 outputs of the official weights.
        weights: ``coco`` for ``fasterrcnn_resnet50_fpn`` as trained on COCO 2017 (box AP 37.0), from the cache or the
            network; or a safetensors file with torchvision's names.
    """
    return start_from(FORM, FasterRCNN, config, classes, weights)


def load_torchvision_faster_rcnn(model: FasterRCNN, weights: Mapping[str, Tensor], place: str) -> None:
    """Takes over a state dict of torchvision's ``FasterRCNN`` with a pyramid; ``place`` is where it comes from.

    Raises:
        ModelFileError: a tensor is missing or has another shape.
    """
    load_state(model, FORM, weights, place)
