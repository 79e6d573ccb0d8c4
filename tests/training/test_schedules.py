import math

import pytest

from sightline.recipes import Schedule
from sightline.training.schedules import learning_rate_share

STEP = Schedule("step", warmup_steps=0)
COSINE = Schedule("cosine", warmup_steps=0, final=0.2)


@pytest.mark.parametrize(
    ("schedule", "progress", "expected"),
    [
        (STEP, 0.0, 1.0),
        (STEP, 0.66, 1.0),
        (STEP, 8 / 12, 0.1),
        (STEP, 0.9, 0.1),
        (STEP, 11 / 12, 0.01),
        (STEP, 1.0, 0.01),
        (COSINE, 0.0, 1.0),
        (COSINE, 0.5, 0.6),
        (COSINE, 1 / 3, 0.2 + 0.8 * 0.75),
        (COSINE, 1.0, 0.2),
        (Schedule("constant", warmup_steps=0), 0.7, 1.0),
    ],
)
def test_hand_worked_values(schedule: Schedule, progress: float, expected: float) -> None:
    assert math.isclose(learning_rate_share(schedule, 1000, progress), expected)


def test_step_changes_at_the_first_step_of_its_epoch() -> None:
    steps = [learning_rate_share(STEP, i, i / 120) for i in range(120)]
    assert [i for i in range(1, 120) if steps[i] != steps[i - 1]] == [80, 110]


def test_warm_up_is_linear_and_counts_steps() -> None:
    schedule = Schedule("constant", warmup_steps=4, warmup_start=0.2)
    shares = [learning_rate_share(schedule, step, step / 1000) for step in range(6)]
    assert shares == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0, 1.0])


def test_warm_up_takes_at_most_a_tenth_of_a_short_stage() -> None:
    schedule = Schedule("constant", warmup_steps=500, warmup_start=0.0)
    shares = [learning_rate_share(schedule, step, step / 100) for step in range(12)]
    assert shares == pytest.approx([i / 10 for i in range(11)] + [1.0])
