"""The first number that is not finite stops a run, is explained, and can be looked at again."""

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_system import SIDE, TinySystem, make_samples, negative_error, stage

from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.errors import ModelFileError, SightlineError
from sightline.recipes import GradientStage, Optimiser, Recipe, Schedule
from sightline.structures import Classes, ImageBatch, LossTerm, Sample, Target
from sightline.training.guards.causes import Evidence, find_causes
from sightline.training.guards.replay import Outcome
from sightline.training.guards.stopped import Stopped, load_stopped
from sightline.training.guards.worst_batch import worst_batch
from sightline.training.job import TrainData
from sightline.training.loader import TrainBatch
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train
from sightline.training.steps import MOST_SKIPPED, Stepper

WILD = stage(optimiser=Optimiser(lr=1e30), schedule=Schedule("constant", warmup_steps=0), epochs=20)


class FromSides(TinySystem):
    """Its loss takes the logarithm of a quotient of sides, as R-CNN's coding does, squared."""

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        sides = [(t.boxes[:, 2:] - t.boxes[:, :2]).min() if len(t) else torch.ones(()) for t in targets]
        scale = self.head.bias.sum() ** 2 + 1
        total = torch.stack([scale / side**16 for side in sides]).sum()
        return {**super().loss(batch, kept(targets)), "sides": LossTerm(total, len(sides))}


def kept(targets: Sequence[Target]) -> list[Target]:
    """Targets without objects get one: the tiny system needs one."""
    one = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
    return [t if len(t) else Target(one, torch.zeros(1, dtype=torch.int64), t.size) for t in targets]


def plus(term: LossTerm, value: float) -> LossTerm:
    """The loss with something added to its value."""
    return LossTerm(term.total + value * term.count, term.count)


class RootOfNothing(TinySystem):
    """A finite loss whose gradient is not: the root of zero."""

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        return {
            **super().loss(batch, targets),
            "root": LossTerm((self.head.bias - self.head.bias).abs().sum().sqrt(), 1),
        }


class HalfOverflows(TinySystem):
    """Overflows in what it computes with 16 bits, and not with 32."""

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        losses = super().loss(batch, targets)
        # 3.4e38 is the largest of both formats; what bfloat16 rounds up is infinite.
        reduced = (self.head(torch.ones(1, self.head.in_features))).dtype
        return {**losses, "large": plus(losses["x"], float(torch.tensor(3.4e38).to(reduced)) * 0)}


def run(
    path: Path, system: TinySystem, samples: list[Sample], recipe: GradientStage | None = None, **options: object
) -> None:
    chosen = TrainOptions(**{"workers": 0, "device": "cpu", "precision": "32", "dry_run": False, **options})
    data = TrainData(samples, make_samples(4, seed=9))
    with RunFolder.create(path, resume=chosen.resume) as folder:
        train(
            system, Recipe((recipe or stage(),)), data, chosen, folder,
            evaluate=negative_error, progress=SilentProgress(),
        )  # fmt: skip


def stops(path: Path, system: TinySystem, samples: list[Sample], **settings: object) -> tuple[SightlineError, Stopped]:
    with pytest.raises(SightlineError) as caught:
        run(path, system, samples, **settings)
    return caught.value, load_stopped(path / "stopped")


def make(kind: Callable[[], TinySystem]) -> TinySystem:
    torch.manual_seed(0)
    return kind()


def with_flat_box(samples: list[Sample], index: int) -> list[Sample]:
    flat = torch.tensor([[3.0, 3.0, 9.0, 3.001]])
    old = samples[index]
    target = Target(flat, torch.zeros(1, dtype=torch.int64), old.target.size)
    return [*samples[:index], Sample(old.image, target, old.image_id, "photos/flat.jpg"), *samples[index + 1 :]]


def assert_replayed(stopped: Stopped, system: TinySystem | FasterRCNN) -> None:
    """The kept batch gives the same losses, bit for bit, and the same gradients are not finite."""
    outcomes = stopped.replay(system)
    for outcome, losses in zip(outcomes, stopped.report["losses"], strict=True):
        assert {name: str(value) for name, value in outcome.losses.items()} == {n: str(v) for n, v in losses.items()}
    assert sorted({name for outcome in outcomes for name in outcome.gradients}) == sorted(
        stopped.report["gradients_not_finite"]
    )


def test_flat_box_is_found_by_leaving_it_out(tmp_path: Path) -> None:
    error, stopped = stops(tmp_path, make(FromSides), with_flat_box(make_samples(8), 5))
    assert error.place is not None and "photos/flat.jpg" in error.place
    assert "a box of 6 x 0.001 pixels at x 3, y 3 of photos/flat.jpg: without, all is finite" in str(error)
    assert "correct the box" in str(error) and "loss sides is not finite at step" in str(error)
    assert_replayed(stopped, make(FromSides))


