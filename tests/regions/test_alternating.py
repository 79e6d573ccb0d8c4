"""The four stages of Faster R-CNN's alternating training: what learns in each, on what, and that it goes on exactly."""

import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from sightline.data.scenes.config import ScenesConfig
from sightline.data.scenes.scenes import make_sample
from sightline.data.scenes.shapes import CLASS_NAMES
from sightline.detectors.faster_rcnn import FasterRCNN, FasterRCNNConfig
from sightline.errors import SightlineError
from sightline.model_file import read_header
from sightline.proposals.kept import read_proposals
from sightline.recipes import GradientStage, Recipe
from sightline.regions.alternating import PROPOSALS, VAL_PROPOSALS
from sightline.structures import Classes, Sample
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress, StepView
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train

SMALL = {
    "backbone": "mobilenet_v3_small",
    "channels": 16,
    "head_width": 16,
    "short_side": 64,
    "long_side": 64,
    "proposals": 20,
}
HEAD = ("head.", "class_logits.", "box_deltas.")
WORST = -100.0
"""Below minus any loss, so that a stage that is not measured would be better."""
TRUNK = ("backbone.", "neck.")


class Stop(SilentProgress):
    """Ends the run as a crash would, at a step of a stage."""

    def __init__(self, stage: str, step: int) -> None:
        self.place = stage, step

    def step(self, view: StepView) -> None:
        if (view.stage, view.step) == self.place:
            raise KeyboardInterrupt


class Weights(SilentProgress):
    """Remembers the weights at the end of each stage."""

    def __init__(self, system: FasterRCNN) -> None:
        self.system = system
        self.at: dict[str, dict[str, Tensor]] = {}

    def step(self, view: StepView) -> None:
        self.at[view.stage] = {name: value.clone() for name, value in self.system.state_dict().items()}


def scenes(count: int) -> list[Sample]:
    return [make_sample(ScenesConfig(size=(64, 64), scale=(0.3, 0.6)), "train", index) for index in range(count)]


def system(norm: str = "frozen") -> FasterRCNN:
    torch.manual_seed(0)
    return FasterRCNN(
        FasterRCNNConfig(**SMALL, norm=norm, region_samples=16, training="alternating"), Classes(CLASS_NAMES)
    )


def run(folder: Path, model: FasterRCNN, progress: SilentProgress, **options: Any) -> None:
    recipe = Recipe(tuple(_short(stage) for stage in model.recipe().stages))
    chosen = TrainOptions(workers=0, device="cpu", precision="32", save_every=0.0, dry_run=False, **options)
    data = TrainData(scenes(4), scenes(2))
    with RunFolder.create(folder, resume=chosen.goes_on) as opened:
        train(model, recipe, data, chosen, opened, evaluate=lambda *_: {"AP": WORST}, progress=progress)


def _short(stage: Any) -> Any:
    return replace(stage, epochs=1, batch_size=2, augmentation=()) if isinstance(stage, GradientStage) else stage


