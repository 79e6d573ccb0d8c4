"""What benchmarks against torchvision's detectors share: its models from random weights, two processes that work in
turns, and the command line of a script with several figures.

Peer and ours live in a process each, because the allocator's settings belong to a whole process.
"""

import argparse
import json
import multiprocessing as mp
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from pairing import HEADER, Result, compare, exit_code

THREADS = 2


def peer_trunk():
    """torchvision's ResNet-50 with a pyramid, from the same random weights each time."""
    import torch
    from torchvision.models import resnet50
    from torchvision.models.detection.backbone_utils import _resnet_fpn_extractor
    from torchvision.ops.misc import FrozenBatchNorm2d

    torch.manual_seed(0)
    return _resnet_fpn_extractor(resnet50(norm_layer=FrozenBatchNorm2d), trainable_layers=3)


def as_if_trained(model):
    """The model with smaller residuals and a larger class layer, so that about as many boxes are found as with trained
    weights."""
    import torch

    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("bn3.weight"):
                tensor.mul_(0.2)
            if "cls_score.weight" in name:
                tensor.mul_(30)
    return model


def photos(count: int):
    """Images of noise, 640x480."""
    import torch

    generator = torch.Generator().manual_seed(1)
    return [torch.rand(3, 480, 640, generator=generator) for _ in range(count)]


@dataclass(frozen=True)
class Half:
    """One half of a pair, which a process of its own makes and calls.

    Args:
        make: gives the call; a function of a module, because it goes to another process.
        arguments: of ``make``.
    """

    make: Callable[..., Callable[[], object]]
    arguments: tuple[Any, ...]


def compare_in_processes(
    peer: Half, ours: Half, *, rounds: int, target: float, name: str
) -> tuple[Result, list[object]]:
    """As ``pairing.compare``, each half in a process of its own; and what a first call of each gave, which is not timed
    and must be small."""
    context = mp.get_context("spawn")
    calls, ends, processes = [], [], []
    for half in (peer, ours):
        here, there = context.Pipe()
        process = context.Process(target=_answer, args=(there, half), daemon=True)
        process.start()

        def call(end: Connection = here) -> object:
            end.send(True)
            return end.recv()

        calls.append(call)
        ends.append(here)
        processes.append(process)
    given = [call() for call in calls]
    result = compare(*calls, rounds=rounds, warmup=0, target=target, name=name)
    for end, process in zip(ends, processes, strict=True):
        end.send(False)
        process.join()
    return result, given


def _answer(connection: Connection, half: Half) -> None:
    import torch

    torch.set_num_threads(THREADS)
    call = half.make(*half.arguments)
    while connection.recv():
        connection.send(call())


def run(description: str, figures: Mapping[str, object], measure: Callable[[str, int], Result]) -> int:
    """The figures asked for on the command line, as a table, or as JSON; the exit code, 1 if a target was missed.

    Args:
        description: of the script; its first line is shown.
        figures: all, by name.
        measure: one of them, in so many rounds.
    """
    parser = argparse.ArgumentParser(description=description.split("\n", maxsplit=1)[0])
    parser.add_argument("--only", choices=figures, action="append", help="measure this figure (may be repeated)")
    parser.add_argument("--rounds", type=int, default=5, help="pairs to time")
    parser.add_argument("--json", action="store_true", help="print one JSON object a figure after the table")
    options = parser.parse_args()
    print(HEADER, flush=True)
    results = [measure(name, options.rounds) for name in options.only or figures]
    if options.json:
        print(json.dumps([result.to_dict() for result in results], indent=2))
    return exit_code(results)