def test_gradient_alone_stops_the_run_before_the_weights_change(tmp_path: Path) -> None:
    system = make(RootOfNothing)
    before = {name: value.clone() for name, value in system.named_parameters()}
    error, stopped = stops(tmp_path, system, make_samples(8))
    assert "the norm of the gradient is not finite at step 1" in str(error) and "AbsBackward0 gives" in str(error)
    assert stopped.report["gradients_not_finite"] == ["head.bias"]
    assert all(torch.equal(value, before[name]) for name, value in system.named_parameters())
    assert_replayed(stopped, make(RootOfNothing))


class Exploding(TinySystem):
    """Its loss grows a hundredfold with every step."""

    steps = 0

    def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
        self.steps += torch.is_grad_enabled()
        return {name: plus(term, 100.0 ** (7 * self.steps)) for name, term in super().loss(batch, targets).items()}


def test_explosion_tells_the_last_losses_and_the_way_on(tmp_path: Path) -> None:
    recipe = stage(epochs=200)
    error, stopped = stops(tmp_path, make(Exploding), make_samples(2), recipe=recipe)
    assert stopped.report["last_losses"] == pytest.approx([2e14, 2e28], rel=1e-6)
    assert "2e+14, 2e+28 at a learning rate of 0.05: it exploded" in str(error)
    assert "optimiser.lr=0.025" in str(error) and f"--weights {tmp_path / 'best.safetensors'}" in str(error)
    assert "--resume stops here again" in str(error)


def test_exploded_losses_are_blamed_where_the_batch_passes_the_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Evidence, "again", lambda *_: Outcome({"x": 1.0}, ()))
    system, samples = make(TinySystem), make_samples(1)
    part = TrainBatch(system.prepare([samples[0].image]), (samples[0].target,), ("one",))
    evidence = Evidence(system, "loss", [part], [()], "32-true", (8.0, 70.0, 1.5e6), 0.002, 0.005)
    (cause,) = find_causes(evidence)
    assert "exploded" in cause.found and "optimiser.lr=0.0025, or with --recipe clip_norm=1" in cause.cure
    assert "clip_norm=0.1" in find_causes(replace(evidence, clip_norm=1.0))[0].cure
    (cause,) = find_causes(replace(evidence, last_losses=(8.0, 7.0)))
    assert "finite when it is computed again" in cause.found


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    system = make(TinySystem)
    with torch.no_grad():
        system.trunk.weight[0, 0, 0, 0] = math.inf
    error, _ = stops(tmp_path, system, make_samples(4))
    assert "the weight trunk.weight is not finite since an earlier step" in str(error)


def test_weights_that_are_huge_are_named(tmp_path: Path) -> None:
    error, _ = stops(tmp_path, make(TinySystem), make_samples(8), recipe=WILD)
    assert "has grown to" in str(error)


def test_image_with_pixels_that_are_not_finite_is_named(tmp_path: Path) -> None:
    samples = make_samples(4)
    image = samples[2].image.float() / 255
    image[0, 3, 3] = math.nan
    samples[2] = Sample(image, samples[2].target, 7, "photos/nan.tif")
    error, _ = stops(tmp_path, make(TinySystem), samples, recipe=stage(augmentation=()))
    assert "pixels of photos/nan.tif are not finite" in str(error)


def test_one_image_of_the_batch_is_told_from_the_others(tmp_path: Path) -> None:
    class OneIsBad(TinySystem):
        def loss(self, batch: ImageBatch, targets: Sequence[Target]) -> dict[str, LossTerm]:
            bad = any(len(target) == 2 for target in targets)
            return {n: plus(term, math.inf if bad else 0) for n, term in super().loss(batch, targets).items()}

    samples = make_samples(8)
    two = Target(samples[3].target.boxes.repeat(2, 1), torch.zeros(2, dtype=torch.int64), (SIDE, SIDE))
    samples[3] = Sample(samples[3].image, two, 3, "photos/two.jpg")
    error, stopped = stops(tmp_path, make(OneIsBad), samples, recipe=stage(batch_size=4))
    assert "of the batch's images photos/two.jpg alone does it" in str(error)
    assert len(stopped.report["images"][0]) == 4


def test_overflow_of_low_precision_is_told_from_everything_else(tmp_path: Path) -> None:
    error, stopped = stops(tmp_path, make(HalfOverflows), make_samples(4), precision="bf16-mixed")
    assert "bf16-mixed overflows: the same batch in 32 bits is finite" in str(error) and "--precision 32" in str(error)
    assert_replayed(stopped, make(HalfOverflows))
    assert all(outcome.finite for outcome in stopped.replay(make(HalfOverflows), precision="32-true"))


