"""What happens when a step gives numbers that are not finite: the run stops, and what did it is kept to be looked at.

The folder ``stopped`` of the run then holds batch.safetensors (images and targets as the network saw them),
model.safetensors (a model file with the weights from before the step; running statistics of live batch norms have seen
the batch), optimiser.safetensors, and report.json. Processes of a distributed run other than the first write
``stopped-rank-N``.
"""

import json
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from sightline.contract import NeuralSystem
from sightline.errors import ModelFileError, SightlineError
from sightline.layers.sync_norm import SyncBatchNorm2d
from sightline.model_file import load_weights, write_model
from sightline.structures import ImageBatch, Target
from sightline.training.guards.causes import Cause, Evidence, find_causes
from sightline.training.guards.replay import Outcome, compute_apart
from sightline.training.loader import TrainBatch
from sightline.training.steps import NotFiniteError

FOLDER = "stopped"
_REPORT, _BATCH, _MODEL, _OPTIMISER = "report.json", "batch.safetensors", "model.safetensors", "optimiser.safetensors"
_OBJECT_TENSORS = ("boxes", "labels", "ignore", "areas", "masks", "keypoints")
_NAMED_IMAGES = 8


@dataclass(frozen=True)
class Circumstances:
    """Where a run stood when a step went wrong.

    Args:
        stage: name of the stage.
        step: optimiser steps done in the stage before this one.
        seed: of the run.
        rank: of this process.
        run: the run folder.
        optimiser: what the optimiser remembers, by name.
    """

    stage: str
    step: int
    seed: int
    rank: int
    run: Path
    optimiser: Mapping[str, Tensor]


def stop(error: NotFiniteError, evidence: Evidence, where: Circumstances) -> SightlineError:
    """Look for the cause, keep the batch and the state, and give the error to end the run with.

    Args:
        error: what the step found.
        evidence: what there is to look at; gradients of the step are still in the system.
        where: the step.
    """
    gradients = [
        name
        for name, parameter in evidence.system.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
    ]
    causes = find_causes(evidence)
    folder = where.run / (FOLDER if where.rank == 0 else f"{FOLDER}-rank-{where.rank}")
    try:
        _save(folder, evidence, where, _report(error, evidence, where, gradients, causes))
        kept = f"batch and state are in {folder}"
    except (OSError, SafetensorError, SightlineError) as failure:
        kept = f"batch and state could not be kept ({failure})"
    names = [name for part in evidence.parts for name in part.names]
    more = f" and {len(names) - _NAMED_IMAGES} more" if len(names) > _NAMED_IMAGES else ""
    return SightlineError(
        f"{error.what} at step {where.step + 1} of stage {where.stage}: stopped before the weights changed; {kept}",
        place=", ".join(names[:_NAMED_IMAGES]) + more,
        cause="; ".join(cause.found for cause in causes),
        cure=f"{causes[0].cure}; {_way_on(where.run)}",
    )


def _way_on(run: Path) -> str:
    """How training can go on: a run that is resumed keeps its settings and would meet the same batch again."""
    best = run / "best.safetensors"
    start = f", which may start from --weights {best}" if best.exists() else ""
    return f"the last checkpoint is sound, but with its settings --resume stops here again: begin a new run{start}"


@dataclass(frozen=True, eq=False)
class Stopped:
    """What a run kept when it stopped.

    Args:
        report: report.json: stage, step, seed, learning_rate, losses, last_losses, gradients, images, causes ...
        parts: the batch, in the parts that it was computed in, on the CPU.
        model: the model file with the weights from before the step.
        optimiser: what the optimiser remembered, as ``parameter name:quantity``.
    """

    report: Mapping[str, Any]
    parts: tuple[TrainBatch, ...]
    model: Path
    optimiser: Mapping[str, Tensor]

    def replay(self, system: NeuralSystem[Any, Any], precision: str | None = None) -> tuple[Outcome, ...]:
        """The losses and gradients of the parts, computed again with the same weights and draws.

        Args:
            system: as ``sightline.load`` gives it for :attr:`model`; its weights are replaced by those that were kept.
            precision: another one than that of the run: ``32-true``, say, to see whether an overflow is to blame.
        """
        load_weights(self.model, system)
        system.to(memory_format=torch.channels_last)
        frozen = set(self.report["frozen"])
        for name, parameter in system.named_parameters():
            parameter.requires_grad_(name not in frozen)
        chosen = precision or self.report["precision"]
        return tuple(
            compute_apart(system, self.report["loss"], part, precision=chosen, draws=tuple(draws))
            for part, draws in zip(self.parts, self.report["draws"], strict=True)
        )


