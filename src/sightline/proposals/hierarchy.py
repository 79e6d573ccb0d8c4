"""Hierarchical grouping of regions (Uijlings et al. 2013, algorithm 1).

The two most similar neighbours become one region, until there is only one.

Similarity is the sum of those of four that a strategy takes (section 3.2, equations 1 to 5), each in 0..1:

    colour, texture   the sum over bins of the smaller of the two histograms, of which each sums to 1
    size              1 - (|a| + |b|) / |image|
    fill              1 - (|box around both| - |a| - |b|) / |image|

Histograms are counts of pixels, which add up exactly as regions join; as shares of 1 they are whole numbers of 2**-20,
so that their sums do not depend on the order of addition, and results not on the machine. Of equal pairs, the first in
order of the older region, then of the younger, comes first.

Legend: S segments, P pairs of neighbours, N = 2 S - 1 regions of the whole hierarchy, D bins.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from sightline.proposals.compiled import compiled
from sightline.proposals.region_features import Regions

UNIT = 1 << 20
"""What the bins of a whole histogram add up to, but for rounding down."""


LETTERS = "CTSF"
"""Colour, texture, size, fill: a strategy is named by the first letters of the similarities that it adds up."""


def group(regions: Regions, similarity: str, pixels: int) -> NDArray[np.int32]:
    """The boxes of all regions of a hierarchy: (N, 4) int32 xyxy, the segments first, the whole image last.

    Args:
        regions: the segments, all connected.
        similarity: some of the letters C, T, S and F.
        pixels: of the image.
    """
    weights = np.array([letter in similarity for letter in LETTERS], np.float64)
    most = 2 * len(regions.sizes) - 1
    sizes, boxes = np.zeros(most, np.int64), np.zeros((most, 4), np.int32)
    counts = np.zeros((most, regions.counts.shape[1]), np.int32)
    for whole, part in ((sizes, regions.sizes), (boxes, regions.boxes), (counts, regions.counts)):
        whole[: len(part)] = part
    _group(_Tree(sizes, boxes, counts, np.zeros_like(counts)), regions.pairs, regions.colours, weights, pixels)
    return boxes


class _Tree(NamedTuple):
    """The regions of a hierarchy, filled as they are made.

    Args:
        sizes: (N,) pixels.
        boxes: (N, 4) xyxy.
        counts: (N, D) pixels in each bin.
        shares: (N, D) the same as shares of 1, in 2**-20.
    """

    sizes: NDArray[np.int64]
    boxes: NDArray[np.int32]
    counts: NDArray[np.int32]
    shares: NDArray[np.int32]


class _Chains(NamedTuple):
    """Which regions touch: one chain of links a region, which may name regions that have joined others since.

    Args:
        heads: (N,) the first link of each region's chain; -1 for none.
        tails: (N,) the last one.
        named: (2 P,) the region that each link names.
        following: (2 P,) the next link of the chain; -1 after the last.
    """

    heads: NDArray[np.int32]
    tails: NDArray[np.int32]
    named: NDArray[np.int32]
    following: NDArray[np.int32]


class _Heap(NamedTuple):
    """Pairs of regions, the most similar first.

    Args:
        likeness: (room,) similarity.
        pairs: (room, 2) the older region and the younger.
    """

    likeness: NDArray[np.float64]
    pairs: NDArray[np.int64]


@compiled
def _share(tree: _Tree, region: int, colours: int) -> None:
    """Fill in a region's shares: colour adds up to 1, and so does texture."""
    counts, shares = tree.counts[region], tree.shares[region]
    of_colour, of_texture = 0, 0
    for place in range(colours):
        of_colour += counts[place]
    for place in range(colours, len(counts)):
        of_texture += counts[place]
    colour_unit, texture_unit = UNIT / of_colour, UNIT / of_texture
    for place in range(colours):
        shares[place] = np.int32(counts[place] * colour_unit)
    for place in range(colours, len(counts)):
        shares[place] = np.int32(counts[place] * texture_unit)


@compiled
def _likeness(tree: _Tree, a: int, b: int, colours: int, weights: NDArray[np.float64], pixels: int) -> float:
    """The similarity of two regions."""
    first, second = tree.shares[a], tree.shares[b]
    common_colour, common_texture = np.int32(0), np.int32(0)
    if weights[0] > 0:
        for place in range(colours):
            common_colour += min(first[place], second[place])
    if weights[1] > 0:
        for place in range(colours, len(first)):
            common_texture += min(first[place], second[place])
    size = tree.sizes[a] + tree.sizes[b]
    one, other = tree.boxes[a], tree.boxes[b]
    width = np.int64(max(one[2], other[2]) - min(one[0], other[0]))
    height = np.int64(max(one[3], other[3]) - min(one[1], other[1]))
    histograms = (weights[0] * common_colour + weights[1] * common_texture) / UNIT
    gap = width * height - size
    return float(histograms + weights[2] * (1 - size / pixels) + weights[3] * (1 - gap / pixels))


@compiled
def _before(heap: _Heap, one: int, other: int) -> bool:
    """Whether the pair in one place of the heap comes before that in another."""
    likeness, pairs = heap
    if likeness[one] != likeness[other]:
        return bool(likeness[one] > likeness[other])
    if pairs[one, 0] != pairs[other, 0]:
        return bool(pairs[one, 0] < pairs[other, 0])
    return bool(pairs[one, 1] < pairs[other, 1])


