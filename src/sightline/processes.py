"""The processes of a distributed run, as far as sharing out work and gathering results goes.

Importing this does not import torch. Without a process group there is one process, which has all the work.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

Value = TypeVar("Value")


@dataclass(frozen=True)
class Processes:
    """This process among those that compute the same thing together.

    What is gathered travels by pickle between the processes of one run, and is never written to a file.

    Args:
        rank: this one, from 0; the first leads.
        count: of them all.
    """

    rank: int = 0
    count: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the one that judges, writes and reports."""
        return self.rank == 0

    def share(self, items: Sequence[Value]) -> Sequence[Value]:
        """Every ``count``-th item from the ``rank``-th on: each is in one share, and a share may be empty."""
        return items[self.rank :: self.count]

    def gathered(self, value: Value) -> list[Value]:
        """The values of all processes by rank, in the first process; nothing in the others. All must take part."""
        if self.count == 1:
            return [value]
        import torch.distributed as dist

        values: list[Value] | None = [value] * self.count if self.leads else None
        dist.gather_object(value, values)
        return values or []


ALONE = Processes()
"""One process that does everything."""
