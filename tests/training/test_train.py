import signal
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from tiny_system import TinySystem, make_samples, make_system, negative_error, stage

from sightline.errors import ConfigError, DataError, ModelFileError, SightlineError
from sightline.model_file import load_weights, read_header
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.recipes import FitStage, GradientStage, Optimiser, ParameterGroup, Recipe, Schedule, Workbench
from sightline.training.checkpoints import read_checkpoint
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress, StepView
from sightline.training.run_folder import RunFolder
from sightline.training.runner import TrainResult, train

TIMES = ("seconds", "images_per_second")


class KilledError(Exception):
    """Stands for a crash."""


class CrashAt(SilentProgress):
    """Crashes after a step, or asks to stop as Ctrl-C does."""

    def __init__(self, step: int = -1, *, politely: bool = False) -> None:
        self.at = step
        self.politely = politely
        self.lines: list[str] = []

    def log(self, text: str) -> None:
        self.lines.append(text)

    def step(self, view: StepView) -> None:
        if view.step == self.at:
            if not self.politely:
                raise KilledError
            signal.raise_signal(signal.SIGTERM)


class FakeClock:
    """Each look takes a tenth of a second."""

    def __init__(self, tick: float = 0.1) -> None:
        self.now, self.tick = 1000.0, tick

    def __call__(self) -> float:
        self.now += self.tick
        return self.now


def run_one(
    path: Path,
    stages: tuple[GradientStage | FitStage, ...] | None = None,
    *,
    system: TinySystem | None = None,
    progress: CrashAt | None = None,
    clock: FakeClock | None = None,
    images: int = 7,
    **options: object,
) -> tuple[TinySystem, TrainResult]:
    system = system or make_system()
    chosen = TrainOptions(**{"workers": 0, "device": "cpu", "precision": "32", **options})
    data = TrainData(make_samples(images), make_samples(4, seed=9))
    with RunFolder.create(path, resume=chosen.goes_on, from_previous=chosen.from_previous) as run:
        result = train(
            system, Recipe(stages or (stage(),)), data, chosen, run,
            evaluate=negative_error, progress=progress or CrashAt(), clock=clock or FakeClock(),
        )  # fmt: skip
    return system, result


def weights(system: TinySystem) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in system.state_dict().items()}


def history(path: Path) -> list[dict[str, float | str]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in read_history(path / "history.csv")]


def assert_same(first: TinySystem, second: TinySystem) -> None:
    for name, tensor in weights(first).items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_training_learns_and_leaves_a_whole_run_folder(tmp_path: Path) -> None:
    progress = CrashAt()
    recipe = (stage(epochs=40, optimiser=Optimiser(lr=0.1)),)
    _, result = run_one(tmp_path / "run", recipe, images=16, progress=progress, validate_every=5)
    rows = history(tmp_path / "run")
    assert len(rows) == 8
    assert rows[-1]["train/total"] < rows[0]["train/total"] / 4
    assert rows[-1]["val/total"] < rows[0]["val/total"]
    assert result.finished and result.steps == 40 * 8
    best = max(rows, key=lambda row: row["val/closeness"])
    assert result.metrics["closeness"] == best["val/closeness"]
    assert read_header(result.best).metrics == result.metrics
    kept = make_system(5)
    load_weights(result.best, kept)
    assert negative_error(kept, make_samples(4, seed=9))["closeness"] == best["val/closeness"]
    assert {"config.json", "history.csv", "log.txt", "last", "best.safetensors"} <= {
        entry.name for entry in (tmp_path / "run").iterdir()
    }
    told = "\n".join(progress.lines)
    assert "norm layers: 1 live" in told and "320 steps" in told and "precision 32 (asked for)" in told
    assert told == (tmp_path / "run" / "log.txt").read_text().strip()


