"""torchvision's weights of detectors of regions on a pyramid, the official files or any state dict of that form."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from sightline.backbones.weights import download_state_dict, read_state_dict
from sightline.errors import ConfigError, ModelFileError
from sightline.regions.two_stage import TwoStage, TwoStageConfig
from sightline.structures import Classes

NORM_EPSILON = 1e-5
_PREDICTOR = "roi_heads.box_predictor"

Model = TypeVar("Model", bound=TwoStage[Any])
Config = TypeVar("Config", bound=TwoStageConfig)


@dataclass(frozen=True)
class ClassLayer:
    """A layer with outputs for each class.

    Args:
        ours: prefix of our names.
        theirs: prefix of torchvision's names; there the background has outputs, and comes first.
        rows: outputs a class.
        background: whether ours has outputs for the background too.
    """

    ours: str
    theirs: str
    rows: int = 1
    background: bool = True


BOX_LAYERS = (
    ClassLayer("class_logits", f"{_PREDICTOR}.cls_score"),
    ClassLayer("box_deltas", f"{_PREDICTOR}.bbox_pred", rows=4),
)
"""The class layers of Faster R-CNN."""


@dataclass(frozen=True)
class Form:
    """How torchvision's weights of one detector are laid out.

    Args:
        system: torchvision's name of the detector, for errors.
        url: of the official weights.
        names: what ``categories`` the official weights know, the background first, "N/A" for ids without a class.
        layers: those with outputs for each class.
        further: our names to torchvision's, the present one first, beside trunk, pyramid, proposals and box head.
    """

    system: str
    url: str
    names: Sequence[str]
    layers: tuple[ClassLayer, ...] = BOX_LAYERS
    further: Mapping[str, tuple[str, ...]] | None = None

    def classes(self) -> Classes:
        """The outputs of the official model with COCO's ids; ids that COCO does not use are named ``unused ID``."""
        kept = [(name if name != "N/A" else f"unused {i}", i) for i, name in enumerate(self.names) if i > 0]
        return Classes(tuple(name for name, _ in kept), tuple(i for _, i in kept))


def start_from(
    form: Form, build: Callable[[Config, Classes], Model], config: Config, classes: Classes | None, weights: str
) -> Model:
    """A detector that starts from torchvision's weights.

    Of the official weights, classes of COCO's names keep their outputs, and other classes start anew. A file tells no
    names: it keeps its outputs if there are as many as classes. ``origin`` says what was done.

    Args:
        form: of the weights.
        build: makes the detector.
        config: of the pyramid form; ``norm=auto`` freezes.
        classes: what it is to tell apart; None for the outputs of the official weights.
        weights: ``coco`` for the official weights, from the cache or the network; or a safetensors file with
            torchvision's names.

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
    state = official_weights(form.url) if official else read_state_dict(Path(weights))
    known = form.classes() if official else None
    classes = known if classes is None else classes
    assert classes is not None
    frozen = 2 if config.frozen_stages == -1 else config.frozen_stages
    config = replace(config, norm="frozen" if config.norm == "auto" else config.norm, frozen_stages=frozen)
    model = build(config, classes)
    place = form.url if official else weights
    kept = _kept(state, known, classes)
    load_state(model, form, state, place, kept)
    model.origin = f"torchvision's weights {place}"
    anew = len(classes) if kept is not None and not kept else 0 if kept is None else len(classes) + 1 - len(kept)
    if anew:
        model.origin += f"; the outputs of {anew} of {len(classes)} classes start anew"
    return model


def _kept(state: Mapping[str, Tensor], known: Classes | None, classes: Classes) -> list[tuple[int, int]] | None:
    """Which outputs are whose, ours and theirs, the background 0; None where all are the same."""
    if known is not None and classes != known:
        both = [(1 + i, 1 + known.label_of(name)) for i, name in enumerate(classes.names) if name in known.names]
        return [(0, 0), *both]
    bias = f"{BOX_LAYERS[0].theirs}.bias"
    outputs = len(state[bias]) if bias in state else 1 + len(classes)
    return None if outputs == 1 + len(classes) else []


def official_weights(url: str) -> dict[str, Tensor]:
    """An official state dict, as a model with our norms' epsilon needs it.

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


def load_state(
    model: TwoStage[Any],
    form: Form,
    weights: Mapping[str, Tensor],
    place: str,
    kept: Sequence[tuple[int, int]] | None = None,
) -> None:
    """Takes over a state dict of torchvision's.

    Args:
        model: of the same backbone, with ``neck=fpn``.
        form: of the weights.
        weights: tensors by torchvision's names, those of before its version 0.14 included.
        place: where they come from, for errors.
        kept: outputs, ours and theirs, that are taken over, the background 0; the others stay. None takes all, in
            order.

    Raises:
        ModelFileError: a tensor is missing or has another shape.
    """
    own = model.state_dict()
    renamed: dict[str, Tensor] = {}
    for ours, theirs in {**_names(model), **(form.further or {})}.items():
        tensor = _found(form, weights, theirs, place)
        _require_shape(tensor, theirs[0], tuple(own[ours].shape), place)
        renamed[ours] = tensor
    pairs = list(kept) if kept is not None else [(i, i) for i in range(1 + len(model.classes))]
    for layer in form.layers if pairs else ():
        for leaf in ("weight", "bias"):
            ours = f"{layer.ours}.{leaf}"
            tensor = _found(form, weights, (f"{layer.theirs}.{leaf}",), place)
            if kept is None:
                outputs = (1 + len(model.classes)) * layer.rows
                _require_shape(tensor, f"{layer.theirs}.{leaf}", (outputs, *own[ours].shape[1:]), place)
            renamed[ours] = _with_outputs(own[ours], tensor, layer, pairs)
    model.load_state_dict(renamed, strict=False)


def _with_outputs(own: Tensor, theirs: Tensor, layer: ClassLayer, pairs: Sequence[tuple[int, int]]) -> Tensor:
    """Our tensor of a class layer with the outputs of some classes taken over."""
    first = 0 if layer.background else 1
    ours_of, theirs_of = torch.tensor([pair for pair in pairs if pair[0] >= first]).view(-1, 2).T
    changed = own.detach().clone()
    by_class = changed.view(-1, layer.rows, *own.shape[1:])
    by_class[ours_of - first] = theirs.to(torch.float32).view(-1, layer.rows, *theirs.shape[1:])[theirs_of]
    return changed


def _found(form: Form, weights: Mapping[str, Tensor], names: Sequence[str], place: str) -> Tensor:
    found = next((name for name in names if name in weights), None)
    if found is None:
        raise ModelFileError(
            f"no tensor {names[0]!r} in it",
            place=place,
            cause=f"not a state dict of torchvision's {form.system} with this backbone and a pyramid",
            cure="give --backbone-weights for weights of a backbone alone",
        )
    return weights[found].to(torch.float32)


def _require_shape(tensor: Tensor, name: str, wanted: tuple[int, ...], place: str) -> None:
    if tuple(tensor.shape) != wanted:
        raise ModelFileError(
            f"tensor {name!r} has shape {tuple(tensor.shape)}, the model needs {wanted}",
            place=place,
            cause="weights of another backbone or number of classes",
            cure="choose the backbone that the weights are of",
        )


def _names(model: TwoStage[Any]) -> dict[str, tuple[str, ...]]:
    """Our names to torchvision's, the present one first; class layers are told apart."""
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
    return names
