"""What one prediction costs: parameters, floating-point operations, milliseconds and memory.

Departures and meanings, so that figures can be compared:

- *Parameters* and *FLOPs* are those of the networks themselves: a network that only proposes to them is in neither.
- *FLOPs* are counted by torch.utils.flop_counter on one forward of the prepared image. A multiply-add is 2; papers
  that count multiply-adds report half. Only matrix products, convolutions and attention are counted: not resizing,
  activations, RoI pooling or NMS.
- *Milliseconds* are of ``predict`` on one image that is already in memory: proposals, preparation, network and
  decoding. Where proposers stand before the networks, each prediction is timed in two parts, its proposals and all the
  rest with these proposals given; regions that the network finds itself are part of the network.
- *Peak memory* on CUDA is the most that PyTorch had allocated, weights included. On a CPU it is by how much the
  resident memory of the process grew during one prediction, weights not included: memory that earlier work left with
  the allocator is given back first (malloc_trim) and the kernel's high-water mark is reset. Only Linux with glibc can
  do that; elsewhere the peak is ``None``.
"""

import gc
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from sightline.contract import NeuralSystem, System, networks_of, with_proposers
from sightline.evaluation.columns import Floats
from sightline.proposals.proposer import ImageProposals, Proposer, as_pixels
from sightline.runtime import peak_memory, reset_peak_memory, resident_memory
from sightline.structures import Size

WARM_UP = 3
"""Predictions that are made and not timed: the first ones choose algorithms and touch memory."""

_MEGABYTE = 1e6


@dataclass(frozen=True)
class Cost:
    """What one prediction costs.

    Args:
        parameters: numbers that the network holds as parameters.
        trainable: those of them that learn.
        flops: floating-point operations of one forward; a multiply-add is 2.
        milliseconds: median time of one prediction.
        quartiles: first and third quartile of that time in milliseconds.
        peak_memory_mb: peak memory in MB of 10^6 bytes (see the module); None where it cannot be measured.
        device: what it ran on.
        threads: CPU threads that PyTorch used.
        image_size: (H, W) of the image that went in.
        prepared_size: (H, W) of the batch that the network saw; of several the largest.
        precision: data type of most parameters.
        repeats: predictions that were timed.
        proposal_milliseconds: median time of the proposals of one image; None without a proposer.
        proposal_quartiles: first and third quartile of it.
        given_milliseconds: median time of one prediction with its proposals given; None without a proposer.
        given_quartiles: first and third quartile of it.
    """

    parameters: int
    trainable: int
    flops: int
    milliseconds: float
    quartiles: tuple[float, float]
    peak_memory_mb: float | None
    device: str
    threads: int
    image_size: Size
    prepared_size: Size
    precision: str
    repeats: int
    proposal_milliseconds: float | None = None
    proposal_quartiles: tuple[float, float] | None = None
    given_milliseconds: float | None = None
    given_quartiles: tuple[float, float] | None = None

    def to_dict(self) -> dict[str, object]:
        """The same as plain values for JSON."""
        return asdict(self)