SETTINGS = {
    "sgd": stage(),
    "adamw, average, parts": stage(optimiser=Optimiser("adamw", lr=0.01), ema=0.9, accumulate=2),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("step", [1, 3, 4, 5, 10])
@pytest.mark.parametrize("politely", [False, True])
def test_resumed_run_is_the_uninterrupted_one(tmp_path: Path, setting: str, step: int, politely: bool) -> None:
    recipe = (SETTINGS[setting],)
    whole, _ = run_one(tmp_path / "whole", recipe)
    cut = tmp_path / "cut"
    if politely:
        progress = CrashAt(step, politely=True)
        assert not run_one(cut, recipe, progress=progress)[1].finished
        assert "--resume" in progress.lines[-1]
    else:
        with pytest.raises(KilledError):
            run_one(cut, recipe, progress=CrashAt(step))
    again, result = run_one(cut, recipe, system=make_system(1), resume=True)
    assert result.finished
    assert_same(whole, again)
    assert history(cut) == history(tmp_path / "whole")
    assert (cut / "best.safetensors").read_bytes() == (tmp_path / "whole" / "best.safetensors").read_bytes()
    for part in ("model", "optimiser", "ema"):
        file = Path("last") / f"{part}.safetensors"
        assert (tmp_path / "whole" / file).exists() == (cut / file).exists()


def test_validation_that_no_checkpoint_followed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_one(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(CrashAt, "log", crash_at_second_row)
        run_one(tmp_path / "cut")
    assert len(history(tmp_path / "cut")) == 2
    run_one(tmp_path / "cut", system=make_system(1), resume=True)
    assert history(tmp_path / "cut") == history(tmp_path / "whole")


def crash_at_second_row(progress: CrashAt, text: str) -> None:
    if "epoch 2" in text:
        raise KilledError


def test_resuming_a_finished_run_changes_nothing(tmp_path: Path) -> None:
    first, result = run_one(tmp_path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir() if file.suffix in (".csv", ".safetensors")}
    second, again = run_one(tmp_path, system=make_system(3), resume=True)
    assert_same(first, second)
    assert again.metrics == result.metrics
    assert {file: file.read_bytes() for file in before} == before


def test_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    alone, _ = run_one(tmp_path / "0", workers=0)
    helped, _ = run_one(tmp_path / "2", workers=2)
    assert_same(alone, helped)
    assert history(tmp_path / "0") == history(tmp_path / "2")


def test_another_seed_is_another_run(tmp_path: Path) -> None:
    first, _ = run_one(tmp_path / "0", seed=0)
    second, _ = run_one(tmp_path / "1", seed=1)
    assert not torch.equal(first.head.weight, second.head.weight)


def test_accumulated_parts_equal_the_whole_batch(tmp_path: Path) -> None:
    results = []
    for parts in (1, 2):
        system = make_system(draws=False)
        system.norm = torch.nn.Identity()  # batch statistics of a part are not those of the whole
        run_one(tmp_path / str(parts), (stage(epochs=1, batch_size=4, accumulate=parts),), system=system, images=8)
        results.append(system)
    for name, tensor in weights(results[0]).items():
        torch.testing.assert_close(tensor, results[1].state_dict()[name], rtol=1e-5, atol=1e-7)


def test_frozen_group_stays_and_the_next_stage_frees_it(tmp_path: Path) -> None:
    start = weights(make_system())
    frozen = stage(epochs=1, groups=(ParameterGroup("trunk", 0.0),))
    system, _ = run_one(tmp_path / "one", (frozen,))
    assert torch.equal(system.trunk.weight, start["trunk.weight"])
    assert not torch.equal(system.head.weight, start["head.weight"])
    system, _ = run_one(tmp_path / "two", (frozen, stage(name="second", epochs=1)))
    assert not torch.equal(system.trunk.weight, start["trunk.weight"])
    assert [row["stage"] for row in history(tmp_path / "two")] == ["train", "second"]


def test_stages_resume_in_the_second(tmp_path: Path) -> None:
    stages = (stage(epochs=1), FitStage("halve", halve_head), stage(name="third", epochs=2, ema=0.5))
    whole, _ = run_one(tmp_path / "whole", stages)
    with pytest.raises(KilledError):
        run_one(tmp_path / "cut", stages, progress=CrashAt(5))
    again, _ = run_one(tmp_path / "cut", stages, system=make_system(1), resume=True)
    assert_same(whole, again)
    assert history(tmp_path / "cut") == history(tmp_path / "whole")
    assert [row["stage"] for row in history(tmp_path / "whole")] == ["train", "halve", "third", "third"]


def halve_head(system: TinySystem, samples: object, bench: Workbench) -> dict[str, float]:
    with torch.no_grad():
        system.head.weight.mul_(0.5)
    return {"halved": 1.0}


@pytest.mark.parametrize("clip", [{"clip_norm": 1e-4}, {"clip_value": 1e-5}, {"clip_norm": 1.0, "clip_value": 1e-5}])
def test_clipping_bounds_the_step(tmp_path: Path, clip: dict[str, float]) -> None:
    start = weights(make_system())
    plain = Optimiser(lr=1.0, momentum=0.0, weight_decay=0.0)
    schedule = Schedule("constant", warmup_steps=0)
    system, _ = run_one(tmp_path, (stage(epochs=2 / 7, optimiser=plain, schedule=schedule, **clip),))
    moves = [(p.detach() - start[name]) for name, p in system.named_parameters()]
    norm = torch.stack([move.norm() for move in moves]).norm()
    largest = max(float(move.abs().max()) for move in moves)
    if "clip_value" in clip:
        assert largest == pytest.approx(1e-5, rel=0.02)
    else:
        assert float(norm) == pytest.approx(1e-4, rel=0.02)


def test_minutes_end_on_time_and_the_rate_follows(tmp_path: Path) -> None:
    progress, clock = CrashAt(), FakeClock()
    began = clock.now
    _, result = run_one(tmp_path, (stage(epochs=100, schedule=Schedule("cosine", 5)),), minutes=3.0, clock=clock,
                        progress=progress, images=20, validate_every=8)  # fmt: skip
    assert result.finished
    assert 160 < clock.now - began <= 181
    rows = read_history(tmp_path / "history.csv")
    rates = [row["lr"] for row in rows]
    assert rates == sorted(rates, reverse=True) and rates[-1] < 0.05 * 0.01
    assert any("wall time" in line for line in progress.lines)


def test_minutes_survive_a_resume(tmp_path: Path) -> None:
    recipe = (stage(epochs=100),)
    with pytest.raises(KilledError):
        run_one(tmp_path, recipe, minutes=3.0, clock=FakeClock(0.5), progress=CrashAt(40), validate_every=5)
    used = read_history(tmp_path / "history.csv")[-1]["seconds"]
    clock = FakeClock(0.5)
    began = clock.now
    _, result = run_one(
        tmp_path, recipe, minutes=3.0, clock=clock, system=make_system(1), resume=True, validate_every=5
    )
    assert result.finished and result.seconds == pytest.approx(180, abs=20)
    assert clock.now - began <= 181 - used


def test_one_image_is_enough(tmp_path: Path) -> None:
    _, result = run_one(tmp_path, (stage(epochs=3),), images=1)
    assert result.finished and result.steps == 2


def test_no_images_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no images"):
        run_one(tmp_path, images=0)


def test_loss_that_is_not_finite_names_the_images(tmp_path: Path) -> None:
    wild = stage(optimiser=Optimiser(lr=1e30), schedule=Schedule("constant", warmup_steps=0), epochs=20)
    with pytest.raises(SightlineError, match=r"image \d.*is not finite at step"):
        run_one(tmp_path, (wild,))
    with pytest.raises(SightlineError, match="not finite"):
        run_one(tmp_path, (wild,), resume=True)


def test_batch_with_fewer_images_than_parts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="fewer images than parts"):
        run_one(tmp_path, (stage(accumulate=3),), batch_size=2)


def test_resume_with_other_settings_names_the_key(tmp_path: Path) -> None:
    run_one(tmp_path)
    with pytest.raises(ConfigError, match=r"options\.seed is 4, but .* started with 0"):
        run_one(tmp_path, resume=True, seed=4)
    with pytest.raises(ConfigError, match="stages"):
        run_one(tmp_path, (stage(clip_norm=1.0),), resume=True)


def test_resume_with_another_model_changes_nothing(tmp_path: Path) -> None:
    run_one(tmp_path)
    file = tmp_path / "last" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4] + b"oops")
    with pytest.raises(ModelFileError, match="checksum"):
        run_one(tmp_path, resume=True)


