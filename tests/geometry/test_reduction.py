"""By how much a large image is reduced before it is resized."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.geometry.reduction import shrink_factor


@pytest.mark.parametrize(
    ("size", "at_least", "factor"),
    [
        ((4000, 4000), 200, 8),
        ((3999, 4000), 200, 1),
        ((4000, 4004), 200, 4),
        ((4000, 4002), 200, 2),
        ((4000, 6000), 201, 4),
        ((480, 640), 96, 2),
        ((480, 640), 97, 1),
        ((8, 8), 1, 2),
        ((24, 24), 1, 8),
        ((1, 1), 1, 1),
    ],
)
def test_examples_by_hand(size: tuple[int, int], at_least: int, factor: int) -> None:
    assert shrink_factor(size, at_least) == factor == shrink_factor(size[::-1], at_least)


@given(height=st.integers(1, 5000), width=st.integers(1, 5000), at_least=st.integers(1, 900))
def test_it_divides_and_leaves_enough_and_no_larger_one_would(height: int, width: int, at_least: int) -> None:
    factor = shrink_factor((height, width), at_least)
    assert factor in (1, 2, 4, 8) and height % factor == width % factor == 0
    if factor > 1:
        assert min(height, width) / factor >= 2.5 * at_least
    larger = [n for n in (2, 4, 8) if n > factor and height % n == width % n == 0]
    assert all(min(height, width) / n < 2.5 * at_least for n in larger)
