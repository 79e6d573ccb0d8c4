"""What every backbone is: a chain of stages, each at one stride, some of which emit their map.

The modules and the weight catalogue are torchvision's (BSD-3-Clause); what is here is how they are cut. A backbone
keeps the names that torchvision's state dict has, so that files of that form load by ``load_torchvision_weights``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sightline.errors import ModelFileError
from sightline.layers.norms import FrozenNormConv2d, freeze_norms
from sightline.structures import FeatureMaps


@dataclass(frozen=True)
class Stage:
    """One stage of a backbone.

    Args:
        module: maps the output of the stage before to this one's.
        channels: of the output.
        stride: pixels of the image that one step on the output spans.
    """

    module: nn.Module
    channels: int
    stride: int


class Backbone(nn.Module):
    """A chain of stages.

    Args:
        stages: in order, the image first; their modules are parts of ``source``.
        source: the torchvision model that the stages were cut from; it names the weights.
        tail: what ``source`` has behind the stages and a region detector may use as its head, or None.

    Attributes:
        channels: of each emitted map.
        strides: of each emitted map; every stage from stride 4 on emits the last map at its stride.
    """

    def __init__(self, stages: Sequence[Stage], source: nn.Module, tail: nn.Module | None = None) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stage.module for stage in stages)
        strides = [stage.stride for stage in stages]
        self._emits = tuple(i for i, stride in enumerate(strides) if stride >= 4 and stride not in strides[i + 1 :])
        self.channels = tuple(stages[i].channels for i in self._emits)
        self.strides = tuple(strides[i] for i in self._emits)
        self.tail = tail
        self.torchvision_names = _shared_names(source, self)

    def forward(self, images: Tensor) -> FeatureMaps:
        """(B, 3, H, W) normalised to one (B, channels[i], H / strides[i], W / strides[i]) map a level."""
        maps = []
        x = images
        for index, stage in enumerate(self.stages):
            x = stage(x)
            if index in self._emits:
                maps.append(x)
        return FeatureMaps(tuple(maps), self.strides)

    def freeze_norms(self) -> None:
        """Freezes every batch norm into the convolution before it."""
        before = dict(self.state_dict(keep_vars=True))
        freeze_norms(self)
        self.torchvision_names = _renamed(self.torchvision_names, before, self)

    def freeze_stages(self, count: int) -> None:
        """The first ``count`` stages stop learning."""
        for stage in list(self.stages)[:count]:
            stage.requires_grad_(False)

    def end_at(self, stride: int) -> None:
        """Drops the stages behind the last one whose map has at most this stride, and their names with them."""
        kept = [i for i, emitted in zip(self._emits, self.strides, strict=True) if emitted <= stride]
        self.stages = self.stages[: kept[-1] + 1]
        self._emits = tuple(kept)
        self.channels, self.strides = self.channels[: len(kept)], self.strides[: len(kept)]
        own = self.state_dict()
        self.torchvision_names = {theirs: ours for theirs, ours in self.torchvision_names.items() if ours in own}

    def take_tail(self) -> nn.Module:
        """Hands the tail over to a head that owns it from then on.

        Raises:
            ValueError: this backbone was built without a tail.
        """
        if self.tail is None:
            raise ValueError("this backbone has no tail")
        tail, self.tail = self.tail, None
        return tail

    def load_torchvision_weights(self, weights: Mapping[str, Tensor], place: str) -> None:
        """Takes over a state dict of torchvision's names; classifier layers that are not used may be in it.

        Args:
            weights: tensors by torchvision's names.
            place: the file that they come from, for errors.

        Raises:
            ModelFileError: a tensor is missing or has another shape.
        """
        own = self.state_dict()
        renamed = {}
        for theirs, ours in self.torchvision_names.items():
            if theirs.endswith("num_batches_tracked"):
                continue
            if theirs not in weights:
                raise ModelFileError(
                    f"no tensor {theirs!r} in it",
                    place=place,
                    cause="weights of another backbone",
                    cure="give --backbone-weights a file of the backbone that --backbone names",
                )
            if weights[theirs].shape != own[ours].shape:
                raise ModelFileError(
                    f"tensor {theirs!r} has shape {tuple(weights[theirs].shape)}, the backbone needs "
                    f"{tuple(own[ours].shape)}",
                    place=place,
                    cause="weights of another backbone",
                    cure="give --backbone-weights a file of the backbone that --backbone names",
                )
            renamed[ours] = weights[theirs].to(torch.float32)
        self.load_state_dict(renamed, strict=False)


def _shared_names(source: nn.Module, own: nn.Module) -> dict[str, str]:
    """Names in ``source`` to names in ``own`` of the tensors that are the same objects."""
    names = {id(tensor): name for name, tensor in own.state_dict(keep_vars=True).items()}
    source_tensors = source.state_dict(keep_vars=True).items()
    return {name: names[id(tensor)] for name, tensor in source_tensors if id(tensor) in names}


def _renamed(names: Mapping[str, str], before: Mapping[str, Tensor], own: nn.Module) -> dict[str, str]:
    """``names`` after batch norms moved into convolutions: parameters by identity, norms by their convolution."""
    after = {id(tensor): name for name, tensor in own.state_dict(keep_vars=True).items()}
    convolutions = [name for name, module in own.named_modules() if isinstance(module, FrozenNormConv2d)]
    norms = list(dict.fromkeys(ours.rsplit(".", 1)[0] for ours in names.values() if ours.endswith("running_var")))
    moved = dict(zip(norms, convolutions, strict=True))
    renamed = {}
    for theirs, ours in names.items():
        owner, leaf = ours.rsplit(".", 1)
        if owner in moved:
            if leaf != "num_batches_tracked":
                renamed[theirs] = f"{moved[owner]}.norm.{leaf}"
        else:
            renamed[theirs] = after[id(before[ours])]
    return renamed