def changed(before: Mapping[str, Tensor], after: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> bool:
    return any(not torch.equal(before[name], after[name]) for name in before if name.startswith(prefixes))


def test_each_stage_moves_its_own_part(tmp_path: Path) -> None:
    model = system("live")
    start = {name: value.clone() for name, value in model.state_dict().items()}
    seen = Weights(model)
    run(tmp_path / "run", model, seen)
    assert [name[0] for name in seen.at] == ["1", "2", "3", "4"]
    one, two, three, four = seen.at.values()
    moved = [
        [changed(before, after, part) for part in (TRUNK, ("rpn.",), HEAD)]
        for before, after in ((start, one), (one, two), (two, three), (three, four))
    ]
    assert moved == [[True, True, False], [True, False, True], [False, True, False], [False, False, True]]


def test_the_trunk_begins_anew_and_the_second_stage_learns_from_kept_proposals(tmp_path: Path) -> None:
    model, given = system(), []
    start = {name: value.clone() for name, value in model.state_dict().items() if name.startswith(TRUNK)}
    features, loss = model.features, model.detector_loss

    def noted(batch: Any, targets: Any) -> Any:
        if not given:
            assert all(torch.equal(value, start[name]) for name, value in model.state_dict().items() if name in start)
        given.append(batch.proposals)
        return loss(batch, targets)

    model.detector_loss = noted  # type: ignore[method-assign]
    run(tmp_path / "run", model, SilentProgress())
    assert model.features == features
    kept = read_proposals(tmp_path / "run" / PROPOSALS)
    assert len(kept) == 4 and all(len(boxes) > 0 for boxes in kept)
    assert len(given[0]) == 2 and {len(boxes) for boxes in given[0]} <= {len(boxes) for boxes in kept}
    assert all(torch.isin(boxes, torch.cat(kept)).all() for boxes in given[0])


def test_the_second_stage_is_measured_by_what_the_first_network_proposed(tmp_path: Path) -> None:
    """On the trunk that begins anew the network's own proposals would be nobody's."""
    model, given = system(), []
    seen, loss = Weights(model), model.detector_loss

    def noted(batch: Any, targets: Any) -> Any:
        if not model.training:
            given.extend(batch.proposals)
        return loss(batch, targets)

    model.detector_loss = noted  # type: ignore[method-assign]
    run(tmp_path / "run", model, seen)
    first = system().eval()
    first.load_state_dict(seen.at["1 proposals"])
    with torch.inference_mode():
        batch = first.prepare([sample.image for sample in scenes(2)])
        _, expected = first.propose(first.features(batch), batch, training=True)
    expected_boxes = torch.split(expected.boxes, expected.counts().tolist())
    kept = read_proposals(tmp_path / "run" / VAL_PROPOSALS)
    assert len(given) == len(kept) == 2
    for seen_boxes, kept_boxes, boxes in zip(given, kept, expected_boxes, strict=True):
        assert len(boxes) > 5 and torch.allclose(kept_boxes, boxes, atol=1e-3)
        assert torch.allclose(seen_boxes, boxes, atol=1e-3)
    rows = read_history(tmp_path / "run" / "history.csv")
    told = [row.get("val/classification") for row in rows]
    assert [value is not None and value != "" for value in told] == [False, True, False, True]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, FasterRCNN]:
    folder, model = tmp_path_factory.mktemp("whole") / "run", system()
    run(folder, model, SilentProgress())
    return folder, model


def test_only_the_last_stage_counts_as_best(whole: tuple[Path, FasterRCNN]) -> None:
    rows = read_history(whole[0] / "history.csv")
    assert [bool(row.get("val/AP")) for row in rows] == [False, False, False, True]
    assert read_header(whole[0] / "best.safetensors").stage.startswith("4 detector")
    with pytest.raises(ValueError, match="last stage"):
        Recipe((replace(system().recipe().stages[-1], judged=False),))


@pytest.mark.parametrize(("stage", "step"), [("2 detector", 2), ("4 detector on shared maps", 1)])
def test_it_goes_on_where_it_was_cut(whole: tuple[Path, FasterRCNN], tmp_path: Path, stage: str, step: int) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", system(), Stop(stage, step))
    assert not (tmp_path / "cut" / "best.safetensors").exists(), "nothing that can answer is there yet"
    again = system()
    run(tmp_path / "cut", again, SilentProgress(), resume=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole[1].state_dict().items())


def test_a_trunk_that_was_set_aside_and_is_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "cut", system(), Stop("1 proposals", 2))
    (tmp_path / "cut" / "alternating" / "trunk.safetensors").write_bytes(b"half")
    with pytest.raises(SightlineError, match=r"trunk\.safetensors: the trunk .* cannot be read"):
        run(tmp_path / "cut", system(), SilentProgress(), resume=True)


def test_a_disk_that_fills_while_the_trunk_is_set_aside_is_no_reason_to_start_again(
    whole: tuple[Path, FasterRCNN], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, write: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as filled:
        filled.setattr("sightline.regions.alternating.replace_atomically", full)
        with pytest.raises(SightlineError, match=r"No space left.*make room and go on with --resume"):
            run(tmp_path / "run", system(), SilentProgress())
    again = system()
    run(tmp_path / "run", again, SilentProgress(), resume=True)
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole[1].state_dict().items())
