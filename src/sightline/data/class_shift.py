"""Class ids that count from 0 where the list counts from 1, or the other way round: one rule for all readers."""

from collections.abc import Collection, Mapping

FEWEST_CLASSES = 2
"""A single class that is not listed may as well be another class."""

FEWEST_OBJECTS, LEAST_SHARE = 2, 0.02
"""Annotations with ids that are not listed, and their share of all: fewer are a slip, which moves no other label."""


def shift_of(used: Mapping[int, int], listed: Collection[int]) -> int:
    """By how much all class ids are beside the listed ones.

    Args:
        used: how many annotations have each id.
        listed: the ids of the classes.

    Returns:
        1 or -1, what has to be added to every id; 0 where the ids are right, or wrong in another way.
    """
    known = set(listed)
    numbers = {number for number, count in used.items() if count > 0}
    beside = sum(used[number] for number in numbers - known)
    enough = beside >= max(FEWEST_OBJECTS, LEAST_SHARE * sum(used[number] for number in numbers))
    if len(numbers) < FEWEST_CLASSES or not enough:
        return 0
    return next((shift for shift in (1, -1) if {number + shift for number in numbers} <= known), 0)
