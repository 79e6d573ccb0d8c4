"""What every system promises, and all that the upper floors know of one.

A *system* is a model plus a recipe. The model answers ``predict(images)``; evaluation, command line, web and report use
nothing else. A neural system has three further verbs, ``forward``, ``loss`` and ``decode``, one return type each, and
nothing in them depends on ``self.training``. The recipe says how the system learns, as stages that one runner runs,
shows, checkpoints and resumes.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from copy import copy, deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Generic, Literal, Self, TypeVar, cast, final

import torch
from torch import Tensor, nn

from sightline.errors import ConfigError
from sightline.proposals.build import build_proposer, names_model
from sightline.proposals.proposer import Proposer, as_pixels
from sightline.recipes import Recipe
from sightline.structures import Classes, Detections, ImageBatch, LossTerm, Size, Target
from sightline.transforms.preparation import Preparation

Task = Literal["classification", "localisation", "detection", "segmentation", "generation"]
Kind = Literal["boxes", "masks", "keypoints"]
"""What of an object is found, learned and judged."""
StepKind = Literal["boxes", "heat-map", "crops", "cells", "links", "tokens", "curve"]


@dataclass(frozen=True, eq=False)
class Step:
    """One thing that happened inside a system, as data that explain/ and web/ draw.

    Args:
        title: what this step is, in the paper's words.
        sentence: one sentence on what is seen.
        kind: how to draw it.
        tensors: what is drawn, by name; coordinates in pixels of the image that went in.
    """

    title: str
    sentence: str
    kind: StepKind
    tensors: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class Anchors:
    """The boxes that a system starts from in one image, and how it matches them to objects.

    Args:
        boxes: (A, 4) xyxy in pixels of the image that went in; they may reach over its border.
        positive: IoU with an object from which a box is taught to find it.
        negative: IoU with every object below which a box is taught that there is nothing.
        keeps_best: whether the best box of an object is taught to find it whatever their IoU.
    """

    boxes: Tensor
    positive: float
    negative: float
    keeps_best: bool


RANDOM_WEIGHTS = "random weights"
"""The origin of a system that starts from nothing."""


@dataclass(frozen=True)
class DataNeeds:
    """How much labelled data a system needs for results worth having, as far as anybody has measured.

    Args:
        images_given: training images, when it starts from given weights.
        images_random: training images, when it starts from random weights.
        objects_per_class: examples of each class.
        source: where the numbers were seen.
    """

    images_given: int
    images_random: int
    objects_per_class: int
    source: str


Raw = TypeVar("Raw")
Result = TypeVar("Result")


class System(ABC, Generic[Result]):
    """Anything that looks at images and answers: HOG and DPM as well as DETR.

    Attributes:
        name: the name in the catalogue.
        task: what kind of answer it gives; it picks the evaluator.
        classes: the classes that it answers with.
        finds: what of an object it finds; the last is what it is for, by which its best weights are chosen.
        keypoint_names: the keypoints that it finds, in order.
    """

    name: ClassVar[str]
    task: ClassVar[Task]
    classes: Classes
    finds: ClassVar[tuple[Kind, ...]] = ("boxes",)
    keypoint_names: tuple[str, ...] = ()

    @abstractmethod
    def predict(self, images: Tensor | Sequence[Tensor]) -> list[Result]:
        """One result an image, in pixels of the images that went in.

        Args:
            images: a list of (3, H, W) RGB tensors of any sizes, uint8 or float in 0..1; one such tensor; or a batch
                (B, 3, H, W).
        """

    @abstractmethod
    def recipe(self) -> Recipe:
        """How this system learns, with its paper's settings."""

    def anchors(self, size: Size) -> Anchors | None:
        """The boxes that it starts from in an image of a size (H, W), before it has looked; None without such boxes."""
        del size
        return None

    def data_needs(self) -> DataNeeds | None:
        """How much data it needs; None where nobody has said."""
        return None


Detector = System[Detections]


