"""Two processes that share out weights, gradients and the optimiser's memory train as one that has them all."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharded_checks import options, run, steps
from test_distributed import ONE_THREAD, differences, torchrun
from tiny_system import make_samples, make_system, negative_error, stage
from torch import Tensor

from sightline.errors import ConfigError
from sightline.model_file import load_weights
from sightline.recipes import Recipe
from sightline.training.checkpoints import read_checkpoint
from sightline.training.devices import start_fabric
from sightline.training.history import read_history
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train
from sightline.training.sharding import sharding_strategy

CHECKS = Path(__file__).with_name("sharded_checks.py")


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which two processes have left what they found."""
    folder = tmp_path_factory.mktemp("sharded")
    assert ONE_THREAD["OMP_NUM_THREADS"] == "1"
    torchrun(2, CHECKS, folder)
    return folder


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Tensor]]:
    """What one process finds."""
    fabric, *_ = start_fabric(options(1))
    return steps(fabric)


@pytest.mark.parametrize("check", ["tiny", "parts", "detector"])
def test_steps_are_those_of_one_process(together: Path, alone: dict[str, dict[str, Tensor]], check: str) -> None:
    """Clipped by the norm of the whole gradient; with a batch in parts; Faster R-CNN with large layers of their own."""
    found, expected = load_file(together / check), alone[check]
    found.pop("held")
    for word in ("0 gradient", "1 gradient", "loss", "weights"):
        assert differences(found, expected, word)[0] < 1e-5, word


@pytest.mark.parametrize("check", ["tiny", "detector"])
def test_each_process_holds_half(together: Path, check: str) -> None:
    """The rest of a shape that does not divide goes to the first."""
    first, second, whole = load_file(together / check)["held"].tolist()
    assert first + second == whole
    assert second == pytest.approx(whole / 2, rel=0.01)


def test_run_is_that_of_one_process(together: Path, tmp_path: Path) -> None:
    """Weights, momentum, history and the best file; checkpoints have the same tensors under the same names."""
    run(tmp_path / "alone", 1, "sgd")
    found, expected = (read_checkpoint(folder / "last") for folder in (together / "sgd", tmp_path / "alone"))
    for part, tensors in expected.tensors.items():
        assert {name: value.shape for name, value in found.tensors[part].items()} == {
            name: value.shape for name, value in tensors.items()
        }
        assert differences(dict(found.tensors[part]), dict(tensors), "")[0] < 1e-5
    for row, other in zip(
        *(read_history(f / "history.csv") for f in (together / "sgd", tmp_path / "alone")), strict=True
    ):
        for name in ("train/total", "val/total", "val/closeness"):
            assert row[name] == pytest.approx(other[name], rel=1e-4), name
    best = make_system(1)
    load_weights(together / "sgd" / "best.safetensors", best)
    for name, value in best.state_dict().items():
        assert torch.equal(value, found.tensors["model"][name]), name


def test_resumed_is_uninterrupted_bit_for_bit(together: Path) -> None:
    """With AdamW, asked to end after three of five steps."""
    whole, resumed = (read_checkpoint(together / name / "last") for name in ("whole", "resumed"))
    assert "go on with the same command and --resume" in (together / "resumed" / "log.txt").read_text(encoding="utf-8")
    assert whole.state.finished and resumed.state.finished and whole.state.step == 5
    for part, tensors in whole.tensors.items():
        assert any("exp_avg" in name for name in tensors) or part == "model"
        for name, value in tensors.items():
            assert torch.equal(resumed.tensors[part][name], value), name


def test_checkpoint_goes_on_in_one_process(together: Path, tmp_path: Path) -> None:
    """From the third step, after which the two processes stopped."""
    folder = shutil.copytree(together / "bad", tmp_path / "bad")
    assert read_checkpoint(folder / "last").state.step == 3
    assert run(folder, 1, "adamw", resume=True) == ""
    last = read_checkpoint(folder / "last")
    assert last.state.finished
    expected = read_checkpoint(together / "whole" / "last")
    names = ("head.weight", "head.bias", "norm.weight", "trunk.weight")
    for name in names:
        assert torch.allclose(last.tensors["model"][name], expected.tensors["model"][name], atol=1e-4), name


def test_one_shard_that_is_not_finite_stops_all(together: Path) -> None:
    """The losses are finite; what is kept is the whole system before the step, with its memory."""
    for rank, folder in enumerate(("stopped", "stopped-rank-1")):
        told = (together / f"told-{rank}").read_text(encoding="utf-8")
        assert "the norm of the gradient is not finite at step 4" in told
        report = json.loads((together / "bad" / folder / "report.json").read_text(encoding="utf-8"))
        assert report["gradients_not_finite"] == ["head.weight"]
        assert report["frozen"] == ["norm.weight", "norm.bias"]
        assert "head.weight:exp_avg" in load_file(together / "bad" / folder / "optimiser.safetensors")


@pytest.mark.parametrize(
    ("changes", "accelerator", "message"),
    [
        ({"devices": 1}, "cpu", "there is one process.*--devices"),
        ({}, "mps", "not there for mps"),
        ({"precision": "16-mixed"}, "cuda", "does not go with 16-mixed.*bf16-mixed"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, object], accelerator: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        sharding_strategy(replace(TrainOptions(strategy="fsdp", devices=2), **changes), accelerator)


def test_no_average_of_shards(tmp_path: Path) -> None:
    recipe, data = Recipe((stage(ema=0.9),)), TrainData(make_samples(4), None)
    with (
        RunFolder.create(tmp_path / "run", resume=False) as folder,
        pytest.raises(ConfigError, match=r"no average of the weights.*stage train.*ema=null"),
    ):
        train(make_system(), recipe, data, options(2), folder, evaluate=negative_error, progress=SilentProgress())