@compiled
def _swap(heap: _Heap, one: int, other: int) -> None:
    likeness, pairs = heap
    likeness[one], likeness[other] = likeness[other], likeness[one]
    for end in range(2):
        pairs[one, end], pairs[other, end] = pairs[other, end], pairs[one, end]


@compiled
def _push(heap: _Heap, place: int, likeness: float, older: int, younger: int) -> None:
    """Put a pair at the end of the heap, in ``place``, and let it rise."""
    heap.likeness[place], heap.pairs[place, 0], heap.pairs[place, 1] = likeness, older, younger
    while place > 0 and _before(heap, place, (place - 1) >> 1):
        _swap(heap, place, (place - 1) >> 1)
        place = (place - 1) >> 1


@compiled
def _pop(heap: _Heap, last: int) -> tuple[int, int]:
    """Take away the first pair of a heap that ends in the place ``last``."""
    older, younger = heap.pairs[0, 0], heap.pairs[0, 1]
    _swap(heap, 0, last)
    place, child = 0, 1
    while child < last:
        if child + 1 < last and _before(heap, child + 1, child):
            child += 1
        if not _before(heap, child, place):
            break
        _swap(heap, place, child)
        place, child = child, 2 * child + 1
    return older, younger


@compiled
def _grown(heap: _Heap, needed: int) -> _Heap:
    """The heap with room for so many pairs and more."""
    if needed <= len(heap.likeness):
        return heap
    larger = _Heap(np.empty(2 * needed, np.float64), np.empty((2 * needed, 2), np.int64))
    for place in range(len(heap.likeness)):  # element by element: slices take numba seconds to compile
        larger.likeness[place] = heap.likeness[place]
        larger.pairs[place, 0], larger.pairs[place, 1] = heap.pairs[place, 0], heap.pairs[place, 1]
    return larger


@compiled
def _chained(touching: NDArray[np.int64], most: int) -> _Chains:
    """The chains of the segments."""
    heads, tails = np.full(most, -1, np.int32), np.full(most, -1, np.int32)
    named, following = np.empty(2 * len(touching), np.int32), np.full(2 * len(touching), -1, np.int32)
    for place in range(len(touching)):
        for end in range(2):
            region, link = touching[place, end], 2 * place + end
            named[link] = touching[place, 1 - end]
            following[link], heads[region] = heads[region], link
            if tails[region] < 0:
                tails[region] = link
    return _Chains(heads, tails, named, following)


@compiled
def _neighbours(
    chains: _Chains, parents: NDArray[np.int32], met: NDArray[np.int32], region: int, found: NDArray[np.int64]
) -> int:
    """Write the neighbours of a region to ``found`` and leave one link to each in its chain; returns how many."""
    heads, tails, named, following = chains
    link, kept, count = heads[region], -1, 0
    while link >= 0:
        other = named[link]
        while parents[other] != other:
            parents[other] = parents[parents[other]]
            other = parents[other]
        next_link = following[link]
        if other != region and met[other] != region:
            met[other], named[link], found[count] = region, other, other
            count += 1
            if kept < 0:
                heads[region] = link
            else:
                following[kept] = link
            kept = link
        link = next_link
    if kept >= 0:
        following[kept] = -1
    tails[region] = kept
    return count


@compiled
def _merge(tree: _Tree, chains: _Chains, a: int, b: int, made: int) -> None:
    """Fill in the region that two regions make."""
    heads, tails, _, following = chains
    tree.sizes[made] = tree.sizes[a] + tree.sizes[b]
    for end in range(2):
        tree.boxes[made, end] = min(tree.boxes[a, end], tree.boxes[b, end])
        tree.boxes[made, end + 2] = max(tree.boxes[a, end + 2], tree.boxes[b, end + 2])
    for place in range(tree.counts.shape[1]):
        tree.counts[made, place] = tree.counts[a, place] + tree.counts[b, place]
    heads[made], tails[made] = heads[a], tails[b]
    following[tails[a]] = heads[b]


@compiled
def _group(tree: _Tree, touching: NDArray[np.int64], colours: int, weights: NDArray[np.float64], pixels: int) -> None:
    """Fill in the regions of the tree after its segments."""
    most = len(tree.sizes)
    made = (most + 1) // 2
    for region in range(made):
        _share(tree, region, colours)
    room = 4 * len(touching) + 16
    heap, waiting = _Heap(np.empty(room, np.float64), np.empty((room, 2), np.int64)), len(touching)
    for place in range(waiting):
        a, b = touching[place, 0], touching[place, 1]
        _push(heap, place, _likeness(tree, a, b, colours, weights, pixels), a, b)
    chains = _chained(touching, most)
    parents, met, found = np.arange(most, dtype=np.int32), np.full(most, -1, np.int32), np.empty(most, np.int64)
    while waiting > 0:
        waiting -= 1
        a, b = _pop(heap, waiting)
        if parents[a] != a or parents[b] != b:
            continue
        parents[a], parents[b] = made, made
        _merge(tree, chains, a, b, made)
        _share(tree, made, colours)
        count = _neighbours(chains, parents, met, made, found)
        heap = _grown(heap, waiting + count)
        for place in range(count):
            other = found[place]
            _push(heap, waiting, _likeness(tree, other, made, colours, weights, pixels), other, made)
            waiting += 1
        made += 1