class CombinedSystem(System[Result], Generic[Result]):
    """A system that asks others and makes one answer of theirs; it learns nothing itself.

    Attributes:
        members: the systems that it was made of.
    """

    members: tuple[System[Result], ...]

    @abstractmethod
    def with_members(self, members: "Sequence[System[Result]]") -> Self:
        """The same combination of others: copies that only predict, on another device, in another precision.

        Args:
            members: as many as now, in the same order.
        """

    @abstractmethod
    def asked(self) -> "tuple[System[Result], ...]":
        """Each system in the form in which it is asked; several forms of one member share its parameters."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """What is combined and how, as plain values for reports and files."""

    @final
    def recipe(self) -> Recipe:
        """Nothing.

        Raises:
            ConfigError: always: its members learn, each by itself.
        """
        raise ConfigError(f"{self.name} does not learn", cure="train its members, each by itself")


def networks_of(system: System[Any]) -> "tuple[NeuralSystem[Any, Any], ...]":
    """The networks that a system asks, in the forms in which they are asked; nothing for a classical one."""
    if isinstance(system, NeuralSystem):
        return (system,)
    if isinstance(system, CombinedSystem):
        return tuple(network for part in system.asked() for network in networks_of(part))
    return ()


def with_proposers(system: System[Any], change: Callable[[Proposer, int], Proposer]) -> System[Any]:
    """The system with other proposers in the place of its own; its parameters are shared, it stays as it is.

    Args:
        system: any; without a proposer it is given back itself.
        change: from a proposer, and how many proposals it is asked for, to the one in its place.
    """
    if isinstance(system, CombinedSystem):
        return system.with_members([with_proposers(member, change) for member in system.members])
    if not isinstance(system, NeuralSystem) or system.proposer is None:
        return system
    other = copy(system)
    other.proposer = change(system.proposer, system.proposal_count)
    return other


class NeuralSystem(nn.Module, System[Result], Generic[Raw, Result]):
    """A system that is one differentiable network.

    ``forward`` gives a dataclass of the system's own with named intermediates; ``loss`` gives the named losses of a
    batch; ``decode`` turns the intermediates into results. None of them asks for ``self.training``; only layers that
    are defined by it (live batch norms, dropout) follow it.

    Attributes:
        config: the frozen dataclass that describes the system.
        preparation: how images become a batch; saved with the model.
        origin: where the weights come from, one line for the log and the model file.
        temperature: what ``predict`` divides the log-odds of scores by, so that they mean what they say; 1 leaves them
            alone. Fitted after training and kept in the model file. Thresholds inside ``decode`` are on the scores as
            the network gives them.
        proposer: what looks at the pixels of an image before the network does, in prediction and in training; None for
            systems that find their regions themselves.
        proposal_count: boxes that are asked of it for an image.
        proposer_model: file or run folder of a trained model whose region proposal network is to be the proposer; the
            catalogue loads it. Empty where it is not one.
        proposer_sha256: of that model's file, so that another in its place is noticed; empty as long as it is unknown.
        class_layers: prefixes of the names of parameters that belong to the classes; they start anew when a trained
            system is tuned to other classes.
    """

    config: Any
    preparation: Preparation
    origin: str = RANDOM_WEIGHTS
    temperature: float = 1.0
    proposer: Proposer | None = None
    proposal_count: int = 2000
    proposer_model: str = ""
    proposer_sha256: str = ""
    class_layers: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def forward(self, batch: ImageBatch) -> Raw:
        """The named intermediates of a prepared batch."""

    @abstractmethod
    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        """The losses of a prepared batch by name; training minimises the sum of their values.

        Each is a sum and its count, so that a batch may lie on several devices: training divides by the count of the
        whole batch. The names are the same for every batch, also for one without objects.

        Args:
            batch: prepared images.
            targets: one an image, in pixels of the batch.
        """

    @abstractmethod
    def decode(self, raw: Raw, batch: ImageBatch) -> list[Result]:
        """Results in pixels of the images that went in, one an image."""

    def steps(self, raw: Raw, batch: ImageBatch) -> tuple[Step, ...]:
        """What happened inside, in order; systems override this to be explained."""
        del raw, batch
        return ()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        """What ``to`` comes down to: a proposer that is a network follows to the device."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch says nothing of it
        if self.proposer is not None:
            self.proposer = self.proposer.on(self.device)
        return self

    @final
    def ask(self, proposer: str, count: int) -> None:
        """Take proposals from a proposer from now on.

        Args:
            proposer: a name of ``proposals.build``, or the place of a trained model, which the catalogue loads later.
            count: boxes that are asked for.

        Raises:
            ConfigError: no proposer of that name.
        """
        self.proposal_count, self.proposer_sha256 = count, ""
        if names_model(proposer):
            self.proposer, self.proposer_model = None, proposer
        else:
            self.proposer, self.proposer_model = build_proposer(proposer), ""

    @final
    def prepare(self, images: Tensor | Sequence[Tensor], proposals: Sequence[Tensor] | None = None) -> ImageBatch:
        """The images as a batch on this system's device, with the proposals of its proposer if it has one.

        Args:
            images: as for ``predict``.
            proposals: what ``proposals_of`` gave for these images, where it was asked before; None asks now.
        """
        if isinstance(images, Tensor) and images.ndim == 3:
            images = [images]
        images, device = list(images), self.device
        batch = self.preparation.batch([image.to(device) for image in images])
        if self.proposer is None:
            return batch
        found = self.proposals_of(images) if proposals is None else proposals
        sizes = batch.original_sizes
        boxes = tuple(self.preparation.boxes(each.to(device), size) for each, size in zip(found, sizes, strict=True))
        return replace(batch, proposals=boxes)

    @final
    def proposals_of(self, images: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """What the proposer finds in each image, (P, 4) in its pixels; nothing without a proposer."""
        if self.proposer is None:
            return ()
        return tuple(self.proposer.propose(as_pixels(image), self.proposal_count).boxes for image in images)

    @final
    def predict(self, images: Tensor | Sequence[Tensor]) -> list[Result]:
        """``predict_batch(prepare(images))``."""
        if len(images) == 0:
            return []
        with torch.inference_mode():
            return self.predict_batch(self.prepare(images))

    @final
    def predict_batch(self, batch: ImageBatch) -> list[Result]:
        """``decode(forward(batch))`` at the system's temperature, without gradients, in evaluation mode."""
        was_training = self.training
        self.eval()
        try:
            with torch.inference_mode():
                results = self.decode(self(batch), batch)
            return results if self.temperature == 1.0 else [calibrated(each, self.temperature) for each in results]
        finally:
            self.train(was_training)

    def for_prediction(self, precision: Literal["fp32", "bf16"] = "fp32") -> Self:
        """A copy that only predicts, faster: systems fold, fuse and convert what they can.

        Args:
            precision: ``bf16`` computes the network in bfloat16; boxes and scores stay float32.

        Raises:
            ConfigError: a precision that the system does not offer; the default offers fp32 alone.
        """
        if precision != "fp32":
            raise ConfigError(f"{self.name} predicts in fp32 only", cure="leave the precision at fp32")
        return deepcopy(self).eval().requires_grad_(False)


def calibrated(result: Result, temperature: float) -> Result:
    """A result with its scores at a temperature.

    Raises:
        TypeError: a result that has no scores.
    """
    if not isinstance(result, Detections):
        raise TypeError(f"a temperature is for the scores of detections, and a {type(result).__name__} has none")
    return cast(Result, result.at_temperature(temperature))
