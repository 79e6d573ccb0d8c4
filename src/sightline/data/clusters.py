"""Things that belong together by pairs: disjoint sets (union-find with path halving)."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


class Clusters:
    """Things 0..count-1, each alone until pairs of them are joined.

    Args:
        count: how many things there are.
    """

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, thing: int) -> int:
        """The first thing of the cluster that a thing is in."""
        parents = self._parents
        while parents[thing] != thing:
            parents[thing] = parents[parents[thing]]
            thing = parents[thing]
        return thing

    def join(self, one: int, other: int) -> None:
        """Makes one cluster of those of two things."""
        first, second = sorted((self.find(one), self.find(other)))
        self._parents[second] = first

    def join_all(self, things: Iterable[int]) -> None:
        """Makes one cluster of those of many things."""
        members = list(things)
        for thing in members[1:]:
            self.join(members[0], thing)

    def labels(self) -> NDArray[np.int64]:
        """(count,) the first thing of each thing's cluster."""
        return np.fromiter((self.find(thing) for thing in range(len(self._parents))), np.int64, len(self._parents))
