"""Random numbers by what they are for: seeded for one use, and put back afterwards."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_draws(device: torch.device, *numbers: int) -> None:
    """Seed every source of random numbers that a system may draw from, by what the draw is for.

    With a seed for each step, the draws of a step do not depend on what came before it: on a resume, on a validation.
    """
    words = np.random.SeedSequence(numbers).generate_state(4)
    seed = int(words[0]) << 32 | int(words[1])
    # Not torch.manual_seed: it also queues seeds for devices that are not there, at 2 ms a time.
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
    np.random.seed(int(words[2]))
    random.seed(int(words[3]))


@contextlib.contextmanager
def draws_kept(device: torch.device) -> Iterator[None]:
    """Every source of random numbers is afterwards where it was."""
    python, numpy = random.getstate(), np.random.get_state()
    mps = torch.mps.get_rng_state() if device.type == "mps" else None
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        if mps is not None:
            torch.mps.set_rng_state(mps)
