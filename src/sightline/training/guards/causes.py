"""Why a loss or a gradient is not finite, found by looking and by computing the batch again, never by guessing.

Each look leaves something out (an image, its doubtful objects, the low precision): what makes the numbers finite by its
absence is the cause.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sightline.contract import NeuralSystem
from sightline.structures import ImageBatch, Target
from sightline.training.guards.replay import Outcome, compute_apart
from sightline.training.loader import TrainBatch

HUGE_WEIGHT = 1e4
"""A weight above it is far from anything that networks with normalised inputs learn."""

TINY_SIDE = 0.1
"""Pixels; a box with a shorter side is doubtful: logarithms and quotients of its sides explode."""

_GROWTH = 10.0
_TOLD = 5
_MOST_ALONE = 32
"""Images that are computed one by one to find the one that does it."""


@dataclass(frozen=True)
class Cause:
    """One thing that was found.

    Args:
        found: what was seen.
        cure: what can be done about it.
    """

    found: str
    cure: str


@dataclass(frozen=True)
class Evidence:
    """What there is to look at after a step that went wrong.

    Args:
        system: with the weights from before the step.
        loss: name of the method that gives the losses.
        parts: of the batch.
        draws: the numbers that seeded each part's draws.
        precision: ``32-true``, ``bf16-mixed`` or ``16-mixed``.
        last_losses: summed losses of the steps before, oldest first.
        learning_rate: of the step.
        peak_rate: the largest of the stage.
        recompute: whether this process may compute the batch again (not where all processes would have to at once).
        processes: that share the batch; ``parts`` are of this one.
        elsewhere: whether the losses of this process are finite and those of another are not.
        clip_norm: of the stage.
    """

    system: NeuralSystem[Any, Any]
    loss: str
    parts: Sequence[TrainBatch]
    draws: Sequence[tuple[int, ...]]
    precision: str
    last_losses: Sequence[float]
    learning_rate: float
    peak_rate: float
    recompute: bool = True
    processes: int = 1
    elsewhere: bool = False
    clip_norm: float | None = None

    @property
    def slower(self) -> str:
        """The cure of steps that are too long."""
        clip = 1.0 if self.clip_norm is None or self.clip_norm > 1 else self.clip_norm / 10
        return f"train with --recipe optimiser.lr={self.peak_rate / 2:.3g}, or with --recipe clip_norm={clip:g}"

    def again(self, index: int, part: TrainBatch | None = None, precision: str | None = None) -> Outcome:
        """A part computed again: as it was, or with other images or another precision."""
        return compute_apart(
            self.system,
            self.loss,
            self.parts[index] if part is None else part,
            precision=precision or self.precision,
            draws=self.draws[index],
        )


def find_causes(evidence: Evidence) -> tuple[Cause, ...]:
    """All that was found, the surest first; never empty."""
    found = [*_weights(evidence), *_pixels(evidence.parts)]
    exploded = _explosion(evidence)
    if evidence.elsewhere:
        found.append(_ELSEWHERE)
    elif not found and not evidence.recompute:
        found.append(Cause(_NOT_COMPUTED, evidence.slower))
    elif not found:
        bad = [index for index in range(len(evidence.parts)) if not evidence.again(index).finite]
        found += [cause for index in bad for cause in _recomputed(evidence, index)]
        if not bad and evidence.processes > 1:
            found.append(_ELSEWHERE)
        elif not bad and not exploded:  # numbers at the edge of their range may pass once and not again
            found.append(_NOT_AGAIN)
    found += exploded
    if not found:
        found.append(Cause("images, boxes, weights and the last losses look sound", evidence.slower))
    return tuple(found)


def _weights(evidence: Evidence) -> list[Cause]:
    """Weights that are not finite already, or huge."""
    largest, name = 0.0, ""
    for own, parameter in evidence.system.named_parameters():
        value = float(parameter.detach().abs().max()) if parameter.numel() else 0.0
        if not math.isfinite(value):
            return [Cause(f"the weight {own} is not finite since an earlier step", evidence.slower)]
        if value > largest:
            largest, name = value, own
    return [Cause(f"the weight {name} has grown to {largest:.3g}", evidence.slower)] if largest > HUGE_WEIGHT else []


def _pixels(parts: Sequence[TrainBatch]) -> list[Cause]:
    return [
        Cause(f"pixels of {name} are not finite", f"leave {name} out of the set, or repair it")
        for part in parts
        for name, image in zip(part.names, part.images.images, strict=True)
        if not bool(torch.isfinite(image).all())
    ]


def _recomputed(evidence: Evidence, index: int) -> list[Cause]:
    """What makes a part finite when it is left out."""
    part, found = evidence.parts[index], []
    doubtful = [_doubtful(target) for target in part.targets]
    if any(bool(mask.any()) for mask in doubtful) and evidence.again(index, _without(part, doubtful)).finite:
        found += [
            Cause(f"{_described(target, mask)} of {name}: without, all is finite", _REPAIR)
            for name, target, mask in zip(part.names, part.targets, doubtful, strict=True)
            if bool(mask.any())
        ]
    if evidence.precision != "32-true" and evidence.again(index, precision="32-true").finite:
        found.append(
            Cause(
                f"{evidence.precision} overflows: the same batch in 32 bits is finite",
                "train with --precision 32" + (" or bf16-mixed" if evidence.precision == "16-mixed" else ""),
            )
        )
    if not found:
        found += _alone(evidence, index) + _place(evidence, index)
    return found


def _alone(evidence: Evidence, index: int) -> list[Cause]:
    """The images that do it without the others, where not all of them do."""
    part = evidence.parts[index]
    if not 1 < len(part) <= _MOST_ALONE:
        return []
    bad = [i for i in range(len(part)) if not evidence.again(index, only(part, i)).finite]
    if not 0 < len(bad) < len(part):
        return []
    names = ", ".join(part.names[i] for i in bad)
    return [Cause(f"of the batch's images {names} alone does it, the others do not", f"look at {names} and its boxes")]


def _place(evidence: Evidence, index: int) -> list[Cause]:
    """The first module whose output is not finite; else the operation whose gradient is not a number."""
    seen: list[str] = []
    hooks = [
        module.register_forward_hook(_noting(name, seen)) for name, module in evidence.system.named_modules() if name
    ]
    try:
        evidence.again(index)
    finally:
        for hook in hooks:
            hook.remove()
    if seen:
        return [Cause(f"the first numbers that are not finite come out of {seen[0]}", evidence.slower)]
    try:
        with warnings.catch_warnings(action="ignore"), torch.autograd.detect_anomaly():
            evidence.again(index)
    except RuntimeError as error:
        if "returned nan values" not in str(error):
            raise
        operation = str(error).partition("'")[2].partition("'")[0]
        return [Cause(f"the losses are sound, but {operation} gives a gradient that is not a number", _REPORT)]
    return []


def _noting(name: str, seen: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def note(module: nn.Module, given: Any, output: Any) -> None:
        del module, given
        tensors = output if isinstance(output, tuple | list) else [output]
        if not all(bool(torch.isfinite(t).all()) for t in tensors if isinstance(t, Tensor)):
            seen.append(name)

    return note


def _explosion(evidence: Evidence) -> list[Cause]:
    """Whether the losses of the last steps rose out of their range."""
    losses = [loss for loss in evidence.last_losses if math.isfinite(loss)]
    if len(losses) < 2 or losses[-1] <= _GROWTH * min(losses):
        return []
    told = ", ".join(f"{loss:.3g}" for loss in losses[-_TOLD:])
    rate = f"{evidence.learning_rate:.3g}"
    return [
        Cause(
            f"the summed loss of the last steps was {told} at a learning rate of {rate}: it exploded", evidence.slower
        )
    ]


def _doubtful(target: Target) -> Tensor:
    """Objects whose box is all but flat or lies outside of the image, (N,) bool."""
    boxes = target.boxes
    sides = boxes[:, 2:] - boxes[:, :2]
    height, width = target.size
    outside = (boxes[:, 0] >= width) | (boxes[:, 1] >= height) | (boxes[:, 2] <= 0) | (boxes[:, 3] <= 0)
    return (sides < TINY_SIDE).any(dim=1) | outside


def _described(target: Target, mask: Tensor) -> str:
    x1, y1, x2, y2 = target.boxes[mask][0].tolist()
    width, height = x2 - x1, y2 - y1
    return f"a box of {width:.3g} x {height:.3g} pixels at x {x1:.4g}, y {y1:.4g}"


def _without(part: TrainBatch, doubtful: Sequence[Tensor]) -> TrainBatch:
    kept = tuple(target.select(~mask) for target, mask in zip(part.targets, doubtful, strict=True))
    return TrainBatch(part.images, kept, part.names)


def only(part: TrainBatch, index: int) -> TrainBatch:
    """One image of a batch, padded as it was."""
    images, here = part.images, slice(index, index + 1)
    one = ImageBatch(
        images.images[here],
        images.sizes[here],
        images.original_sizes[here],
        images.offsets[here],
        images.seeds[here],
        images.proposals[here],
    )
    return TrainBatch(one, part.targets[here], part.names[here])


_NOT_COMPUTED = "pixels are finite; the batch was not computed again, since its live batch norms join all processes"
_NOT_AGAIN = Cause(
    "the same batch with the same weights is finite when it is computed again",
    "run it again; if it stops again at another step, test the memory of the machine",
)
_ELSEWHERE = Cause(
    "the images of this process are finite: those of another process did it",
    "look into what the other processes kept, stopped and stopped-rank-N",
)
_REPORT = "report it with the batch that was kept: the system's loss has no gradient there"
_REPAIR = "correct the box, or run `sightline data check`"
