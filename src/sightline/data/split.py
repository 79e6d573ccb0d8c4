"""Dividing images into parts: stratified by class, groups whole, the same for a seed on every machine.

Images of detection have many labels, so they are dealt out by iterative stratification (Sechidis, Tsoumakas and
Vlahavas 2011, "On the Stratification of Multi-Label Data", algorithm 1): the class with the fewest images left comes
first, and each of its images goes to the part that still wants most of that class. Here

* what is dealt out are units: images that must stay together (of one group, or nearly the same) go as one;
* counts are of objects, not of images; units with many objects of the class go first, which leaves the small to even
  out;
* a class with as many units as there are parts is given to every part once before anything else, where there is room;
* parts have a fixed number of images, and one that is full takes no more. Where no part has room for a whole unit, it
  goes to the one with most room: a part may be larger than wished by less than one unit;
* units without objects come last and fill up what is left;
* at the end units of one size are exchanged, drawn at random, as long as that lowers the chi-square of the classes'
  counts against the wish, and takes no class out of a part that all parts can have. In 600 images of 20 classes, few of
  them frequent, shares are off by 0.023 on average, by 0.029 without this, and by 0.087 when drawn by chance.
"""

import random
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sightline.data.clusters import Clusters
from sightline.data.tables import Tables
from sightline.errors import ConfigError, DataError

Rows = NDArray[np.int64]

_TRIES_PER_UNIT, _MOST_TRIES = 200, 300_000
_LEAST_GAIN = 1e-9


@dataclass(frozen=True, eq=False)
class Contents:
    """What images hold, as far as dividing them goes.

    Args:
        images: how many there are.
        owners: (N,) the image of each object.
        labels: (N,) the class of each object.
        classes: names of the classes.
    """

    images: int
    owners: Rows
    labels: Rows
    classes: tuple[str, ...]

    @classmethod
    def of(cls, tables: Tables) -> "Contents":
        """What the images of a split hold."""
        names = tuple(str(category["name"]) for category in tables.categories)
        return cls(len(tables.images), tables.objects.images, tables.objects.labels, names)


@dataclass(frozen=True, eq=False)
class SplitReport:
    """How well a set was divided.

    Args:
        parts: the share of the images that was wished for, by the part's name.
        classes: names of the classes.
        images: (P,) images of each part.
        objects: (P, K) objects of each part and class.
        largest: images of the largest unit that had to stay together.
    """

    parts: Mapping[str, float]
    classes: tuple[str, ...]
    images: Rows
    objects: Rows
    largest: int

    @property
    def shares(self) -> NDArray[np.float64]:
        """(P, K) share of each class's objects that a part has; NaN for classes without objects."""
        total = self.objects.sum(0).astype(np.float64)
        total[total == 0] = np.nan
        shares: NDArray[np.float64] = self.objects / total
        return shares

    @property
    def deviation(self) -> float:
        """Mean absolute difference between a class's share in a part and the wish, over classes with objects."""
        wishes = np.array(list(self.parts.values()))[:, None]
        used = self.objects.sum(0) > 0
        return float(np.abs(self.shares - wishes)[:, used].mean()) if used.any() else 0.0

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        total = int(self.images.sum())
        counts = self.objects.tolist()
        return {
            "parts": {
                name: {
                    "wished": wish,
                    "images": int(self.images[part]),
                    "share": int(self.images[part]) / total,
                    "objects": dict(zip(self.classes, counts[part], strict=True)),
                }
                for part, (name, wish) in enumerate(self.parts.items())
            },
            "largest_group": self.largest,
            "mean_deviation": self.deviation,
        }


