"""What a person changes of a recipe reaches every gradient stage, typed and checked."""

import pytest

from sightline.errors import ConfigError
from sightline.recipes import GradientStage, Optimiser, Recipe, Schedule
from sightline.training.options import TrainOptions, describe_learning_rate, settle
from sightline.training.schedules import learning_rate_share


def _settled(recipe: dict[str, object], **options: object) -> GradientStage:
    stage = GradientStage(batch_size=2, optimiser=Optimiser("sgd", lr=0.01), clip_norm=5.0)
    (settled,) = settle(Recipe((stage,)), TrainOptions(recipe=recipe, **options))
    assert isinstance(settled, GradientStage)
    return settled


def test_changes_reach_the_stage_and_leave_the_rest() -> None:
    stage = _settled({"optimiser": {"kind": "adamw", "lr": 0.001}, "ema": 0.99, "clip_norm": None, "accumulate": 2})
    assert (stage.optimiser.kind, stage.optimiser.lr, stage.optimiser.momentum) == ("adamw", 0.001, 0.9)
    assert (stage.ema, stage.clip_norm, stage.accumulate) == (0.99, None, 2)
    assert stage.schedule == GradientStage().schedule


def test_a_learning_rate_that_is_given_is_not_scaled_with_the_batch() -> None:
    assert _settled({}, batch_size=8).optimiser.lr == pytest.approx(0.04)
    assert _settled({"optimiser": {"lr": 0.03}}, batch_size=8).optimiser.lr == 0.03


def test_linear_scaling_with_warm_up_from_the_base_rate() -> None:
    """Goyal et al. 2017: eight times the batch, eight times the rate, reached from the base rate in even steps."""
    base = GradientStage(batch_size=2, optimiser=Optimiser(lr=0.1), schedule=Schedule("constant", warmup_steps=0))
    (stage,) = settle(Recipe((base,)), TrainOptions(batch_size=16))
    assert isinstance(stage, GradientStage)
    steps = stage.schedule.warmup_steps
    rates = [stage.optimiser.lr * learning_rate_share(stage.schedule, step, 0.0) for step in range(steps + 100)]
    assert rates[0] == pytest.approx(0.1) and rates[steps:] == pytest.approx([0.8] * 100)
    assert rates[: steps + 1] == pytest.approx([0.1 + 0.7 * step / steps for step in range(steps + 1)])
    told = "learning rate 0.8, scaled by 8 from 0.1 for batches of 2 images to 16; warm-up from 0.1"
    assert describe_learning_rate(base, stage) == told


def test_own_warm_up_and_smaller_batches_keep_their_start() -> None:
    own = GradientStage(batch_size=2, optimiser=Optimiser(lr=0.1), schedule=Schedule(warmup_steps=50))
    (stage,) = settle(Recipe((own,)), TrainOptions(batch_size=16))
    assert isinstance(stage, GradientStage)
    assert stage.schedule == own.schedule
    assert stage.optimiser.lr * learning_rate_share(stage.schedule, 0, 0.0) == pytest.approx(0.8e-3)
    bare = GradientStage(batch_size=2, schedule=Schedule(warmup_steps=0))
    (smaller,) = settle(Recipe((bare,)), TrainOptions(batch_size=1))
    assert isinstance(smaller, GradientStage)
    assert smaller.schedule == bare.schedule and smaller.optimiser.lr == bare.optimiser.lr / 2


def test_the_log_says_where_the_rate_comes_from() -> None:
    base = GradientStage(batch_size=2, optimiser=Optimiser("sgd", lr=0.01), clip_norm=5.0)
    assert describe_learning_rate(base, _settled({})) == "learning rate 0.01, the recipe's own for batches of 2 images"
    given = describe_learning_rate(base, _settled({"optimiser": {"lr": 0.03}}, batch_size=8))
    assert given == "learning rate 0.03 as asked for, not scaled (the recipe's: 0.01 for 2 images)"


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"optimizer": {"lr": 1.0}}, "did you mean optimiser"),
        ({"optimiser": {"kind": "adam"}}, "adamw"),
        ({"ema": 2.0}, "ema must be"),
        ({"accumulate": 0}, "accumulate must be"),
        ({"clip_norm": -1.0}, "clip_norm must be"),
        ({"schedule": {"warmup": 3}}, "warmup_steps"),
    ],
)
def test_mistakes_are_answered(recipe: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _settled(recipe)
