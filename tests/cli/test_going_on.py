"""One tiny run of the real detector, ended and gone on with in every way that there is."""

import json
import shutil
from pathlib import Path

import pytest
from conftest_cli import QUICK, TINY, snapshot

from sightline.files import move
from sightline.training import checkpoints
from sightline.training.history import read_history

MODEL_FILE, USAGE = 4, 2


@pytest.fixture
def words(shapes, tmp_path):
    return ["train", "--data", shapes, "--out", tmp_path / "run", *TINY, *QUICK]


@pytest.fixture
def finished(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / "run")


def test_a_finished_run_is_not_resumed_but_extended(run, fails, words, finished):
    before = snapshot(finished)
    line = fails(USAGE, *words, "--resume")
    assert "is finished" in line and "--extend N" in line and "--weights" in line
    assert snapshot(finished) == before
    rows = len(read_history(finished / "history.csv"))
    assert run(*words, "--extend", 1)[0] == 0
    config = json.loads((finished / "config.json").read_text())
    assert config["training"]["extensions"] == [1] and config["judged"]["rows"] == rows + 1
    assert "--extend N" in fails(USAGE, *words, "--resume")
    assert run(*words, "--extend", 2)[0] == 0
    assert json.loads((finished / "config.json").read_text())["training"]["extensions"] == [1, 2]
    assert len(read_history(finished / "history.csv")) == rows + 3


def test_a_judgement_that_was_interrupted_is_made_up_for(run, words, finished):
    before = (finished / "predictions.json").read_bytes()
    config = json.loads((finished / "config.json").read_text())
    del config["judged"]
    (finished / "config.json").write_text(json.dumps(config))
    for name in ("metrics.json", "predictions.json", "report.html"):
        (finished / name).unlink()
    assert run(*words, "--resume")[0] == 0
    assert (finished / "predictions.json").read_bytes() == before
    assert (finished / "metrics.json").exists() and (finished / "report.html").exists()


def test_a_run_with_settings_from_a_file_is_extended_without_naming_it(run, shapes, trained, tmp_path):
    # Neither the settings of the model nor the file that it began with have to be said again.
    words = ["train", "--data", shapes, "--out", tmp_path / "run", *QUICK]
    assert run(*words, "--weights", trained)[0] == 0
    assert run(*words, "--extend", 1)[0] == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert str(trained) in config["data"]["origin"] and str(tmp_path) not in config["data"]["origin"]


def test_a_damaged_checkpoint_is_named_and_the_one_before_is_gone_on_from(run, fails, words, finished):
    weights = (finished / "last" / "model.safetensors").read_bytes()
    optimiser = finished / "last" / "optimiser.safetensors"
    optimiser.write_bytes(optimiser.read_bytes()[:-1] + b"?")
    config = json.loads((finished / "config.json").read_text())
    (finished / "config.json").write_text(
        json.dumps({"data": config["data"], "training": config["training"]}, indent=2)
    )
    told = ("config.json", "log.txt")
    before = {name: value for name, value in snapshot(finished).items() if name not in told}
    for given in (["--resume"], ["--extend", 1]):
        line = fails(MODEL_FILE, *words, *given)
        assert "optimiser.safetensors" in line and "--resume --from-previous" in line
        assert {name: value for name, value in snapshot(finished).items() if name not in told} == before
    assert run(*words, "--resume", "--from-previous")[0] == 0
    assert (finished / "last" / "model.safetensors").read_bytes() == weights
    assert (finished / "last.damaged" / "optimiser.safetensors").exists()
    assert "is whole" in fails(USAGE, *words, "--resume", "--from-previous")


def test_a_run_whose_checkpoint_stands_ready_alone_keeps_everything(run, words, trained, tmp_path, monkeypatch):
    """The disk fails between the two moves: there is no ``last``, and yet the run has begun."""

    def fails_between(old: Path, new: Path) -> None:
        if old.name == "last.new" and new.with_name("previous").exists():
            raise OSError("the disk was taken away")
        move(old, new)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints, "move", fails_between)
        code, _, err = run(*words)
    assert code == 1 and "cannot be written" in err and "go on with --resume" in err
    assert not (tmp_path / "run" / "last").exists() and (tmp_path / "run" / "config.json").exists()
    assert run(*words, "--resume")[0] == 0
    assert (tmp_path / "run" / "predictions.json").read_bytes() == (trained / "predictions.json").read_bytes()


def test_a_changed_byte_of_a_model_file_is_found(fails, shapes, finished):
    model = finished / "best.safetensors"
    content = model.read_bytes()
    model.write_bytes(content[:-9] + bytes([content[-9] ^ 4]) + content[-8:])
    line = fails(MODEL_FILE, "evaluate", finished, "--data", shapes)
    assert "best.safetensors" in line and "checksum" in line and "cure: copy it again" in line
