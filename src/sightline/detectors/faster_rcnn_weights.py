"""torchvision's Faster R-CNN weights in our Faster R-CNN: the official file or any state dict of that form."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

from sightline.backbones.weights import download_state_dict, read_state_dict
from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.errors import ConfigError, ModelFileError
from sightline.structures import Classes

NORM_EPSILON = 1e-5
_CLASS_BIAS = "roi_heads.box_predictor.cls_score.bias"
OFFICIAL = FasterRCNN_ResNet50_FPN_Weights.COCO_V1


def coco_classes() -> Classes:
    """The 90 outputs of the official model with COCO's ids; ids that COCO does not use are named ``unused ID``."""
    names = OFFICIAL.meta["categories"]
    kept = [(name if name != "N/A" else f"unused {i}", i) for i, name in enumerate(names) if i > 0]
    return Classes(tuple(name for name, _ in kept), tuple(i for _, i in kept))


def faster_rcnn_from(config: FasterRCNNConfig, classes: Classes | None, weights: str) -> FasterRCNN:
    """Faster R-CNN that starts from torchvision's weights.

    Where the weights are for other classes than asked for, the two class layers start anew, and ``origin`` says so.

    Args:
        config: of the pyramid form; ``norm=auto`` freezes.
        classes: what it is to tell apart; None for the 90 outputs of the official weights.
        weights: ``coco`` for ``fasterrcnn_resnet50_fpn`` as trained on COCO 2017 (box AP 37.0), from the cache or the
            network; or a safetensors file with torchvision's names.

    Raises:
        ConfigError: ``coco`` for another backbone than ResNet-50.
        ModelFileError: the weights cannot be had, are damaged or do not fit.
    """
    config = replace(
        config,
        norm="frozen" if config.norm == "auto" else config.norm,
        frozen_stages=2 if config.frozen_stages == -1 else config.frozen_stages,
    )
    if weights != "coco":
        state, place = read_state_dict(Path(weights)), weights
        known = None
    else:
        state, place = official_weights(), OFFICIAL.url
        known = coco_classes()
        if (config.backbone, config.neck) != ("resnet50", "fpn"):
            raise ConfigError(
                f"weights=coco are for resnet50 with neck=fpn, not {config.backbone} with neck={config.neck}",
                cure="leave backbone and neck as they are, or start from --backbone-weights imagenet",
            )
    if classes is None:
        if known is None:
            raise ConfigError("classes are needed with weights from a file", cure="name the classes of its outputs")
        classes = known
    outputs = len(state[_CLASS_BIAS]) if _CLASS_BIAS in state else 0
    same = classes == known if known is not None else outputs == 1 + len(classes)
    model = FasterRCNN(config, classes)
    load_torchvision_faster_rcnn(model, state, place, new_classes=not same)
    model.origin = f"torchvision's weights {place}" + ("" if same else f"; class layers new, not its {outputs} outputs")
    return model


def official_weights(url: str = OFFICIAL.url) -> dict[str, Tensor]:
    """The official state dict, as a model with our norms' epsilon needs it.

    Raises:
        ModelFileError: it cannot be downloaded, or is damaged.
    """
    weights = download_state_dict(url)
    # These weights were trained with norms without epsilon: what ours will add is taken off the variances.
    for name in weights:
        if name.endswith("running_var"):
            weights[name] = weights[name] - NORM_EPSILON
    return weights


def load_torchvision_faster_rcnn(
    model: FasterRCNN, weights: Mapping[str, Tensor], place: str, *, new_classes: bool = False
) -> None:
    """Takes over a state dict of torchvision's ``FasterRCNN`` with a pyramid.

    Args:
        model: of the same backbone, with ``neck=fpn``.
        weights: tensors by torchvision's names, those of before its version 0.14 included.
        place: where they come from, for errors.
        new_classes: leave the two class layers as they are, because the model is for other classes.

    Raises:
        ModelFileError: a tensor is missing or has another shape.
    """
    own = model.state_dict()
    renamed: dict[str, Tensor] = {}
    for ours, theirs in _names(model).items():
        if new_classes and ours.startswith(("class_logits.", "box_deltas.")):
            continue
        found = next((name for name in theirs if name in weights), None)
        if found is None:
            raise ModelFileError(
                f"no tensor {theirs[0]!r} in it",
                place=place,
                cause="not a state dict of torchvision's FasterRCNN with this backbone and a pyramid",
                cure="give --backbone-weights for weights of a backbone alone",
            )
        if weights[found].shape != own[ours].shape:
            raise ModelFileError(
                f"tensor {found!r} has shape {tuple(weights[found].shape)}, the model needs {tuple(own[ours].shape)}",
                place=place,
                cause="weights of another backbone or number of classes",
                cure="choose the backbone that the weights are of",
            )
        renamed[ours] = weights[found].to(torch.float32)
    model.load_state_dict(renamed, strict=False)


def _names(model: FasterRCNN) -> dict[str, tuple[str, ...]]:
    """Our names to torchvision's, the present one first."""
    names: dict[str, tuple[str, ...]] = {}
    for theirs, ours in model.backbone.torchvision_names.items():
        if not theirs.endswith("num_batches_tracked"):
            names[f"backbone.{ours}"] = (f"backbone.body.{theirs}",)
    levels = len(model.backbone.channels)
    for leaf in ("weight", "bias"):
        for level in range(levels):
            for ours, theirs in (("lateral", "inner_blocks"), ("output", "layer_blocks")):
                prefix = f"backbone.fpn.{theirs}.{level}"
                names[f"neck.{ours}.{level}.{leaf}"] = (f"{prefix}.0.{leaf}", f"{prefix}.{leaf}")
        names[f"rpn.conv.{leaf}"] = (f"rpn.head.conv.0.0.{leaf}", f"rpn.head.conv.{leaf}")
        names[f"rpn.objectness.{leaf}"] = (f"rpn.head.cls_logits.{leaf}",)
        names[f"rpn.deltas.{leaf}"] = (f"rpn.head.bbox_pred.{leaf}",)
        names[f"head.fc6.{leaf}"] = (f"roi_heads.box_head.fc6.{leaf}",)
        names[f"head.fc7.{leaf}"] = (f"roi_heads.box_head.fc7.{leaf}",)
        names[f"class_logits.{leaf}"] = (f"roi_heads.box_predictor.cls_score.{leaf}",)
        names[f"box_deltas.{leaf}"] = (f"roi_heads.box_predictor.bbox_pred.{leaf}",)
    return names