def measure_cost(system: System[Any], image: Tensor, *, repeats: int = 20, warm_up: int = WARM_UP) -> Cost:
    """What predicting one image costs here and now.

    Args:
        system: a network, or a combination of some, as it is meant to be used, on its device and in its precision.
        image: (3, H, W) RGB, uint8 or float in 0..1.
        repeats: timed predictions, at least 1.
        warm_up: predictions that go before.

    Raises:
        ValueError: fewer than one repeat, or a system without a network.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    networks = networks_of(system)
    if not networks:
        raise ValueError(f"{system.name} has no network to measure")
    device = networks[0].device
    proposed = any(network.proposer is not None for network in networks)
    peak = _peak_memory(system, image, device)
    proposing, given = _times(system, image, device, repeats, warm_up)
    (first, median, third), of_proposals, of_rest = (
        np.percentile(times, [25, 50, 75]).tolist() for times in (proposing + given, proposing, given)
    )
    parameters, trainable = count_parameters(system)
    return Cost(
        parameters=parameters,
        trainable=trainable,
        flops=count_flops(system, image),
        milliseconds=median,
        quartiles=(first, third),
        peak_memory_mb=peak,
        device=_device_name(device),
        threads=torch.get_num_threads(),
        image_size=(image.shape[1], image.shape[2]),
        prepared_size=_prepared_size(networks, image),
        precision=_precision(networks),
        repeats=repeats,
        proposal_milliseconds=of_proposals[1] if proposed else None,
        proposal_quartiles=(of_proposals[0], of_proposals[2]) if proposed else None,
        given_milliseconds=of_rest[1] if proposed else None,
        given_quartiles=(of_rest[0], of_rest[2]) if proposed else None,
    )


def count_parameters(system: System[Any]) -> tuple[int, int]:
    """Numbers that the networks of a system hold as parameters, and those of them that learn; shared ones once."""
    every = {id(parameter): parameter for network in networks_of(system) for parameter in network.parameters()}
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in every.values()]
    return sum(count for count, _ in counts), sum(count for count, learns in counts if learns)


def count_flops(system: System[Any], image: Tensor) -> int:
    """Floating-point operations of one forward of an image, (3, H, W), after preparation; a multiply-add is 2.

    Of a combination those of a whole prediction, in which members may look at what others have found. What a proposer
    takes is in neither.
    """
    if not isinstance(system, NeuralSystem):
        rest, _ = _with_proposals_given(system, image)
        with FlopCounterMode(display=False) as counter:
            rest.predict([image])
        return int(counter.get_total_flops())
    was_training = system.training
    system.eval()
    try:
        batch = system.prepare([image])
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            system(batch)
    finally:
        system.train(was_training)
    return int(counter.get_total_flops())


@dataclass(frozen=True)
class _Given(Proposer):
    """Stands for a proposer whose proposals of the image are there already."""

    name = "given"
    proposals: ImageProposals

    def propose(self, image: Tensor, count: int) -> ImageProposals:
        del image, count
        return self.proposals


def _times(
    system: System[Any], image: Tensor, device: torch.device, repeats: int, warm_up: int
) -> tuple[Floats, Floats]:
    """(repeats,) milliseconds of the proposals of each prediction after the warm-up, 0 without a proposer; and of all
    the rest."""
    times = []
    for _ in range(warm_up + repeats):
        _synchronise(device)
        start = time.perf_counter()
        proposed = _predict_in_parts(system, image)
        _synchronise(device)
        end = time.perf_counter()
        times.append(((proposed - start) * 1e3, (end - proposed) * 1e3) if proposed else (0.0, (end - start) * 1e3))
    proposing, rest = np.asarray(times[warm_up:]).T
    return proposing, rest


def _with_proposals_given(system: System[Any], image: Tensor) -> tuple[System[Any], bool]:
    """The system with its proposals of an image made, and whether there is a proposer at all."""
    made: dict[tuple[Proposer, int], _Given] = {}

    def given(proposer: Proposer, count: int) -> Proposer:
        # Members with the same proposer ask it once, as in a prediction.
        if (proposer, count) not in made:
            made[proposer, count] = _Given(proposer.propose(as_pixels(image), count))
        return made[proposer, count]

    return with_proposers(system, given), bool(made)


def _predict_in_parts(system: System[Any], image: Tensor) -> float | None:
    """Predict, first the proposals and then all the rest with these given; the time between, None without proposer."""
    rest, there = _with_proposals_given(system, image)
    proposed = time.perf_counter()
    rest.predict([image])
    return proposed if there else None


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _peak_memory(system: System[Any], image: Tensor, device: torch.device) -> float | None:
    """Peak memory of one prediction in MB, or None where it cannot be measured."""
    gc.collect()
    if not reset_peak_memory(device):
        return None
    before = 0 if device.type == "cuda" else resident_memory()
    system.predict([image])
    return max(0, peak_memory(device) - before) / _MEGABYTE


def _prepared_size(networks: Sequence[NeuralSystem[Any, Any]], image: Tensor) -> Size:
    """(H, W) of the largest batch that any of the networks sees."""
    batches = [network.preparation.batch([image.to(network.device)]).images.shape for network in networks]
    return max(((shape[2], shape[3]) for shape in batches), key=lambda size: size[0] * size[1])


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return device.type


def _precision(networks: Sequence[NeuralSystem[Any, Any]]) -> str:
    counts: Counter[torch.dtype] = Counter()
    for network in networks:
        for parameter in network.parameters():
            counts[parameter.dtype] += parameter.numel()
    return str(counts.most_common(1)[0][0]).removeprefix("torch.") if counts else "none"
