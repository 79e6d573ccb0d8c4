import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from sightline.errors import ConfigError
from sightline.training.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from sightline.training.run_folder import RunFolder
from sightline.training.state import TrainState


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    before = hashes(tmp_path)
    with pytest.raises(ConfigError, match=r"not empty.*cause: a run is there.*--resume"):
        RunFolder.create(tmp_path, resume=False)
    with pytest.raises(ConfigError, match="no run to resume"):
        RunFolder.create(tmp_path, resume=True)
    with pytest.raises(ConfigError, match="a file is in the way"):
        RunFolder.create(tmp_path / "thesis.txt", resume=False)
    assert hashes(tmp_path) == before


def test_run_that_never_began_makes_way(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, resume=False) as run:
        run.record("training", {"seed": 1})
        run.log("begins")
        (tmp_path / "last.new").mkdir()
        (tmp_path / "last.new" / "model.safetensors").write_bytes(b"cut off")
    with RunFolder.create(tmp_path, resume=False) as run:
        assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]
        run.record("training", {"seed": 2})
    (tmp_path / ".config.json.123.tmp").write_text("{")
    with RunFolder.create(tmp_path, resume=False) as run:
        assert [entry.name for entry in tmp_path.iterdir()] == [".lock"]
        run.record("training", {"seed": 3})
    (tmp_path / "best.safetensors").write_bytes(b"weights")
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder.create(tmp_path, resume=False)
    (tmp_path / "best.safetensors").unlink()
    (tmp_path / ".lock").unlink()
    before = hashes(tmp_path)
    with pytest.raises(ConfigError, match="not empty"):  # somebody's own config.json
        RunFolder.create(tmp_path, resume=False)
    assert hashes(tmp_path) == before


def test_run_that_began_does_not_make_way(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, resume=False) as run:
        write_checkpoint(run.last, Checkpoint(TrainState(), {}))
    run.last.rename(tmp_path / "last.new")
    with pytest.raises(ConfigError, match="not empty"):
        RunFolder.create(tmp_path, resume=False)


def test_nothing_to_resume_makes_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run to resume"):
        RunFolder.create(tmp_path / "typo", resume=True)
    assert not (tmp_path / "typo").exists()


def test_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    code = (
        "import sys; from sightline.training.run_folder import RunFolder;"
        "run = RunFolder.create(sys.argv[1], resume=False); print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout is not None and first.stdout.readline() == "in\n"
        with pytest.raises(ConfigError, match="another process"):
            RunFolder.create(tmp_path, resume=False)
        first.kill()
    RunFolder.create(tmp_path, resume=False).close()


def test_helper_process_of_a_distributed_run_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with RunFolder.create(tmp_path / "run", resume=False) as run:
        run.record("training", {"seed": 1})
    assert not (tmp_path / "run").exists()


def resumed(path: Path) -> RunFolder:
    return RunFolder.create(path, resume=True)


def test_config_of_a_resumed_run_must_be_the_same(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, resume=False) as run:
        run.record("training", {"model": {"width": 4, "layers": (1, 2)}, "workers": 2})
        run.record("arguments", {"data": "here"})
        write_checkpoint(run.last, Checkpoint(TrainState(), {}))
    before = hashes(tmp_path)
    with resumed(tmp_path) as run:
        run.record("training", {"model": {"width": 4, "layers": [1, 2]}, "workers": 2})
        with pytest.raises(ConfigError, match=r"config\.json, training: model\.width is 5, but .* started with 4"):
            run.record("training", {"model": {"width": 5, "layers": [1, 2]}, "workers": 2})
        with pytest.raises(ConfigError, match=r"workers is not set, but .* started with 2"):
            run.record("training", {"model": {"width": 4, "layers": [1, 2]}})
        assert hashes(tmp_path) == before
        run.record("training", {"model": {"width": 4, "layers": [1, 2]}, "workers": 0}, free=("workers",))


def test_what_was_being_written_when_a_run_was_killed_goes_at_resume(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, resume=False) as run:
        write_checkpoint(run.last, Checkpoint(TrainState(), {}))
    left = {".best.safetensors.4711.tmp", ".history.csv.12.tmp", ".tmpF4pZmO"}
    mine = {"notes.tmp", ".notes.tmp", "best.safetensors"}
    for name in left | mine:
        (tmp_path / name).write_bytes(b"half")
    with resumed(tmp_path):
        assert {entry.name for entry in tmp_path.iterdir()} == {".lock", "last"} | mine


def test_going_back_is_logged_and_needs_damage(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, resume=False) as run:
        for number in (1, 2):
            write_checkpoint(run.last, Checkpoint(TrainState(step=number), {}))
    before = hashes(tmp_path)
    with pytest.raises(ConfigError, match="is whole"):
        RunFolder.create(tmp_path, resume=True, from_previous=True)
    assert hashes(tmp_path) == before
    (tmp_path / "last" / "state.json").write_text("{")
    with RunFolder.create(tmp_path, resume=True, from_previous=True) as run:
        assert read_checkpoint(run.last).state.step == 1
    assert "last.damaged" in (tmp_path / "log.txt").read_text()


def test_checkpoint_that_stood_ready_when_a_run_was_killed_takes_its_place_at_resume(tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, resume=False) as run:
        for number in (1, 2):
            write_checkpoint(run.last, Checkpoint(TrainState(step=number), {}))
    (tmp_path / "last").rename(tmp_path / "last.new")
    (tmp_path / "previous").rename(tmp_path / "last")
    with resumed(tmp_path) as run:
        assert {entry.name for entry in tmp_path.iterdir()} == {".lock", "last", "previous"}
        assert read_checkpoint(run.last).state.step == 2
        assert read_checkpoint(tmp_path / "previous").state.step == 1


def test_setting_of_one_stage_is_named_alone(tmp_path: Path) -> None:
    def stages(batch_size: int) -> dict[str, object]:
        return {"stages": [{"name": "a", "batch_size": 4}, {"name": "b", "batch_size": batch_size, "betas": (0.9, 1)}]}

    with RunFolder.create(tmp_path, resume=False) as run:
        run.record("training", stages(4))
        write_checkpoint(run.last, Checkpoint(TrainState(), {}))
    with resumed(tmp_path) as run:
        run.record("training", stages(4))
        with pytest.raises(ConfigError, match=r"stages\.1\.batch_size is 2, but .* with 4; cure: .*same batch_size,"):
            run.record("training", stages(2))
        with pytest.raises(ConfigError, match=r"stages\.1\.name is not set, but .* with \"b\""):
            run.record("training", {"stages": stages(4)["stages"][:1]})
