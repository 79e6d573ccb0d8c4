"""What a person changes of a recipe reaches every gradient stage, typed and checked."""

import pytest

from sightline.contract import GradientStage, Optimiser, Recipe
from sightline.errors import ConfigError
from sightline.training.options import TrainOptions, settle


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
