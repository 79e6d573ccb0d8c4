"""Times ours against a peer in pairs: peer, ours, peer, ours ... in one process, and judges the ratio.

A busy machine slows both halves of a pair alike, so the ratio within a pair is worth more than either time: what is
reported is the median of the per-round ratios with its quartiles. Times are wall time by ``time.perf_counter``.
"""

import gc
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from statistics import median, quantiles
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a paired comparison found.

    Args:
        name: what was compared.
        ratio: median over rounds of peer time / our time; above 1 means that ours is faster.
        low: lower quartile of the ratios.
        high: upper quartile of the ratios.
        peer_seconds: median seconds of one call of the peer.
        our_seconds: median seconds of one call of ours.
        rounds: pairs that were timed.
        target: the ratio to reach.
    """

    name: str
    ratio: float
    low: float
    high: float
    peer_seconds: float
    our_seconds: float
    rounds: int
    target: float

    @property
    def passed(self) -> bool:
        """Whether the median ratio reaches the target."""
        return self.ratio >= self.target

    def to_dict(self) -> dict[str, Any]:
        """All fields and the verdict, for ``--json``."""
        return {**asdict(self), "passed": self.passed}

    def line(self) -> str:
        """One line of a table under ``HEADER``."""
        verdict = "pass" if self.passed else "FAIL"
        return (
            f"{self.name:<36} {self.peer_seconds * 1e3:>10.2f} {self.our_seconds * 1e3:>10.2f} "
            f"{self.ratio:>7.2f} {self.low:>6.2f}..{self.high:<6.2f} {self.target:>7.2f} {verdict}"
        )


HEADER = f"{'what':<36} {'peer ms':>10} {'ours ms':>10} {'ratio':>7} {'quartiles':>14} {'target':>7}"
"""The header of a table of ``Result.line``."""


def exit_code(results: Iterable[Result]) -> int:
    """What a script ends with: 1 if any target was missed, so that ``make bench`` notices."""
    return 0 if all(result.passed for result in results) else 1


def seconds_of(call: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(
    peer: Callable[[], object],
    ours: Callable[[], object],
    *,
    rounds: int,
    warmup: int = 1,
    target: float,
    name: str,
) -> Result:
    """Times ``peer`` and ``ours`` in alternation and prints one table line.

    The garbage collector is run before each half and is off during it, so that neither pays for the other's litter.

    Args:
        peer: the work as the peer does it.
        ours: the same work as we do it.
        rounds: pairs to time, at least 1.
        warmup: calls of each before the first pair, not timed.
        target: the ratio peer time / our time to reach.
        name: what the line is called.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    for _ in range(warmup):
        peer()
        ours()
    peer_times: list[float] = []
    our_times: list[float] = []
    collecting = gc.isenabled()
    try:
        for _ in range(rounds):
            for call, times in ((peer, peer_times), (ours, our_times)):
                gc.collect()
                gc.disable()
                times.append(seconds_of(call))
    finally:
        if collecting:
            gc.enable()
    result = summarise(peer_times, our_times, target=target, name=name)
    print(result.line(), flush=True)
    return result


def summarise(peer_times: list[float], our_times: list[float], *, target: float, name: str) -> Result:
    """The result of paired times in seconds, one of each a round."""
    ratios = [peer / ours for peer, ours in zip(peer_times, our_times, strict=True)]
    low, middle, high = quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else (ratios[0],) * 3
    return Result(name, middle, low, high, median(peer_times), median(our_times), len(ratios), target)
