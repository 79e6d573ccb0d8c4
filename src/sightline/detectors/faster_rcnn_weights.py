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
_PREDICTOR = "roi_heads.box_predictor"
_CLASS_BIAS = f"{_PREDICTOR}.cls_score.bias"
OFFICIAL = FasterRCNN_ResNet50_FPN_Weights.COCO_V1


def coco_classes() -> Classes:
    """The 90 outputs of the official model with COCO's ids; ids that COCO does not use are named ``unused ID``."""
    names = OFFICIAL.meta["categories"]
    kept = [(name if name != "N/A" else f"unused {i}", i) for i, name in enumerate(names) if i > 0]
    return Classes(tuple(name for name, _ in kept), tuple(i for _, i in kept))


def faster_rcnn_from(config: FasterRCNNConfig, classes: Classes | None, weights: str) -> FasterRCNN:
    """Faster R-CNN that starts from torchvision's weights.

    Of the official weights, classes of COCO's names keep their outputs, and other classes start anew. A file tells no
    names: it keeps its outputs if there are as many as classes. ``origin`` says what was done.

    Args:
        config: of the pyramid form; ``norm=auto`` freezes.
        classes: what it is to tell apart; None for the 90 outputs of the official weights.
        weights: ``coco`` for ``fasterrcnn_resnet50_fpn`` as trained on COCO 2017 (box AP 37.0), from the cache or the
            network; or a safetensors file with torchvision's names.

    Raises:
        ConfigError: a form of the model that such weights do not exist for, or no classes where they are needed.
        ModelFileError: the weights cannot be had, are damaged or do not fit.
    """
    official = weights == "coco"
    if config.neck != "fpn" or (official and config.backbone != "resnet50"):
        raise ConfigError(
            f"weights={weights} do not fit backbone={config.backbone} with neck={config.neck}",
            cause="torchvision's weights are for neck=fpn, its official ones for resnet50",
            cure="leave backbone and neck as they are, or start from --backbone-weights imagenet",
        )
    if config.context:
        raise ConfigError(
            "torchvision's weights know no context",
            cause="with context=true classes and boxes are read off twice as many features",
            cure="leave context out, or start from --backbone-weights imagenet",
        )
    if classes is None and not official:
        raise ConfigError("classes are needed with weights from a file", cure="name the classes of its outputs")
    state = official_weights() if official else read_state_dict(Path(weights))
    known = coco_classes() if official else None
    classes = known if classes is None else classes
    assert classes is not None
    frozen = 2 if config.frozen_stages == -1 else config.frozen_stages
    config = replace(config, norm="frozen" if config.norm == "auto" else config.norm, frozen_stages=frozen)
    model = FasterRCNN(config, classes)
    outputs = len(state[_CLASS_BIAS]) if _CLASS_BIAS in state else 1 + len(classes)
    anew = 0
    if known is not None and classes != known:
        anew = _keep_outputs(model, state, known, classes)
    elif outputs != 1 + len(classes):
        anew = len(classes)
    renewed = anew > 0 or classes != (known or classes)
    load_torchvision_faster_rcnn(model, state, OFFICIAL.url if official else weights, new_classes=renewed)
    model.origin = f"torchvision's weights {OFFICIAL.url if official else weights}"
    if anew:
        model.origin += f"; the outputs of {anew} of {len(classes)} classes start anew"
    return model


def _keep_outputs(model: FasterRCNN, state: Mapping[str, Tensor], known: Classes, classes: Classes) -> int:
    """Copies the outputs of the background and of classes that both know by name; returns how many start anew."""
    kept = [(0, 0)]
    kept += [(1 + i, 1 + known.label_of(name)) for i, name in enumerate(classes.names) if name in known.names]
    ours, theirs = torch.tensor(kept).T
    with torch.no_grad():
        for leaf in ("weight", "bias"):
            scores, boxes = getattr(model.class_logits, leaf), getattr(model.box_deltas, leaf)
            scores[ours] = state[f"{_PREDICTOR}.cls_score.{leaf}"][theirs]
            by_class = boxes.view(1 + len(classes), 4, *boxes.shape[1:])
            old = state[f"{_PREDICTOR}.bbox_pred.{leaf}"]
            by_class[ours] = old.view(-1, 4, *old.shape[1:])[theirs]
    return len(classes) + 1 - len(kept)


def official_weights(url: str = OFFICIAL.url) -> dict[str, Tensor]:
    """The official state dict, as a model with our norms' epsilon needs it.

    Raises:
        ModelFileError: it cannot be downloaded, or is damaged.
    """
    weights = download_state_dict(url)
    # These weights were trained with norms without epsilon: their scales make up for the one that ours will add.
    for name in [n for n in weights if n.endswith(".running_var")]:
        scale = name.replace(".running_var", ".weight")
        variance = weights[name].double()
        weights[scale] = (weights[scale] * ((variance + NORM_EPSILON) / variance).sqrt()).float()
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
