"""What a validation does: which weights are best, and what the evaluator gets."""

import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import torch
from test_train import CrashAt, assert_same, history, run_one
from tiny_system import TinySystem, make_samples, make_system, stage

from sightline.evaluation.evaluate import evaluate
from sightline.processes import Processes
from sightline.recipes import FitStage, Recipe, Workbench
from sightline.structures import Classes, Sample
from sightline.training.cache import HeldSamples
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import TrainResult, train
from sightline.training.validation import Evaluate, score_of

NAN = math.nan


@pytest.mark.parametrize(
    ("metrics", "losses", "score"),
    [
        ({"AP": 0.5, "AP50": 0.7}, {"x": 2.0}, 0.5),
        ({"AP": NAN, "AP50": 0.7}, {"x": 2.0, "y": 1.0}, -3.0),
        ({}, {"x": 2.0}, -2.0),
        ({"AP": NAN}, {"x": NAN}, -math.inf),
        ({"AP": NAN}, {}, None),
        ({}, {}, None),
    ],
)
def test_score(metrics: dict[str, float], losses: dict[str, float], score: float | None) -> None:
    assert score_of(metrics, losses) == score


class Decoded(Sequence[Sample]):
    """Samples that count how often one is decoded."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples, self.decoded = samples, 0

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:  # type: ignore[override]  # no slices here
        self.decoded += 1
        return self.samples[index]


def run_with(path: Path, metric: Evaluate, val: Sequence[Sample]) -> TrainResult:
    options = TrainOptions(workers=0, device="cpu", precision="32")
    with RunFolder.create(path, resume=False) as run:
        return train(
            make_system(), Recipe((stage(),)), TrainData(make_samples(6), val), options, run,
            evaluate=metric, progress=SilentProgress(),
        )  # fmt: skip


def test_undefined_metric_leaves_the_choice_to_the_loss(tmp_path: Path) -> None:
    result = run_with(tmp_path, lambda *_: {"AP": NAN}, make_samples(4, seed=9))
    rows = history(tmp_path)
    assert rows.index(min(rows, key=lambda row: row["val/total"])) > 0
    assert f"step {min(rows, key=lambda row: row['val/total'])['step']:.0f})" in (tmp_path / "log.txt").read_text()
    assert math.isnan(result.metrics["AP"])


def test_the_later_of_two_equals_is_best(tmp_path: Path) -> None:
    run_with(tmp_path, lambda *_: {"AP": 0.0}, make_samples(4, seed=9))
    assert "best.safetensors (step 9)" in (tmp_path / "log.txt").read_text()


def test_validation_images_are_decoded_once(tmp_path: Path) -> None:
    val, seen = Decoded(make_samples(4, seed=9)), []

    def metric(system: TinySystem, samples: Sequence[Sample], processes: Processes) -> Mapping[str, float]:
        seen.append(val.decoded)
        return {"AP": evaluate(system, samples).result.metrics()["AP"]}

    run_with(tmp_path, metric, val)
    assert len(seen) == 3 and len({*seen, val.decoded}) == 1


def test_held_samples_answer_as_a_data_set() -> None:
    samples = make_samples(3)
    held = HeldSamples(samples, Classes(("square",)))
    assert [(record.image_id, record.size) for record in held.records] == [(n, (16, 16)) for n in range(3)]
    assert len(held) == 3 and held[1] is samples[1] and held.target(2) is samples[2].target
    assert list(held[1:]) == samples[1:] and held[1:].classes == held.classes


def test_stop_during_a_fit_keeps_the_fit_and_starts_no_other(tmp_path: Path) -> None:
    calls: list[str] = []

    def fit(name: str, *, stops: bool) -> FitStage:
        def solve(system: TinySystem, samples: object, bench: Workbench) -> dict[str, float]:
            calls.append(name)
            if stops:
                signal.raise_signal(signal.SIGTERM)
            with torch.no_grad():
                system.head.weight.mul_(0.5)
            return {}

        return FitStage(name, solve)

    def stages(*, stops: bool) -> tuple[FitStage, ...]:
        return fit("first", stops=stops), fit("second", stops=False)

    progress = CrashAt()
    cut, result = run_one(tmp_path, stages(stops=True), progress=progress)
    assert calls == ["first"] and not result.finished and "stopped and saved" in progress.lines[-1]
    assert torch.equal(cut.head.weight, make_system().head.weight / 2)
    again, result = run_one(tmp_path, stages(stops=False), system=make_system(1), resume=True)
    assert calls == ["first", "second"] and result.finished
    whole, _ = run_one(tmp_path / "whole", stages(stops=False))
    assert_same(whole, again)
    assert [row["stage"] for row in history(tmp_path)] == ["first", "second"]