def make_splits(
    contents: Contents,
    parts: Mapping[str, float],
    *,
    seed: int = 0,
    groups: Sequence[Hashable] | None = None,
    keep_together: Sequence[set[int]] = (),
) -> tuple[dict[str, Rows], SplitReport]:
    """Divides images into parts.

    Args:
        contents: what the images hold.
        parts: share of the images by the part's name; they sum to 1.
        seed: of what is left to chance.
        groups: the group of each image; images of one group come to one part.
        keep_together: sets of images that come to one part, such as near-duplicates.

    Returns:
        The images of each part, ascending, and how well they are divided.

    Raises:
        ConfigError: shares that are not positive or do not sum to 1.
        DataError: fewer groups than parts.
    """
    _require_shares(parts)
    units = _units(contents.images, groups, keep_together)
    count = int(units.max(initial=-1)) + 1
    if count < len(parts):
        raise DataError(
            f"{contents.images} images in {count} groups cannot fill {len(parts)} parts",
            cause="images that must stay together: of one group, or near-duplicates",
            cure="group by something finer, ask for fewer parts, or keep fewer images together",
        )
    dealer = _Dealer(contents, list(parts.values()), units, seed)
    dealer.deal()
    chosen = np.array(dealer.parts, np.int64)[units]
    divided = {name: np.flatnonzero(chosen == part) for part, name in enumerate(parts)}
    table = np.zeros((len(parts), len(contents.classes)), np.int64)
    np.add.at(table, (chosen[contents.owners], contents.labels), 1)
    sizes = np.bincount(chosen, minlength=len(parts))
    return divided, SplitReport(dict(parts), contents.classes, sizes, table, int(np.bincount(units).max()))


def _require_shares(parts: Mapping[str, float]) -> None:
    listed = ", ".join(f"{name}={share:g}" for name, share in parts.items())
    cure = "give shares such as train=0.8,val=0.1,test=0.1"
    if not parts or not all(share > 0 for share in parts.values()):
        raise ConfigError(f"every part needs a share above 0, not '{listed}'", cure=cure)
    if abs(sum(parts.values()) - 1) > 1e-6:
        raise ConfigError(f"the shares {listed} sum to {sum(parts.values()):g}, not to 1", cure=cure)


def _units(images: int, groups: Sequence[Hashable] | None, keep_together: Sequence[set[int]]) -> Rows:
    """(M,) number of the unit that each image belongs to, in order of their first images."""
    clusters = Clusters(images)
    members: dict[Hashable, list[int]] = defaultdict(list)
    for image, group in enumerate(groups or ()):
        members[group].append(image)
    for together in (*members.values(), *(sorted(each) for each in keep_together)):
        clusters.join_all(together)
    return np.unique(clusters.labels(), return_inverse=True)[1].astype(np.int64)


