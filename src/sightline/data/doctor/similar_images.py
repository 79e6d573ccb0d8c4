"""Identical and nearly identical images among many.

Every pair is compared, in two looks (see ``fingerprints``): one matrix product over all, then windows of the pairs that
pass. Files with the same bytes, and files that show the same pixels, are identical. Nearly identical are pictures that
were compressed anew, resized, made brighter or darker, slightly cropped, stamped or mirrored.

Measured by ``benchmarks/similar_images.py DATASETS`` on 60 photographs (20 each of BCCD, of COCO and of CamVid's street
scenes), each with a changed copy of itself; how many of the 60 copies were found:

* JPEG quality 30: 60, quality 10: 60; half the size: 60, a quarter: 60; brightness or contrast 20% more or less: 60,
  brightness 50% more: 58; 1% cropped from each side: 60, 2%: 59, 2% from a corner: 58, 3%: 30, 5%: 0; a watermark: 60;
  mirrored: 60; grey: 60; blurred by 2 pixels: 60; noise of 10 grey levels: 60; turned by 90 degrees: 0. The same
  pixels as PNG: 60, all as identical.
* Wrongly named: none of the 12,720 pairs of COCO's pictures, and none of the 66,066 of BCCD, which has one true one
  (BloodImage_00037 and 00038, the same cells focused twice). Among CamVid's 701 frames 631 pairs are named. The least
  alike, judged by eye, show one place from nearly one point: the car stands, or frames follow at 15 a second.
* Two pictures that agree in all but a few small things before the same even background can pass for near-duplicates:
  of 19,900 pairs of drawn skies 8 do, of drawn seas with one horizon 59, of drawn bottles in one place 315. Pictures
  that show nothing (under five windows with a contrast of two grey levels) are named only if they are the same.

Time on two cores: CamVid's 701 frames 1.1 s in all (9 MB more than before), pictures of COCO 2 ms each to decode on one
core. All pairs of 40,000 pictures take 8.1 s on one core, so that COCO's 118,287 take about 71 s. A picture takes 2 KB
for the first look and 1 KB for the second. Many frames of one scene take longer: 20,000 pictures that are all alike
32 s, as each is named with eight others.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sightline.data.clusters import Clusters
from sightline.data.doctor.fingerprints import Fingerprint, Windows, fingerprint, pixel_digest, search_vectors
from sightline.data.findings import Finding
from sightline.errors import DataError
from sightline.runtime import usable_cores

Progress = Callable[[int, int], None]

THRESHOLD = 0.7
"""Least mean correlation of the windows of near-duplicates."""

_FIRST_LOOK = 0.78
_SPREAD = 0.12  # a quarter of the windows may be this much below the threshold, or lower
_LEAST_WINDOWS = 5
_TILE = 512
_MANY = 8
_SAME_GREY = 3  # mean grey levels by which fingerprints of the same pixels in two formats may differ (1.8 were seen)

_Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """Two images that are alike.

    Args:
        first: place of the one in the list of images.
        second: place of the other, behind the first.
        kind: the same pixels, or nearly.
        likeness: mean correlation of their windows, at most 1; 1 where they are identical.
        mirrored: whether one is the other's mirror image.
    """

    first: int
    second: int
    kind: Literal["identical", "similar"]
    likeness: float = 1.0
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class SimilarImages:
    """What was found.

    Args:
        pairs: in order of their places. Of several identical images each is named with the first of them, and only
            the first is compared further. An image that is like many others is named with eight of those before it,
            and beyond that only with what it alone connects.
        unreadable: images that could not be decoded.
    """

    pairs: list[Pair]
    unreadable: list[tuple[Path, DataError]]


def find_similar(
    paths: Sequence[Path],
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    threshold: float = THRESHOLD,
) -> SimilarImages:
    """Compares all images with each other.

    Args:
        paths: the image files.
        workers: threads that decode. Default: one a core.
        progress: called with how many images are decoded and how many there are.
        threshold: least likeness of near-duplicates, 0..1.
    """
    prints: dict[int, Fingerprint] = {}
    unreadable: list[tuple[Path, DataError]] = []
    for number, result in enumerate(_fingerprints(paths, workers or usable_cores())):
        if isinstance(result, DataError):
            unreadable.append((paths[number], result))
        else:
            prints[number] = result
        if progress is not None:
            progress(number + 1, len(paths))
    groups: dict[bytes, list[int]] = defaultdict(list)
    for number, known in prints.items():
        groups[known.digest].append(number)
    pairs = [Pair(group[0], other, "identical") for group in groups.values() for other in group[1:]]
    first = {group[0]: prints[group[0]] for group in groups.values()}
    pairs += _same_or_alike(paths, first, threshold)
    return SimilarImages(sorted(pairs, key=lambda pair: (pair.first, pair.second)), unreadable)


def _fingerprints(paths: Sequence[Path], workers: int) -> Iterator[Fingerprint | DataError]:
    def read(path: Path) -> Fingerprint | DataError:
        try:
            return fingerprint(path)
        except DataError as error:
            return error

    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(read, paths)


def _same_or_alike(paths: Sequence[Path], prints: dict[int, Fingerprint], threshold: float) -> Iterator[Pair]:
    """Pairs of files with different bytes."""
    numbers = list(prints)
    luma = np.stack([prints[n].luma for n in numbers]) if numbers else np.zeros((0, 32, 32), np.uint8)

    @cache
    def digest(number: int) -> bytes:
        return pixel_digest(paths[number])

    def same(one: int, other: int) -> bool:
        a, b = prints[one], prints[other]
        near = np.abs(a.luma.astype(np.int16) - b.luma).mean() <= _SAME_GREY
        return a.size == b.size and bool(near) and digest(one) == digest(other)

    shown = _shown(luma)
    for a, b, likeness, mirrored in _Search(luma, threshold).pairs(np.flatnonzero(shown)):
        one, other = numbers[a], numbers[b]
        if not mirrored and same(one, other):
            yield Pair(one, other, "identical")
        else:
            yield Pair(one, other, "similar", likeness, mirrored)
    # Pictures that show nothing cannot be compared; but they may be the same.
    plain: dict[tuple[object, ...], list[int]] = defaultdict(list)
    for place in np.flatnonzero(~shown).tolist():
        number = numbers[place]
        plain[prints[number].size, luma[place].tobytes()].append(number)
    for alike in (group for group in plain.values() if len(group) > 1):
        firsts: dict[bytes, int] = {}
        for number in alike:
            found = firsts.setdefault(digest(number), number)
            if found != number:
                yield Pair(found, number, "identical")


def _shown(luma: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(N,), whether enough of a picture shows anything."""
    counts = [Windows.of(luma[i : i + _TILE]).shown.sum(0) for i in range(0, len(luma), _TILE)]
    return np.concatenate([np.zeros(0, np.int64), *counts]) >= _LEAST_WINDOWS