def test_what_is_kept_is_what_the_network_saw_in_parts(tmp_path: Path) -> None:
    recipe = stage(batch_size=4, accumulate=2, optimiser=Optimiser("adamw", lr=0.01), epochs=4)
    error, stopped = stops(tmp_path, make(FromSides), with_flat_box(make_samples(8), 5), recipe=recipe)
    report = stopped.report
    assert [len(part) for part in stopped.parts] == [2, 2] and len(report["losses"]) == 2
    assert report["step"] <= 2 and report["seed"] == 0 and report["learning_rate"] > 0
    flat = [target for part in stopped.parts for target in part.targets if float(target.boxes[0, 3]) < 3.1]
    assert any(torch.allclose(t.boxes, torch.tensor([[3.0, 3.0, 9.0, 3.001]])) for t in flat)
    assert_replayed(stopped, make(FromSides))
    assert json.loads((tmp_path / "stopped" / "report.json").read_text())["images"] == report["images"]
    assert "photos/flat.jpg" in str(error)


def test_optimiser_is_kept_as_it_was_before_the_step(tmp_path: Path) -> None:
    recipe = stage(epochs=20, optimiser=Optimiser(lr=30.0), schedule=Schedule("constant", warmup_steps=0))
    _, stopped = stops(tmp_path, make(TinySystem), make_samples(8), recipe=recipe)
    assert set(stopped.optimiser) == {f"{name}:momentum_buffer" for name, _ in make(TinySystem).named_parameters()}
    assert load_file(stopped.model).keys() == make(TinySystem).state_dict().keys()


@pytest.mark.parametrize("precision", ["32", "bf16-mixed"])
def test_batch_of_a_real_detector_gives_the_same_losses_again(tmp_path: Path, precision: str) -> None:
    def build() -> FasterRCNN:
        config = FasterRCNNConfig(
            backbone="mobilenet_v3_small", norm="frozen", short_side=64, long_side=128, channels=16, head_width=16,
            proposals=20, region_samples=16,
        )  # fmt: skip
        torch.manual_seed(0)
        return FasterRCNN(config, Classes(("square",)))

    system = build()
    (learns,) = system.recipe().stages
    assert isinstance(learns, GradientStage)
    wild = replace(learns, optimiser=Optimiser(lr=1e12), schedule=Schedule("constant", warmup_steps=0))
    options = TrainOptions(workers=0, device="cpu", precision=precision, validate_every=100)
    with pytest.raises(SightlineError, match="has grown to"), RunFolder.create(tmp_path, resume=False) as folder:
        train(
            system, Recipe((wild,)), TrainData(make_samples(8), None), options, folder,
            evaluate=None, progress=SilentProgress(),
        )  # fmt: skip
    stopped = load_stopped(tmp_path / "stopped")
    assert stopped.report["precision"] == ("32-true" if precision == "32" else precision)
    assert any(part.images.seeds for part in stopped.parts)
    assert_replayed(stopped, build())


def test_process_whose_images_are_sound_points_to_the_others() -> None:
    system = make(TinySystem)
    part = worst_batch(make_samples(2), system.preparation, (), 2, seed=0)
    evidence = Evidence(system, "loss", [part], [(0, 0, 0, 0)], "32-true", (), 0.1, 0.1, processes=2)
    there = {"elsewhere": True, "recompute": False}
    sound = [find_causes(replace(evidence, **how))[0].found for how in (there, {}, {"recompute": False})]
    assert sound[0] == sound[1] == "the images of this process are finite: those of another process did it"
    assert "was not computed again, since its live batch norms join all processes" in sound[2]


def test_no_folder_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="holds nothing that a stopped run kept"):
        load_stopped(tmp_path)


class Scaler:
    """Stands for the scaler of 16-mixed, which needs a GPU: every step is skipped and the scale halved."""

    def __init__(self, recovers: int) -> None:
        self.scale, self.steps, self.recovers = 65536.0, 0, recovers

    def state(self) -> dict[str, float]:
        return {"scale": self.scale}

    def update(self) -> None:
        self.steps += 1
        if self.steps % self.recovers:
            self.scale /= 2


@pytest.mark.parametrize(("recovers", "ends"), [(10**9, True), (MOST_SKIPPED, False)])
def test_scaler_may_skip_steps_but_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recovers: int, ends: bool
) -> None:
    scaler = Scaler(recovers)
    count = Stepper._count_skipped

    def update_and_count(self: Stepper, before: float | None, losses: list[dict[str, float]]) -> None:
        scaler.update()
        count(self, before, losses)

    monkeypatch.setattr(Stepper, "scaler_state", lambda self: scaler.state())
    monkeypatch.setattr(Stepper, "load_scaler_state", lambda self, state: None)
    monkeypatch.setattr(Stepper, "_count_skipped", update_and_count)
    if not ends:
        run(tmp_path, make(TinySystem), make_samples(4), stage(epochs=30))
        assert scaler.steps == 60
        return
    error, _ = stops(tmp_path, make(TinySystem), make_samples(4), recipe=stage(epochs=30))
    assert f"not finite in {MOST_SKIPPED} steps in a row at step {MOST_SKIPPED} of" in str(error)
