import json
from pathlib import Path

import pytest
from test_train import CrashAt, KilledError, assert_same, halve_head, history, run_one
from tiny_system import TinySystem, make_system, stage

from sightline.errors import ConfigError
from sightline.recipes import FitStage, GradientStage, Optimiser, Schedule
from sightline.training.checkpoints import Checkpoint, peek_state, read_checkpoint, write_checkpoint
from sightline.training.continuation import require_way_on
from sightline.training.history import read_history
from sightline.training.options import TrainOptions
from sightline.training.runner import TrainResult
from sightline.training.schedules import learning_rate_share

FLAT = Schedule("constant", warmup_steps=0)
AVERAGED = {"optimiser": Optimiser("adamw", lr=0.01), "ema": 0.9, "accumulate": 2}


def extend(
    path: Path, recipe: tuple[GradientStage | FitStage, ...], epochs: float, **options: object
) -> tuple[TinySystem, TrainResult]:
    return run_one(path, recipe, system=make_system(1), extend=epochs, **options)


@pytest.mark.parametrize("changes", [{}, AVERAGED], ids=["sgd", "adamw, average, parts"])
@pytest.mark.parametrize("images", [7, 8])
def test_extended_by_a_constant_rate_is_the_longer_run(tmp_path: Path, changes: dict[str, object], images: int) -> None:
    """Weights, optimiser memory, average and the stream of images go on: with no schedule nothing tells them apart."""
    whole, _ = run_one(tmp_path / "whole", (stage(epochs=6 / images * 2, schedule=FLAT, **changes),), images=images)
    first = (stage(epochs=3 / images * 2, schedule=FLAT, **changes),)
    run_one(tmp_path / "two", first, images=images)
    system, result = extend(tmp_path / "two", first, 3 / images * 2, images=images)
    assert result.finished and result.steps == 6
    assert_same(whole, system)
    for part in ("model", "optimiser", "ema"):
        files = [tmp_path / name / "last" / f"{part}.safetensors" for name in ("whole", "two")]
        assert files[0].exists() == files[1].exists()
        assert not files[0].exists() or files[0].read_bytes() == files[1].read_bytes()


def test_rate_starts_anew_and_the_table_counts_on(tmp_path: Path) -> None:
    schedule = Schedule("cosine", warmup_steps=16)
    recipe = (stage(epochs=2, schedule=schedule),)
    run_one(tmp_path, recipe, images=8)
    progress = CrashAt()
    extend(tmp_path, recipe, 20, images=8, progress=progress)
    table = read_history(tmp_path / "history.csv")
    assert [row["epoch"] for row in table] == list(range(1, 23))
    assert [row["step"] for row in table] == list(range(4, 89, 4))
    expected = [learning_rate_share(schedule, n - 1, (n - 1) / 8) for n in (4, 8)]
    expected += [learning_rate_share(schedule, n - 1, (n - 1) / 80) for n in range(4, 81, 4)]
    assert [row["lr"] for row in table] == [0.05 * share for share in expected]
    assert expected[2] < expected[3]  # the second warm-up is seen
    told = "\n".join(progress.lines)
    assert "extended by 20 epochs" in told and "warm restart (Loshchilov and Hutter 2017)" in told
    assert "80 steps (20 epochs)" in told


def test_extensions_are_recorded_and_repeatable(tmp_path: Path) -> None:
    recipe = (stage(epochs=1),)
    run_one(tmp_path, recipe)
    for epochs in (1, 2):
        assert extend(tmp_path, recipe, epochs)[1].finished
    recorded = json.loads((tmp_path / "config.json").read_text())["training"]
    assert recorded["extensions"] == [1, 2] and recorded["stages"][0]["epochs"] == 1
    _, result = run_one(tmp_path, recipe, system=make_system(2), resume=True)
    assert result.finished and result.steps == 4 + 4 + 7
    assert json.loads((tmp_path / "config.json").read_text())["training"]["extensions"] == [1, 2]


def test_rows_of_the_table_that_were_taken_away_are_said(tmp_path: Path) -> None:
    recipe = (stage(epochs=2),)
    run_one(tmp_path, recipe)
    for rows, said in ((2, False), (1, True)):
        lines = (tmp_path / "history.csv").read_text().splitlines(keepends=True)
        (tmp_path / "history.csv").write_text("".join(lines[: rows + 1]))
        progress = CrashAt()
        extend(tmp_path, recipe, 1, progress=progress)
        assert any("history.csv has 1 of the 3 rows" in line for line in progress.lines) == said