@dataclass(eq=False)
class _Search:
    """Finds near-duplicates tile by tile of the matrix of all pairs, so that memory grows with the images alone.

    Args:
        luma: (N, 32, 32).
        threshold: as in :func:`find_similar`.
    """

    luma: NDArray[np.uint8]
    threshold: float
    _named: NDArray[np.int64] = field(init=False)
    _clusters: Clusters = field(init=False)

    def __post_init__(self) -> None:
        self._named = np.zeros(len(self.luma), np.int64)
        self._clusters = Clusters(len(self.luma))

    def pairs(self, places: _Numbers) -> Iterator[tuple[int, int, float, bool]]:
        """First, second, likeness and whether mirrored, of pairs among some of the pictures."""
        kept, turned = search_vectors(self.luma[places])
        buffers = np.empty(
            (3, _TILE * _TILE), np.float32
        )  # new memory for each tile would take as long as the products
        for top in range(0, len(places), _TILE):
            for left in range(top, len(places), _TILE):
                rows, columns = slice(top, top + _TILE), slice(left, left + _TILE)
                if self._settled(places[rows], places[columns]):
                    continue
                shape = len(places[rows]), len(places[columns])
                same, change, best = (buffer[: shape[0] * shape[1]].reshape(shape) for buffer in buffers)
                np.matmul(kept[rows], kept[columns].T, out=same)
                np.matmul(turned[rows], turned[columns].T, out=change)
                np.abs(change, out=best)
                best += same
                if left == top:
                    best[np.tril_indices(len(best))] = 0
                if best.max() >= _FIRST_LOOK:
                    a, b = np.nonzero(best >= _FIRST_LOOK)
                    yield from self._look(places[top + a], places[left + b], change[a, b] < 0)

    def _settled(self, rows: _Numbers, columns: _Numbers) -> bool:
        """Whether all are known to be alike already, as frames of a camera that does not move are."""
        if self._named[columns].min() < _MANY:
            return False
        head = self._clusters.find(int(rows[0]))
        return all(self._clusters.find(place) == head for part in (rows, columns) for place in part.tolist())

    def _look(self, a: _Numbers, b: _Numbers, mirrored: NDArray[np.bool_]) -> Iterator[tuple[int, int, float, bool]]:
        open_ = self._named[b] < _MANY
        if not open_.all():
            open_ |= self._heads(a) != self._heads(b)
        for turned in (False, True):
            chosen = open_ & (mirrored == turned)
            if chosen.any():
                yield from self._confirmed(a[chosen], b[chosen], turned)

    def _heads(self, places: _Numbers) -> _Numbers:
        unique, inverse = np.unique(places, return_inverse=True)
        return np.array([self._clusters.find(place) for place in unique.tolist()], np.int64)[inverse]

    def _confirmed(self, a: _Numbers, b: _Numbers, mirrored: bool) -> Iterator[tuple[int, int, float, bool]]:
        likeness, lower = _compare(self.luma, a, b, mirrored)
        alike = (likeness >= self.threshold) & (lower >= self.threshold - _SPREAD)
        best = np.flatnonzero(alike)[np.argsort(-likeness[alike], kind="stable")]
        for place in best.tolist():
            one, other = int(a[place]), int(b[place])
            if self._named[other] < _MANY or self._clusters.find(one) != self._clusters.find(other):
                self._named[other] += 1
                self._clusters.join(one, other)
                yield one, other, min(float(likeness[place]), 1.0), mirrored