def load_stopped(folder: str | Path) -> Stopped:
    """What a run kept in its folder ``stopped``.

    Raises:
        ModelFileError: it is not there, or damaged.
    """
    folder = Path(folder)
    try:
        report = json.loads((folder / _REPORT).read_text(encoding="utf-8"))
        tensors = load_file(folder / _BATCH)
        parts = tuple(_part(tensors, index, described) for index, described in enumerate(report["parts"]))
        optimiser = load_file(folder / _OPTIMISER)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelFileError(
            f"holds nothing that a stopped run kept ({error})",
            place=folder,
            cause="the path is not a run's folder `stopped`, or a file in it is damaged",
        ) from error
    return Stopped(report, parts, folder / _MODEL, optimiser)


def _report(
    error: NotFiniteError, evidence: Evidence, where: Circumstances, gradients: list[str], causes: Sequence[Cause]
) -> dict[str, Any]:
    return {
        "what": error.what,
        "stage": where.stage,
        "step": where.step + 1,
        "seed": where.seed,
        "rank": where.rank,
        "learning_rate": evidence.learning_rate,
        "precision": evidence.precision,
        "device": str(evidence.system.device),
        "images": [list(part.names) for part in evidence.parts],
        "losses": [{name: _number(value) for name, value in losses.items()} for losses in error.losses],
        "last_losses": [_number(value) for value in evidence.last_losses],
        "gradients_not_finite": gradients,
        "causes": [{"found": cause.found, "cure": cause.cure} for cause in causes],
        "loss": evidence.loss,
        "draws": [list(draws) for draws in evidence.draws],
        "frozen": [name for name, p in evidence.system.named_parameters() if not p.requires_grad],
        "parts": [_described(part) for part in evidence.parts],
    }


def _save(folder: Path, evidence: Evidence, where: Circumstances, report: Mapping[str, Any]) -> None:
    """All files in a folder that takes the place of an older one when it is whole."""
    new = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    tensors: dict[str, Tensor] = {}
    for index, part in enumerate(evidence.parts):
        tensors |= _tensors(part, index)
    save_file(tensors, new / _BATCH)
    save_file(dict(where.optimiser), new / _OPTIMISER)
    stage = f"{where.stage}, stopped at step {where.step + 1}"
    write_model(new / _MODEL, evidence.system, stage=stage, metrics={}, provenance=evidence.system.origin)
    (new / _REPORT).write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    new.rename(folder)


def _number(value: float) -> float | str:
    """JSON has no word for what is not finite."""
    return value if math.isfinite(value) else str(value)


def _described(part: TrainBatch) -> dict[str, Any]:
    images = part.images
    return {
        "names": part.names,
        "sizes": images.sizes,
        "original_sizes": images.original_sizes,
        "offsets": images.offsets,
        "seeds": images.seeds,
        "target_sizes": [target.size for target in part.targets],
    }


def _tensors(part: TrainBatch, index: int) -> dict[str, Tensor]:
    """The tensors of a part by name; the images as they lie in memory come back channels last."""
    tensors = {f"{index}.images": part.images.images.detach().to("cpu").contiguous()}
    for place, boxes in enumerate(part.images.proposals):
        tensors[f"{index}.{place}.proposals"] = boxes.detach().to("cpu", copy=True).contiguous()
    for place, target in enumerate(part.targets):
        for name in _OBJECT_TENSORS:
            value = getattr(target, name)
            if value is not None:
                tensors[f"{index}.{place}.{name}"] = value.detach().to("cpu", copy=True).contiguous()
    return tensors


def _part(tensors: Mapping[str, Tensor], index: int, described: Mapping[str, Any]) -> TrainBatch:
    sizes = {name: tuple(map(tuple, described[name])) for name in ("sizes", "original_sizes", "offsets")}
    pixels = tensors[f"{index}.images"].contiguous(memory_format=torch.channels_last)
    targets = []
    for place, size in enumerate(described["target_sizes"]):
        values = {name: tensors.get(f"{index}.{place}.{name}") for name in _OBJECT_TENSORS}
        targets.append(Target(size=tuple(size), **values))  # type: ignore[arg-type]  # boxes and labels are always there
    proposals = [tensors.get(f"{index}.{place}.proposals") for place in range(len(targets))]
    images = ImageBatch(
        pixels,
        sizes["sizes"],
        sizes["original_sizes"],
        sizes["offsets"],
        tuple(described["seeds"]),
        tuple(boxes for boxes in proposals if boxes is not None),
    )
    return TrainBatch(images, tuple(targets), tuple(described["names"]))


def synchronised(system: nn.Module) -> bool:
    """Whether a forward pass waits for the other processes: batch norms over all devices."""
    return any(isinstance(module, SyncBatchNorm2d) for module in system.modules())