def _quotas(images: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers of images that sum to all, at least 1 each: largest remainders."""
    quotas = [max(1, int(share * images + 1e-9)) for share in shares]
    short = [share * images - quota for share, quota in zip(shares, quotas, strict=True)]
    while (missing := images - sum(quotas)) != 0:
        step = 1 if missing > 0 else -1
        open_ = [part for part, quota in enumerate(quotas) if quota + step >= 1]
        part = max(open_, key=lambda p: (step * short[p], -p))
        quotas[part] += step
        short[part] -= step
    return quotas


class _Dealer:
    """Deals out units to parts.

    Args:
        contents: what the images hold.
        shares: of the parts.
        units: (M,) the unit of each image.
        seed: of the order among equals.
    """

    def __init__(self, contents: Contents, shares: Sequence[float], units: Rows, seed: int) -> None:
        self.sizes: list[int] = np.bincount(units).tolist()
        self.parts = [-1] * len(self.sizes)
        self._room = _quotas(contents.images, shares)
        self._quotas = list(self._room)
        self._units = [0] * len(shares)
        self._left = len(self.sizes)
        classes = len(contents.classes)
        keys, counts = np.unique(units[contents.owners] * classes + contents.labels, return_counts=True)
        self._labels: list[list[tuple[int, int]]] = [[] for _ in self.sizes]
        self._holders: list[list[tuple[int, int]]] = [[] for _ in range(classes)]
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            unit, label = divmod(key, classes)
            self._labels[unit].append((label, count))
            self._holders[label].append((count, unit))
        totals = np.bincount(contents.labels, minlength=classes).tolist()
        self._wanted = [[share * total for share in shares] for total in totals]
        self._given = [[0] * len(shares) for _ in range(classes)]
        self._open = [len(holders) for holders in self._holders]
        # Of Python's generator, only random() is promised to give the same numbers in all versions.
        self._random = random.Random(seed).random
        self._order = [self._random() for _ in self.sizes]

    def deal(self) -> None:
        """Gives each unit a part."""
        remaining = set(range(len(self._holders)))
        while remaining:
            label = min(remaining, key=lambda each: (self._open[each], each))
            remaining.remove(label)
            self._deal_class(label)
        plain = [unit for unit, part in enumerate(self.parts) if part == -1]
        for unit in sorted(plain, key=lambda each: (-self.sizes[each], self._order[each])):
            self._give(unit, self._best(unit, [float(room) for room in self._room]))
        self._swap()

    def _swap(self) -> None:
        """Exchanges units of one size between parts, drawn at random, where that brings classes closer to the wish."""
        count = len(self.sizes)
        for _ in range(min(_TRIES_PER_UNIT * count, _MOST_TRIES)):
            one, other = int(self._random() * count), int(self._random() * count)
            first, second = self.parts[one], self.parts[other]
            if first == second or self.sizes[one] != self.sizes[other]:
                continue
            moved = dict(self._labels[one])
            for label, number in self._labels[other]:
                moved[label] = moved.get(label, 0) - number
            if self._gain(moved, first, second) > _LEAST_GAIN:
                self.parts[one], self.parts[other] = second, first
                for label, number in moved.items():
                    for part, change in ((first, -number), (second, number)):
                        self._given[label][part] += change
                        self._wanted[label][part] -= change

    def _gain(self, moved: Mapping[int, int], first: int, second: int) -> float:
        """By how much chi-square falls when objects move between two parts; 0 if one would lose a class.

        Args:
            moved: objects by class, negative where they move to the first part.
            first: a part.
            second: another.
        """
        gain = 0.0
        for label, number in moved.items():
            spread = len(self._holders[label]) >= len(self._room)
            for part, change in ((first, -number), (second, number)):
                if spread and change < 0 and self._given[label][part] + change == 0:
                    return 0.0
                wanted = self._wanted[label][part]
                gain += (wanted**2 - (wanted - change) ** 2) / (wanted + self._given[label][part])
        return gain

    def _deal_class(self, label: int) -> None:
        holders = [(count, self._order[unit], unit) for count, unit in self._holders[label] if self.parts[unit] == -1]
        holders.sort()
        if len(self._holders[label]) >= len(self._room):
            for part in sorted(range(len(self._room)), key=lambda each: (self._quotas[each], each)):
                if self._given[label][part] == 0:
                    fitting = (i for i, (_, _, unit) in enumerate(holders) if self._fits(unit, part))
                    place = next(fitting, None)
                    if place is not None:
                        self._give(holders.pop(place)[2], part)
        for _, _, unit in reversed(holders):
            self._give(unit, self._best(unit, self._wanted[label]))

    def _fits(self, unit: int, part: int) -> bool:
        return self.sizes[unit] <= self._room[part] and part in self._allowed()

    def _allowed(self) -> list[int]:
        """Parts that may take a unit: all, until there are only as many units left as there are empty parts."""
        every = range(len(self._room))
        empty = [part for part in every if self._units[part] == 0]
        return empty if self._left <= len(empty) else list(every)

    def _best(self, unit: int, wanted: Sequence[float]) -> int:
        allowed = self._allowed()
        fitting = [part for part in allowed if self._room[part] >= self.sizes[unit]]
        if not fitting:
            return max(allowed, key=lambda part: (self._room[part], -part))
        return max(fitting, key=lambda part: (wanted[part], self._room[part], -part))

    def _give(self, unit: int, part: int) -> None:
        self.parts[unit] = part
        self._room[part] -= self.sizes[unit]
        self._units[part] += 1
        self._left -= 1
        for label, count in self._labels[unit]:
            self._wanted[label][part] -= count
            self._given[label][part] += count
            self._open[label] -= 1
