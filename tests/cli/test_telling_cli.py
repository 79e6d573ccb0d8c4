"""A person sees something at once, at every phase, and nothing that a machine cannot read; mistakes are told first."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest_cli import QUICK, TINY

from sightline import workflow
from sightline.cli import session
from sightline.cli.output import counter
from sightline.cli.telling import progress_for_terminal
from sightline.training.options import TrainOptions
from sightline.training.progress import PlainProgress, SilentProgress
from sightline.workflow import train
from sightline.zoo import create

FIRST_LINE = """
import sys
class Stream:
    def write(self, text):
        sys.__stdout__.write(f"{text.strip()}|{'torch' in sys.modules}\\n")
    def flush(self): pass
    def isatty(self): return False
sys.stderr = Stream()
from sightline.cli.main import main
main(["train", "--data", "nowhere"])
"""


def test_the_first_line_comes_before_torch_is_imported() -> None:
    told = subprocess.run([sys.executable, "-c", FIRST_LINE], capture_output=True, text=True, check=True).stdout
    assert told.splitlines()[0] == "starting|False"


class Phases(SilentProgress):
    def __init__(self) -> None:
        self.told: list[str] = []

    def log(self, text: str) -> None:
        self.told.append("a line")

    def working(self, what: str, done: int = 0, total: int = 0) -> None:
        if what not in self.told[-1:]:
            self.told.append(what)


def test_every_phase_of_a_run_is_told(shapes: Path, tmp_path: Path) -> None:
    data = workflow.open_splits(shapes)
    small = {"backbone": "mobilenet_v3_small", "short_side": 64, "long_side": 64, "channels": 16, "head_width": 16}
    system = create("faster_rcnn", classes=data.classes, settings={**small, "proposals": 20, "region_samples": 16})
    options = TrainOptions(epochs=1, batch_size=2, workers=0, device="cpu", precision="32")
    shown = Phases()
    train(system, data, out=tmp_path / "run", options=options, progress=shown)
    phases = list(dict.fromkeys(told for told in shown.told if told != "a line"))
    assert phases == [
        "decoding the training split",
        "decoding the validation split",
        "trying the worst batch",
        "saving",
        "losses of the validation split",
        "predicting the validation split",
        "judging the validation split",
        "loading the best weights",
        "predicting the val split",
        "judging the val split",
        "predicting the test split",
        "judging the test split",
        "drawing pictures and writing the report",
    ]


def test_machines_get_one_document_and_files_no_control_characters(
    run: Callable[..., tuple[int, str, str]], shapes: Path, tmp_path: Path
) -> None:
    code, out, err = run("train", "--data", shapes, "--out", tmp_path / "run", *TINY, *QUICK, "--json")
    assert code == 0 and "AP" in json.loads(out)["metrics"]
    assert err.splitlines()[0] == "starting" and any("train/total" in line for line in err.splitlines())
    assert [character for character in err if ord(character) < 32 and character != "\n"] == []


def test_quiet_shows_the_result_alone(run: Callable[..., tuple[int, str, str]], shapes: Path, tmp_path: Path) -> None:
    code, out, err = run("train", "--data", shapes, "--out", tmp_path / "run", *TINY, *QUICK, "--quiet")
    assert (code, err) == (0, "") and "report:" in out


def test_of_several_processes_the_first_one_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(progress_for_terminal(), PlainProgress)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert isinstance(progress_for_terminal(), SilentProgress)


def test_what_takes_long_is_told_where_no_terminal_is(capsys: pytest.CaptureFixture[str]) -> None:
    with counter("judging") as moved:
        moved(1, 40)
    assert capsys.readouterr().err == ""
    now = [0.0]
    lines = PlainProgress(stream=sys.stderr, clock=lambda: now[0], at_once=False)
    for second in range(20):
        now[0] = float(second)
        lines.working("judging", second, 40)
    assert capsys.readouterr().err.splitlines() == ["judging: 8 of 40", "judging: 16 of 40"]


@pytest.mark.parametrize(
    ("code", "words", "said"),
    [
        (2, ["--out", "TAKEN"], "is not empty"),
        (2, ["--out", "NEW", "--resume"], "no run to resume"),
        (2, ["--logger", "neptune"], "unknown logger"),
        (2, ["--device", "cuda:99"], "cuda"),
        (2, ["--set", "no_such=1"], "no_such"),
        (2, ["--epochs", "0"], "epochs"),
    ],
)
def test_mistakes_are_told_before_data_are_read(
    fails: Callable[..., str],
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    code: int,
    words: list[str],
    said: str,
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "theirs.txt").write_text("mine")

    def read(*arguments: object, **more: object) -> None:
        raise AssertionError("data were read")

    monkeypatch.setattr(session, "open_splits", read)
    places = {"TAKEN": str(tmp_path / "taken"), "NEW": str(tmp_path / "new")}
    assert said in fails(code, "train", "--data", shapes, *[places.get(word, word) for word in words])


def test_a_split_that_is_missing_is_told_before_the_others_are_read(
    fails: Callable[..., str], shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    original = workflow.open_dataset

    def recorded(path: Path, split: str, **more: object) -> object:
        opened.append(split)
        return original(path, split, **more)

    monkeypatch.setattr(workflow, "open_dataset", recorded)
    assert "holdout" in fails(3, "train", "--data", shapes, "--val-split", "holdout")
    assert opened == ["holdout"]
