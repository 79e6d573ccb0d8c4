"""Proposals are made once for an image: what was made is kept on the disk, known by the image's pixels.

A proposal file is a safetensors file in ``$SIGHTLINE_CACHE/proposals``, ``$XDG_CACHE_HOME/sightline/proposals`` or
``~/.cache/sightline/proposals``, named by the hash of the pixels, the proposer's name, version and settings and the
count asked for: another release, setting or picture looks elsewhere and finds nothing. The folder can be deleted at any
time. A damaged file is read as none, and where nothing can be written each run makes its proposals anew.
"""

import hashlib
import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from sightline.files import cache_folder
from sightline.processes import ALONE, Processes
from sightline.proposals.kept import ProposedSamples
from sightline.proposals.proposer import ImageProposals, Proposer, as_pixels
from sightline.runtime import usable_cores
from sightline.structures import Sample

FORMAT = 1
"""Raised whenever files are written in another way: older ones are then not found."""


class Made(NamedTuple):
    """What a proposer gave, now or in an earlier run.

    Args:
        proposals: of one image.
        seconds: that making them took; reading kept ones takes milliseconds.
        kept: whether they were on the disk already.
    """

    proposals: ImageProposals
    seconds: float
    kept: bool


@dataclass(frozen=True)
class CachedProposer(Proposer):
    """A proposer that looks on the disk first, and answers as the one that it keeps the proposals of.

    Args:
        proposer: makes what is not there.
        folder: where proposals are kept; None keeps none.
    """

    proposer: Proposer
    folder: Path | None

    def __post_init__(self) -> None:
        for fact in ("name", "summary", "source", "version", "segments", "scored", "controllable"):
            object.__setattr__(self, fact, getattr(self.proposer, fact))

    def on(self, device: torch.device) -> "CachedProposer":
        """The same, of the proposer on the device; what is kept does not depend on it."""
        return replace(self, proposer=self.proposer.on(device))

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        """What the proposer gives."""
        return self.made(image, count).proposals

    def made(self, image: Tensor, count: int) -> Made:
        """What the proposer gives, with the time that it took.

        Args:
            image: as for ``propose``.
            count: as for ``propose``.
        """
        place = None if self.folder is None else self.folder / _name(self.proposer, image, count)
        known = None if place is None else _read(place, image)
        if known is not None:
            return known
        start = time.perf_counter()
        proposals = self.proposer.propose(image, count)
        made = Made(proposals, time.perf_counter() - start, kept=False)
        if place is not None:
            # No space or no permission costs time in the next run and nothing else.
            with suppress(OSError, SafetensorError):
                _write(place, made)
        return made


def cached(proposer: Proposer) -> CachedProposer:
    """A proposer that keeps its proposals in the user's cache folder, if there is one."""
    if isinstance(proposer, CachedProposer):
        return proposer
    try:
        return CachedProposer(proposer, cache_folder("proposals"))
    except RuntimeError:  # the user has no home folder
        return CachedProposer(proposer, None)


def propose_for(
    samples: Sequence[Sample],
    proposer: Proposer,
    count: int,
    tell: Callable[[int, int], None],
    processes: Processes = ALONE,
) -> Sequence[Sample]:
    """The samples with proposals of their images, which are looked at once, by as many threads as there are cores.

    Several processes that need the same each begin with another share: what is left when one has done its own, the
    others have put on the disk by then.

    Args:
        samples: of a data set. Where they are in memory, so are those with proposals; else only the proposals are, and
            images are decoded when they are asked for.
        proposer: its proposals are read from the disk where they are kept, and kept where not.
        count: proposals asked for an image.
        tell: called with images done and images in all; what it raises ends the work, and what was made stays on the
            disk.
        processes: this one among those that need the same proposals.

    Raises:
        DataError: an image that cannot be read.
    """
    keeping = cached(proposer)
    turns = [(processes.rank + turn) % processes.count for turn in range(processes.count)]
    order = [index for first in turns for index in range(first, len(samples), processes.count)]

    def boxes_of(index: int) -> Tensor:
        return keeping.propose(as_pixels(samples[index].image), count).boxes

    found: dict[int, Tensor] = {}
    pool = ThreadPoolExecutor(max(1, usable_cores() // processes.count), thread_name_prefix="sightline-propose")
    try:
        for index, each in zip(order, pool.map(boxes_of, order), strict=True):
            found[index] = each
            tell(len(found), len(samples))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    boxes = [found[index] for index in range(len(samples))]
    if isinstance(samples, list | tuple):
        return [replace(sample, proposals=each) for sample, each in zip(samples, boxes, strict=True)]
    return ProposedSamples(samples, boxes)


def _name(proposer: Proposer, image: Tensor, count: int) -> str:
    """The name of the file: what the proposals depend on, hashed, in one of 256 folders."""
    settings = {field.name: getattr(proposer, field.name) for field in fields(proposer) if field.compare}  # type: ignore[arg-type]  # proposers are dataclasses
    about = [FORMAT, proposer.name, proposer.version, settings, count, list(image.shape)]
    digest = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    digest.update(image.contiguous().numpy().data)
    name = digest.hexdigest()
    return f"{name[:2]}/{name[2:]}.safetensors"


def _write(place: Path, made: Made) -> None:
    boxes, scores = made.proposals.boxes, made.proposals.scores
    tensors = {"boxes": boxes.contiguous()} | ({} if scores is None else {"scores": scores.contiguous()})
    place.parent.mkdir(parents=True, exist_ok=True)
    beside = place.with_name(f".{place.name}.{os.getpid()}.{threading.get_ident()}.part")
    try:  # without waiting for the disk: a file that a crash damages is read as none
        save_file(tensors, beside, {"seconds": repr(made.seconds)})
        beside.replace(place)
    finally:
        beside.unlink(missing_ok=True)


def _read(place: Path, image: Tensor) -> Made | None:
    """What was kept; None where there is nothing, or it is damaged."""
    try:
        with safe_open(place, framework="pt") as file:
            seconds = float(file.metadata()["seconds"])
            boxes = file.get_tensor("boxes")
            scores = file.get_tensor("scores") if "scores" in file.keys() else None  # noqa: SIM118  # no mapping
        made = Made(ImageProposals(boxes, scores), seconds, kept=True)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError):
        return None
    limit = torch.tensor([image.shape[2], image.shape[1]])
    return made if bool((boxes >= 0).all() & (boxes[:, 2:] <= limit).all()) else None
