"""What the alternating training of Faster R-CNN does between its four stages (Ren et al. 2015, section 3.2).

The paper trains two networks that share nothing, a region proposal network and a Fast R-CNN on its proposals, both from
ImageNet's weights, and then lets the first have the second's convolutions. Here one system stands for both: the trunk
that it starts from is set aside, and put back when the proposals have been made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sightline.errors import SightlineError
from sightline.files import replace_atomically, writing
from sightline.proposals.kept import write_proposals
from sightline.recipes import FitStopped, Workbench
from sightline.regions.two_stage import TwoStage
from sightline.structures import Sample

PROPOSALS, VAL_PROPOSALS = "alternating/proposals.safetensors", "alternating/val_proposals.safetensors"
_TRUNK = "alternating/trunk.safetensors"
_SHARED = ("backbone.", "neck.")
_AT_ONCE = 4


def set_trunk_aside(system: TwoStage[Any], samples: Sequence[Sample], bench: Workbench) -> Mapping[str, float]:
    """Keep the convolutions that both networks start from in the run folder."""
    del samples
    trunk = {name: value.cpu().contiguous() for name, value in system.state_dict().items() if name.startswith(_SHARED)}
    path = bench.folder / _TRUNK
    with writing(path, "make room and go on with --resume"):
        path.parent.mkdir(exist_ok=True)
        replace_atomically(path, lambda beside: save_file(trunk, beside))
    return {}


def propose_and_begin_anew(system: TwoStage[Any], samples: Sequence[Sample], bench: Workbench) -> Mapping[str, float]:
    """Keep the network's proposals for the images of both splits, and give the trunk back what it started from.

    The second stage learns from the ones and is measured by the others: on the trunk that begins anew the network's own
    would be nobody's.
    """
    was_training = system.training
    system.eval()
    found = _keep(system, samples, bench, "training", PROPOSALS)
    if bench.validation:
        _keep(system, bench.validation, bench, "validation", VAL_PROPOSALS)
    system.train(was_training)
    system.load_state_dict(_trunk(bench.folder / _TRUNK), strict=False)
    return {"proposals": found / len(samples)}


def _keep(system: TwoStage[Any], samples: Sequence[Sample], bench: Workbench, split: str, name: str) -> int:
    """Write the proposals of a split; gives how many there are."""
    found: list[Tensor] = []
    for first in range(0, len(samples), _AT_ONCE):
        if bench.stopping():
            raise FitStopped
        some = [samples[index].image for index in range(first, min(first + _AT_ONCE, len(samples)))]
        found += _proposals(system, some)
        bench.tell(f"proposing regions in the {split} split", len(found), len(samples))
    write_proposals(bench.folder / name, found)
    return sum(map(len, found))


@torch.inference_mode()
def _proposals(system: TwoStage[Any], images: Sequence[Tensor]) -> list[Tensor]:
    """As many as training uses, in pixels of the images."""
    batch = system.prepare(images)
    _, proposals = system.propose(system.features(batch), batch, training=True)
    parts = torch.split(proposals.boxes, proposals.counts().tolist())
    return [batch.to_original(boxes, index).cpu().clone() for index, boxes in enumerate(parts)]


def _trunk(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise SightlineError(
            f"the trunk that the run began with cannot be read ({error})",
            place=path,
            cause="it was deleted, or damaged by a disk that failed",
            cure="start the training again",
        ) from error
