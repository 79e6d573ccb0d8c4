"""When class ids count as off by one: many that agree, never a slip."""

import pytest

from sightline.data.class_shift import shift_of


@pytest.mark.parametrize(
    ("used", "listed", "shift"),
    [
        ({0: 5, 1: 5, 2: 5}, (1, 2, 3), 1),
        ({2: 20, 3: 20, 4: 2}, (1, 2, 3), -1),
        ({2: 20, 3: 20, 4: 1}, (1, 2, 3), 0),  # a slip
        ({2: 60, 3: 58, 4: 2}, (1, 2, 3), 0),  # 1.7%
        ({2: 50, 3: 48, 4: 2}, (1, 2, 3), -1),  # 2%
        ({0: 9}, (1,), 0),
        ({1: 3, 2: 3}, (1, 2), 0),
        ({0: 3, 3: 3}, (1, 2), 0),
        ({2: 4, 4: 4}, (1, 3, 5), 1),  # between ids with holes both ways fit, and the first is taken
        ({}, (1, 2), 0),
        ({0: 3, 1: 3}, (), 0),
        ({0: 0, 1: 3, 2: 3}, (1, 2), 0),
    ],
)
def test_a_shift_has_many_witnesses(used: dict[int, int], listed: tuple[int, ...], shift: int) -> None:
    assert shift_of(used, listed) == shift
