"""Classes that are probably one: the same name in another spelling, or with a slip of the finger."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import combinations

from sightline.data.findings import Finding
from sightline.data.tables import Tables

_RARE_SHARE, _RARE_COUNT = 0.05, 2
"""A name with at most so many objects, or so small a share of the other's, may be a slip of it."""

_SHORTEST = 4
"""Letters from which one other letter is a slip: cat and car are two things."""

_SEPARATORS = str.maketrans("", "", " _-")


def check_names(splits: Mapping[str, Tables]) -> Iterator[Finding]:
    """Pairs of class names that look like one.

    Args:
        splits: of a set.
    """
    objects: Counter[str] = Counter()
    places: dict[str, str] = {}
    for tables in splits.values():
        for category in tables.categories:
            places.setdefault(category["name"], str(tables.source))
        names = [category["name"] for category in tables.categories]
        objects.update(names[label] for label in tables.objects.labels.tolist())
    for one, other in combinations(sorted(places), 2):
        if _plain(one) == _plain(other) or _is_slip(one, other, objects):
            what = f"{one!r} with {objects[one]:,} objects and {other!r} with {objects[other]:,}"
            yield Finding("class-names-alike", what, places[one], "categories")


def _plain(name: str) -> str:
    return name.casefold().translate(_SEPARATORS)


def _is_slip(one: str, other: str, objects: Mapping[str, int]) -> bool:
    few, many = sorted((objects.get(one, 0), objects.get(other, 0)))
    rare = 0 < few < many and (few <= _RARE_COUNT or few < _RARE_SHARE * many)
    return rare and min(len(one), len(other)) >= _SHORTEST and one_edit_apart(_plain(one), _plain(other))


def one_edit_apart(one: str, other: str) -> bool:
    """Whether one letter inserted, left out, replaced or swapped with its neighbour makes one word the other."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    one, other = one[start:], other[start:]
    swapped = len(one) > 1 and one[:2] == other[1::-1] and one[2:] == other[2:]
    return swapped or one[1:] == other[1:] or one[1:] == other or one == other[1:]