@dataclass(frozen=True)
class SlowProposer(Proposer):
    """Each image takes 50 seconds of the fake clock."""

    name = "slow"
    clock: FakeClock = field(compare=False)

    def propose(self, image: torch.Tensor, count: int) -> ImageProposals:
        del image, count
        self.clock.now += 50.0
        return ImageProposals(torch.tensor([[1.0, 1.0, 5.0, 5.0]]))


def test_proposals_before_the_first_step_are_not_in_the_time_that_a_run_has_used(tmp_path: Path) -> None:
    clock, system = FakeClock(), make_system()
    system.proposer = SlowProposer(clock)
    validated = 4 * 50.0  # predictions in validation are part of training, and propose themselves
    _, result = run_one(tmp_path, system=system, clock=clock, epochs=1)
    state = read_checkpoint(tmp_path / "last").state
    assert 11 * 50.0 <= state.proposal_seconds < 11 * 50.0 + 5
    assert validated <= result.seconds < validated + 50
    assert state.seconds == result.seconds


def test_peak_of_memory_is_kept_with_the_run(tmp_path: Path) -> None:
    run_one(tmp_path, epochs=1)
    peak = read_checkpoint(tmp_path / "last").state.peak_memory
    assert peak == 0 or 50e6 < peak < 50e9
