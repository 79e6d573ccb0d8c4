"""How a system learns: a recipe of stages that one runner runs, shows, checkpoints and resumes.

A *gradient stage* follows gradients; a *fit stage* is solved: SVMs, least squares, hard-negative mining.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from sightline.transforms.pipeline import Transform


@dataclass(frozen=True)
class Optimiser:
    """What moves the parameters.

    Args:
        kind: ``sgd`` with momentum, or ``adamw``.
        lr: peak learning rate for the stage's batch size.
        momentum: of SGD.
        betas: of AdamW.
        weight_decay: on matrices and filters; never on biases and norms.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    lr: float = 0.02
    momentum: float = 0.9
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 1e-4


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a share of its peak over the stage.

    Args:
        kind: ``step``, ``cosine`` or ``constant``.
        warmup_steps: optimiser steps of linear warm-up.
        warmup_start: share of the peak at the first step.
        milestones: shares of the stage at which ``step`` multiplies by ``gamma``.
        gamma: of ``step``.
        final: share of the peak at which ``cosine`` ends.
    """

    kind: Literal["step", "cosine", "constant"] = "step"
    warmup_steps: int = 500
    warmup_start: float = 1e-3
    milestones: tuple[float, ...] = (8 / 12, 11 / 12)
    gamma: float = 0.1
    final: float = 0.0


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that learn otherwise than the rest.

    Args:
        pattern: regular expression searched in the parameter's name.
        lr_scale: factor on the learning rate; 0 freezes.
    """

    pattern: str
    lr_scale: float = 1.0


@dataclass(frozen=True)
class GradientStage:
    """A stage that follows gradients.

    Args:
        name: shown in the log and in checkpoints.
        epochs: passes over the training split.
        batch_size: images an optimiser step sees, over all devices and accumulated batches.
        accumulate: parts that a batch is computed in, as equal as can be.
        optimiser: what moves the parameters.
        schedule: the learning rate over the stage.
        groups: parameters that learn otherwise; the first match counts.
        loss: name of the system's method that gives the named losses.
        augmentation: transforms of each training sample, in order.
        clip_norm: largest norm of the whole gradient, or None.
        clip_value: largest absolute gradient, or None.
        ema: decay of the exponential moving average that is evaluated and kept, or None.
        proposals: file in the run folder that an earlier fit wrote regions of the training images to
            (``proposals.kept``); empty for those of the system's proposer, if it has one.
        val_proposals: the same for the validation images, where there are any.
        judged: whether the system can answer during this stage; if not, it is not measured, and none of its weights
            count as the best.
    """

    name: str = "train"
    epochs: float = 12
    batch_size: int = 2
    accumulate: int = 1
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Schedule)
    groups: tuple[ParameterGroup, ...] = ()
    loss: str = "loss"
    augmentation: tuple[Transform, ...] = ()
    clip_norm: float | None = None
    clip_value: float | None = None
    ema: float | None = None
    proposals: str = ""
    val_proposals: str = ""
    judged: bool = True


class FitStopped(Exception):  # noqa: N818  # a request that was followed, not an error
    """A person asked for an end while a fit was at work; what it keeps on the disk lets it go on later."""


@dataclass(frozen=True)
class Workbench:
    """What a fit has at hand.

    Args:
        seed: of the run.
        folder: of the run, for what the fit computes and later stages or a resumption read again; it exists.
        tell: called with what is done, how many and of how many, at least every few seconds.
        log: takes a line for the person and for log.txt.
        warn: takes what the person must know to read the result right; it is logged as a warning, and stands in the
            report of the run and in its metrics.json.
        stopping: whether the person asked for an end; a fit that can go on where it was raises ``FitStopped`` then.
        validation: samples that later stages are measured by, for what those need of them; nothing is fitted to them.
    """

    seed: int
    folder: Path
    tell: Callable[[str, int, int], None]
    log: Callable[[str], None]
    warn: Callable[[str], None]
    stopping: Callable[[], bool]
    validation: Sequence[Any] = ()


@dataclass(frozen=True)
class FitStage:
    """A stage that is solved rather than followed: SVMs, least squares, hard-negative mining.

    Args:
        name: shown in the log and in checkpoints.
        fit: changes the system in place; gets the system, the training samples as a sequence (with proposals where the
            system has a proposer) and the workbench. Returns what is worth a column of the history, by name. Of several
            processes only the first one fits; the others get its tensors.
        judged: whether the system is judged afterwards; a stage that only prepares another need not be.
        smaller: options with which it takes less memory, for an answer where that runs out; empty: smaller images.
    """

    name: str
    fit: Callable[[Any, Sequence[Any], Workbench], Mapping[str, float]]
    judged: bool = True
    smaller: str = ""


Stage = GradientStage | FitStage


@dataclass(frozen=True)
class Recipe:
    """The stages by which a system learns, in order.

    Args:
        stages: at least one; the last one is judged.
        source: where the settings come from (paper and section).
    """

    stages: tuple[Stage, ...]
    source: str = ""

    def __post_init__(self) -> None:
        if not self.stages:
            raise ValueError("a recipe needs at least one stage")
        if not self.stages[-1].judged:
            raise ValueError("the last stage of a recipe must be judged: what it leaves is the model")