@pytest.mark.parametrize("step", [11, 14, 21])
@pytest.mark.parametrize("politely", [False, True])
def test_interrupted_extension_is_resumed_exactly(tmp_path: Path, step: int, politely: bool) -> None:
    recipe = (stage(**AVERAGED),)
    runs = {}
    for name in ("whole", "cut"):
        run_one(tmp_path / name, recipe)
        progress = CrashAt(step if name == "cut" else -1, politely=politely)
        if name == "cut" and not politely:
            with pytest.raises(KilledError):
                extend(tmp_path / name, recipe, 3.2, progress=progress)
        else:
            runs[name] = extend(tmp_path / name, recipe, 3.2, progress=progress)
    with pytest.raises(ConfigError, match="--resume first"):
        extend(tmp_path / "cut", recipe, 3.2)
    again, result = run_one(tmp_path / "cut", recipe, system=make_system(3), resume=True)
    assert result.finished
    assert_same(runs["whole"][0], again)
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    for file in ("best.safetensors", "last/model.safetensors", "last/optimiser.safetensors", "last/ema.safetensors"):
        assert (tmp_path / "cut" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_best_stays_the_best_unless_it_is_beaten(tmp_path: Path) -> None:
    recipe = (stage(epochs=1),)
    run_one(tmp_path / "kept", recipe)
    state = peek_state(tmp_path / "kept" / "last")
    assert state is not None and state.best is not None
    before = (tmp_path / "kept" / "best.safetensors").read_bytes()
    checkpoint = read_checkpoint(tmp_path / "kept" / "last")
    unbeatable = {**checkpoint.state.__dict__, "best": 1e9}
    write_checkpoint(tmp_path / "kept" / "last", Checkpoint(type(state)(**unbeatable), checkpoint.tensors))
    extend(tmp_path / "kept", recipe, 2)
    assert (tmp_path / "kept" / "best.safetensors").read_bytes() == before
    run_one(tmp_path / "beaten", recipe)
    _, result = extend(tmp_path / "beaten", recipe, 20)
    table = read_history(tmp_path / "beaten" / "history.csv")
    assert result.metrics["closeness"] == max(row["val/closeness"] for row in table) > state.best


def test_last_stage_of_several_is_extended(tmp_path: Path) -> None:
    stages = (stage(epochs=1), FitStage("halve", halve_head), stage(name="third", epochs=1, ema=0.5))
    run_one(tmp_path, stages)
    extend(tmp_path, stages, 2)
    table = history(tmp_path)
    assert [row["stage"] for row in table] == ["train", "halve", "third", "third", "third"]
    assert [row["step"] for row in table][-3:] == [4, 7, 11]


def test_minutes_run_is_extended_by_steps(tmp_path: Path) -> None:
    recipe = (stage(epochs=100),)
    _, first = run_one(tmp_path, recipe, minutes=0.1)
    _, result = extend(tmp_path, recipe, 2, minutes=0.1)
    assert result.steps == first.steps + 7


def test_what_cannot_be_extended_says_why(tmp_path: Path) -> None:
    recipe = (stage(epochs=1),)
    with pytest.raises(ConfigError, match="no run to extend"):
        require_way_on(tmp_path / "none", TrainOptions(extend=1))
    with pytest.raises(KilledError):
        run_one(tmp_path / "cut", recipe, progress=CrashAt(2))
    for call in (extend, lambda path, recipe, epochs: require_way_on(path, TrainOptions(extend=epochs))):
        with pytest.raises(ConfigError, match=r"not finished.*cure: bring it to its end with --resume first"):
            call(tmp_path / "cut", recipe, 1)
    fitted = (stage(epochs=1), FitStage("halve", halve_head))
    run_one(tmp_path / "fitted", fitted)
    with pytest.raises(ConfigError, match="ends with halve, which is solved"):
        extend(tmp_path / "fitted", fitted, 1)
    run_one(tmp_path / "old", recipe)
    checkpoint = read_checkpoint(tmp_path / "old" / "last")
    write_checkpoint(tmp_path / "old" / "last", Checkpoint(checkpoint.state, {"model": checkpoint.tensors["model"]}))
    with pytest.raises(ConfigError, match=r"memory was not kept.*--weights"):
        extend(tmp_path / "old", recipe, 1)
    with pytest.raises(ConfigError, match=r"options\.seed is 4, but .* started with 0"):
        extend(tmp_path / "old", recipe, 1, seed=4)


def test_options_that_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match=r"--resume and --extend exclude.*interrupted run.*finished one"):
        TrainOptions(resume=True, extend=1)
    with pytest.raises(ConfigError, match="with --resume"):
        TrainOptions(from_previous=True)
    for epochs in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="extend must be above 0"):
            TrainOptions(extend=epochs)
    with pytest.raises(ConfigError, match="save_every"):
        TrainOptions(save_every=-1)
