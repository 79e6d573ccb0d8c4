"""By how much an image may be made smaller at once before it is resized to what a network sees."""

_SPARE = 2.5
"""How many times larger than asked for a reduced image must at least be; measured, see ``data.decode``."""


def shrink_factor(size: tuple[int, int], at_least: int) -> int:
    """8, 4 or 2 where an image can be reduced by so much and still be 2.5 times as large as is asked for; else 1.

    Args:
        size: (H, W) of the image in pixels. Sides that the factor does not divide are not reduced: the result would
            reach beyond the image, and differs twice as much.
        at_least: pixels of the shorter side that is asked for.
    """
    height, width = size
    fits = (n for n in (8, 4, 2) if height % n == width % n == 0 and min(size) >= _SPARE * at_least * n)
    return next(fits, 1)
