"""From the name of a backbone to the backbone, with its weights and its norms as asked for."""

from pathlib import Path
from typing import Literal, get_args

import torchvision
from torch import Tensor, nn

from sightline.backbones.backbone import Backbone
from sightline.backbones.mobilenet import cut_mobilenet
from sightline.backbones.resnet import cut_resnet
from sightline.backbones.squeezenet import cut_squeezenet
from sightline.backbones.vgg import cut_vgg
from sightline.backbones.weights import download_state_dict, read_state_dict
from sightline.errors import ConfigError

BackboneName = Literal[
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "mobilenet_v2",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "squeezenet1_1",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
NormPolicy = Literal["frozen", "live"]
NAMES: tuple[str, ...] = get_args(BackboneName)


def _cut(model: nn.Module, name: str, with_tail: bool) -> Backbone:
    if isinstance(model, torchvision.models.ResNet):
        return cut_resnet(model, with_tail=with_tail)
    if isinstance(model, torchvision.models.VGG):
        return cut_vgg(model, with_tail=with_tail)
    if with_tail:
        raise ConfigError(
            f"backbone {name!r} has no part that a head for single regions could be made of",
            cause="neck=none needs ResNet's conv5_x or VGG's fc6 and fc7",
            cure="use neck=fpn, or a resnet or vgg backbone",
        )
    if isinstance(model, torchvision.models.SqueezeNet):
        return cut_squeezenet(model)
    return cut_mobilenet(model)


def _weights(name: str, weights: str) -> tuple[dict[str, Tensor], str]:
    """The state dict that ``weights`` names and where it is from."""
    if weights == "imagenet":
        url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
        return download_state_dict(url), url
    return read_state_dict(Path(weights)), weights


def build_backbone(
    name: str,
    *,
    weights: str | None = None,
    norm: NormPolicy = "frozen",
    with_tail: bool = False,
) -> Backbone:
    """A backbone by its name.

    Args:
        name: one of ``NAMES``; torchvision's names.
        weights: None for random ones, ``imagenet`` for torchvision's catalogue (IMAGENET1K_V1), or the path of a
            safetensors file with torchvision's names.
        norm: ``frozen`` batch norms keep their statistics and do not learn; ``live`` ones do as in classification.
        with_tail: keep the network's last part for use on single regions (ResNet, VGG).

    Raises:
        ConfigError: an unknown name, or no tail where one is asked for.
        ModelFileError: weights that cannot be read or do not fit.
    """
    if name not in NAMES:
        raise ConfigError(f"unknown backbone {name!r}", cure=f"use one of {', '.join(NAMES)}")
    backbone = _cut(torchvision.models.get_model(name, weights=None), name, with_tail)
    if norm == "frozen":
        backbone.freeze_norms()
    if weights is not None:
        state, place = _weights(name, weights)
        backbone.load_torchvision_weights(state, place)
    return backbone
