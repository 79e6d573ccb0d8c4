"""A fit of one process among several, and one that runs out of memory."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from test_train import run_one
from tiny_system import TinySystem, make_system

from sightline.errors import SightlineError
from sightline.recipes import FitStage, FitStopped, Workbench
from sightline.training import fits
from sightline.training.state import TrainState, state_from_json, state_to_json

Fit = Callable[[TinySystem, object, Workbench], dict[str, float]]
SOLVED = fits.Solved({"facts": 3.0}, ("class 'a' has one example",))


def job(system: TinySystem, agreed: Callable[[object], object], folder: Path, *, leads: bool) -> SimpleNamespace:
    return SimpleNamespace(
        leads=leads,
        agreed=agreed,
        system=system,
        train=SimpleNamespace(samples=()),
        val=None,
        options=SimpleNamespace(seed=0),
        run=SimpleNamespace(path=folder),
        progress=SimpleNamespace(working=lambda *told: None),
        log=lambda line: None,
        stop=SimpleNamespace(wanted=False),
        fabric=SimpleNamespace(world_size=2),
    )


def fit_twice_as_large(system: TinySystem, samples: object, bench: Workbench) -> dict[str, float]:
    for done in range(5):
        bench.tell("fitting", done + 1, 5)
    with torch.no_grad():
        system.head.weight.mul_(2)
    bench.warn("class 'a' has one example")
    return {"facts": 3.0}


def fit_that_gives_up(system: TinySystem, samples: object, bench: Workbench) -> dict[str, float]:
    bench.tell("fitting", 1, 5)
    raise FitStopped


@pytest.mark.parametrize(("fit", "solved"), [(fit_twice_as_large, SOLVED), (fit_that_gives_up, None)])
@pytest.mark.parametrize("every", [0.0, 60.0])
def test_whoever_waits_for_a_fit_hears_of_it_and_gets_what_came_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: Fit, solved: fits.Solved | None, every: float
) -> None:
    """What the first process sends is what the other one waits for, exchange by exchange."""
    monkeypatch.setattr(fits, "STILL_WORKING", every)
    first, other, sent = make_system(0), make_system(1), []

    def send(value: object) -> object:
        sent.append(value)
        return value

    stage = FitStage("fit", fit)
    assert fits.solve(job(first, send, tmp_path, leads=True), stage) == solved
    signs = sent.count("working")
    assert signs == ((5 if solved else 1) if every == 0 else 0)
    waiting = iter(sent)
    assert fits.solve(job(other, lambda _: next(waiting), tmp_path, leads=False), stage) == solved
    assert next(waiting, None) is None
    assert torch.equal(first.head.weight, other.head.weight) == (solved is not None)


@pytest.mark.parametrize("smaller", ["", "--set crop_batch=1"])
def test_a_fit_that_runs_out_of_memory_names_itself_and_what_to_set(tmp_path: Path, smaller: str) -> None:
    def fit(*_: object) -> dict[str, float]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with pytest.raises(SightlineError) as raised:
        run_one(tmp_path, (FitStage("features", fit, smaller=smaller),))
    assert "out of memory in the fit of stage features" in str(raised.value)
    assert f"start again with {smaller or '--imgsz 12'}" in str(raised.value)


def test_what_a_fit_warns_of_outlasts_its_stage_and_a_resumption(tmp_path: Path) -> None:
    def look(system: TinySystem, samples: object, bench: Workbench) -> dict[str, float]:
        return {}

    stages = (FitStage("twice", fit_twice_as_large), FitStage("look", look))
    _, result = run_one(tmp_path, stages)
    assert result.warnings == SOLVED.warnings
    assert "warning: class 'a' has one example" in (tmp_path / "log.txt").read_text()
    state = TrainState(warnings=SOLVED.warnings).next_stage(finished=False)
    assert state_from_json(json.loads(json.dumps(state_to_json(state)))) == state
    older = {name: value for name, value in state_to_json(state).items() if name != "warnings"}
    assert state_from_json(older).warnings == ()
