"""Proposals that are made once and kept: in memory beside decoded images, and on the disk by content."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sightline.proposals.proposer import Proposer
from sightline.structures import Sample


def propose_for(
    samples: Sequence[Sample], proposer: Proposer, count: int, tell: Callable[[int, int], None]
) -> Sequence[Sample]:
    """The samples with proposals of their images.

    Args:
        samples: of a data set.
        proposer: looks at each image once.
        count: proposals asked for an image.
        tell: called with images done and images in all.
    """
    proposed = []
    for index, sample in enumerate(samples):
        proposed.append(replace(sample, proposals=proposer.propose(sample.image, count).boxes))
        tell(index + 1, len(samples))
    return proposed