def _compare(
    luma: NDArray[np.uint8], a: _Numbers, b: _Numbers, mirrored: bool
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Mean and lower quartile of the correlations of windows that show something in either picture, for each pair.

    Args:
        luma: (N, 32, 32).
        a: (P,) the first pictures of the pairs.
        b: (P,) the second.
        mirrored: whether the second are taken mirrored.
    """
    firsts, row = np.unique(a, return_inverse=True)
    seconds, column = np.unique(b, return_inverse=True)
    one = Windows.of(luma[firsts])
    other = Windows.of(luma[seconds, :, ::-1] if mirrored else luma[seconds])
    values = np.matmul(one.units, other.units.swapaxes(1, 2))[:, row, column]
    shown = one.shown[:, row] | other.shown[:, column]
    count = shown.sum(0)
    mean = np.where(shown, values, 0).sum(0) / count
    ordered = np.sort(np.where(shown, values, np.inf), axis=0)
    return mean, ordered[(count - 1) // 4, np.arange(len(a))]


def clusters(pairs: Sequence[Pair], count: int) -> list[set[int]]:
    """Images that are connected by pairs, in order of their first.

    Args:
        pairs: as :func:`find_similar` gives them.
        count: how many images there are.
    """
    joined = Clusters(count)
    for pair in pairs:
        joined.join(pair.first, pair.second)
    found: dict[int, set[int]] = defaultdict(set)
    for number, head in enumerate(joined.labels().tolist()):
        found[head].add(number)
    return [members for members in found.values() if len(members) > 1]


def similar_findings(pairs: Sequence[Pair], images: Sequence[tuple[str, Path]]) -> list[Finding]:
    """Pairs as findings: the file is the first image, the picture that shows it the second.

    Args:
        pairs: as :func:`find_similar` gives them.
        images: split and path of each image, in the order in which they were compared.
    """
    findings = []
    for pair in pairs:
        (split, path), (other_split, other) = images[pair.first], images[pair.second]
        across = split != other_split
        first, second = (f"{path} ({split})", f"{other} ({other_split})") if across else (str(path), str(other))
        if pair.kind == "identical":
            what = f"{first} and {second} are identical"
        else:
            turned = ", mirrored" if pair.mirrored else ""
            what = f"{first} and {second} are nearly identical (likeness {pair.likeness:.2f}{turned})"
        code = f"images-{pair.kind}" + ("-across" if across else "")
        findings.append(Finding(code, what, str(path), "", str(other), split))
    return findings
