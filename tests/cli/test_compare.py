"""`sightline compare`: whole runs side by side, resumable, one that fails among them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest_cli import QUICK, snapshot

from sightline.cli.compare import way_on
from sightline.comparing.compare import Compared, compare_systems
from sightline.comparing.entrants import entrants_of
from sightline.comparing.plan import Plan, plan_of
from sightline.comparing.results import evaluation_of
from sightline.errors import ConfigError, SightlineError
from sightline.evaluation.evaluation import Evaluation
from sightline.evaluation.truth import TruthOfSplit
from sightline.report.comparison_data import TIMED, ComparedSystem, quartile_keys
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress, StepView
from sightline.workflow import Splits

SETTINGS = ["channels=16", "head_width=16", "proposals=20", "region_samples=16"]
VARIANTS = [
    "more=faster_rcnn,proposals=30",
    "tested=trained:more,detections=3",
    "broken=fast_rcnn,neck=fpn,proposer=gone/rpn.safetensors",
]
VARIANTS += ["both=trained:faster_rcnn+more,flip=true,fusion=nms"]
RESULTS = ("best.safetensors", "predictions.json")
NUMBERS = {
    *("AP", "AP50", "VOC07_AP50", "train_seconds", "proposal_seconds", "proposals_waited", "milliseconds"),
    *("proposal_milliseconds", "given_milliseconds", "feature_bytes", "parameters", "flops"),
    *("train_memory", "predict_memory"),
    *(quartile for key in TIMED for quartile in quartile_keys(key)),
}


def plan(
    shapes: Path, *, given: Path | None = None, seeds: int = 1, epochs: float = 1, rows: int = 4, **options: object
) -> Plan:
    models = ["faster_rcnn"] if given is None else ["faster_rcnn", str(given)]
    training = {"epochs": epochs, "batch_size": 2, "workers": 0, "precision": "32", "device": "cpu", **options}
    entrants = entrants_of(models, VARIANTS[:rows], SETTINGS, "mobilenet_v3_small")
    return Plan(entrants, str(shapes), TrainOptions(**training), Splits(), seeds=seeds, image_size=64)


class Lines(SilentProgress):
    """Keeps what is said; asks to stop as Ctrl-C does in the first step of a run of the given number."""

    def __init__(self, stop_in: int = 0) -> None:
        self.lines: list[str] = []
        self.begun, self.stop_in = 0, stop_in

    def log(self, text: str) -> None:
        self.lines.append(text)

    def step(self, view: StepView) -> None:
        self.begun += view.step == 1
        if self.begun == self.stop_in:
            signal.raise_signal(signal.SIGTERM)


@pytest.fixture(scope="module")
def compared(shapes: Path, trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a comparison of five rows, one of which fails."""
    folder = tmp_path_factory.mktemp("compare") / "out"
    found = compare_systems(plan(shapes, given=trained), out=folder, apart=False, resamples=30)
    assert found.failed == ("broken",) and not found.stopped
    return folder


def document(folder: Path) -> dict:
    return json.loads((folder / "compare.json").read_text())


def test_table_has_the_numbers_of_the_runs(compared: Path, trained: Path) -> None:
    told = document(compared)
    assert [row["name"] for row in told["systems"]] == ["faster_rcnn", "run", "more", "tested", "broken", "both"]
    assert [row["state"] for row in told["systems"]] == ["finished"] * 4 + ["failed", "finished"]
    assert "gone/rpn.safetensors: no such model file" in told["systems"][4]["message"]
    assert told["judged_on"] == "shapes, split test, 2 images" and not told["finished"]
    assert told["protocols"]["VOC07_AP50"] == "VOC2007 AP@.50, 11 points"
    for row in told["systems"][:4]:
        assert set(row["numbers"]) == NUMBERS
        metrics = json.loads((compared / row["name"] / "metrics.json").read_text())
        assert metrics["split"] == "test"
        for name, value in {**metrics["metrics"], **metrics["cost"]}.items():
            if name in NUMBERS - {"given_milliseconds"}:
                assert row["numbers"][name] == {"mean": value, "std": None, "n": int(value is not None)}
        assert row["numbers"]["given_milliseconds"]["mean"] == metrics["cost"]["milliseconds"]
        assert row["numbers"]["predict_memory"]["mean"] == metrics["cost"]["peak_memory_mb"]
    for row in (told["systems"][0], told["systems"][2]):
        state = json.loads((compared / row["name"] / "last" / "state.json").read_text())["state"]
        assert row["numbers"]["train_seconds"]["mean"] == state["seconds"] > 0
        assert row["numbers"]["train_memory"]["mean"] == pytest.approx(state["peak_memory"] / 1e6)
        assert row["numbers"]["feature_bytes"]["mean"] == 0
    given, tested = told["systems"][1], told["systems"][3]
    assert given["numbers"]["train_seconds"]["mean"] > 0  # its run folder knows
    assert tested["numbers"]["train_seconds"]["mean"] is None and tested["compared_with"] == "more"
    delta = tested["numbers"]["AP"]["mean"] - told["systems"][2]["numbers"]["AP"]["mean"]
    assert tested["delta"]["AP"] == pytest.approx(delta)
    both = told["systems"][5]
    best = max((told["systems"][place] for place in (0, 2)), key=lambda row: row["numbers"]["AP"]["mean"])
    assert both["compared_with"] == best["name"] and both["numbers"]["train_seconds"]["mean"] is None
    members = [told["systems"][place]["numbers"]["parameters"]["mean"] for place in (0, 2)]
    assert both["numbers"]["parameters"]["mean"] == sum(members)
    combination = json.loads((compared / "both" / "metrics.json").read_text())["combination"]
    assert combination["fusion"]["name"] == "nms" and len(combination["members"]) == 2
    assert combination["models"] == ["faster_rcnn", "more"]
    page = (compared / "both" / "report.html").read_text()
    assert "member 2</td><td>more (faster_rcnn), weight 1; looks at its own size and mirrored; its looks fused" in page
    numbers = told["systems"][0]["runs"][0]["numbers"]
    assert numbers["milliseconds_first_quartile"] <= numbers["milliseconds"] <= numbers["milliseconds_third_quartile"]
    assert 'title="half of them ' in (compared / "compare.html").read_text()
    with (compared / "compare.csv").open(newline="") as file:
        lines = {line["system"]: line for line in csv.DictReader(file)}
    for row in told["systems"][:4]:
        assert float(lines[row["name"]]["AP"]) == row["numbers"]["AP"]["mean"]
    assert lines["broken"]["message"] == told["systems"][4]["message"]


def test_weights_of_another_row_are_used_with_other_settings(compared: Path) -> None:
    found = json.loads((compared / "tested" / "predictions.json").read_text())
    assert 0 < len(found) <= 2 * 3 < len(json.loads((compared / "more" / "predictions.json").read_text()))
    best = {row["image_id"]: row for row in json.loads((compared / "more" / "predictions.json").read_text())[::-1]}
    for image, row in best.items():
        assert next(other for other in found if other["image_id"] == image)["score"] == pytest.approx(row["score"])


def test_every_pair_that_was_judged_has_an_interval_and_the_page_tells_all(compared: Path) -> None:
    told = document(compared)
    assert len(told["comparisons"]) == 10
    assert {(each["A"], each["B"]) for each in told["comparisons"]} >= {("tested", "more"), ("run", "faster_rcnn")}
    # Intervals come of predictions.json and AP of metrics.json: of the same detections.
    ap = {row["name"]: row["numbers"]["AP"]["mean"] for row in told["systems"]}
    for each in told["comparisons"]:
        assert each["differences"][0]["difference"] == pytest.approx(ap[each["A"]] - ap[each["B"]], abs=1e-9)
    page = (compared / "compare.html").read_text()
    assert "6 systems on shapes" in page and "<b>broken</b> failed" in page and 'href="more/report.html"' in page
    assert "the weights of more with detections=3" in page and "the model file of" in page


def test_resume_trains_nothing_again_and_tries_what_failed(compared: Path, shapes, trained, tmp_path) -> None:
    copy = tmp_path / "out"
    shutil.copytree(compared, copy)
    before, lines = snapshot(copy), Lines()
    found = compare_systems(
        plan(shapes, given=trained, resume=True), out=copy, progress=lines, apart=False, resamples=30
    )
    assert found.failed == ("broken",)
    assert sum("finished already" in line for line in lines.lines) == 5
    told = {"compare.html", "compare.json", "compare.csv"}  # where the damaged row lies is in its message
    assert {name: text for name, text in snapshot(copy).items() if name not in told} == {
        name: text for name, text in before.items() if name not in told
    }
    text = (compared / "compare.json").read_text().replace(str(compared), str(copy))
    assert document(copy) == json.loads(text)


def test_table_of_what_is_finished_is_there_from_the_start_of_a_resumed_comparison(
    compared: Path, shapes, trained, tmp_path, monkeypatch
) -> None:
    copy, states, read = tmp_path / "out", [], []
    shutil.copytree(compared, copy)

    def reading(own: Path, split: TruthOfSplit) -> Evaluation:
        read.append(own.name)
        return evaluation_of(own, split)

    monkeypatch.setattr("sightline.comparing.compare.evaluation_of", reading)

    class Looking(Lines):
        def log(self, text: str) -> None:
            states.append([row["state"] for row in document(copy)["systems"]])

    resumed = plan(shapes, given=trained, resume=True)
    compare_systems(resumed, out=copy, progress=Looking(), apart=False, resamples=30)
    # What failed waits to be tried again.
    assert states[0] == ["finished"] * 4 + ["waiting", "finished"]
    assert states[-1] == ["finished"] * 4 + ["failed", "finished"]  # when the last was still to be looked at
    assert sorted(read) == ["both", "faster_rcnn", "more", "run", "tested"]


def test_system_in_the_middle_goes_on_exactly(compared: Path, shapes, trained, tmp_path) -> None:
    out, states = tmp_path / "out", ["finished", "interrupted", "waiting"]
    cut = compare_systems(plan(shapes, rows=2), out=out, progress=Lines(stop_in=2), apart=False, resamples=30)
    assert cut.stopped and [system.state for system in cut.systems] == states
    assert [row["state"] for row in document(out)["systems"]] == states
    assert "<p>more was interrupted.</p>" in (out / "compare.html").read_text()

    class Looking(Lines):
        def log(self, text: str) -> None:
            super().log(text)
            if text.startswith("faster_rcnn, 1 of 3"):  # nothing is known but what the folders say
                assert [row["state"] for row in document(out)["systems"]] == states

    looking = Looking(stop_in=9)
    whole = compare_systems(plan(shapes, rows=2, resume=True), out=out, progress=looking, apart=False, resamples=30)
    assert not whole.failed and not whole.stopped and looking.lines
    for row in ("faster_rcnn", "more"):
        for name in RESULTS:
            assert (out / row / name).read_bytes() == (compared / row / name).read_bytes()


def test_other_settings_are_refused_by_name(compared: Path, shapes, trained, tmp_path) -> None:
    def refused(changed: Plan) -> str:
        with pytest.raises(ConfigError) as error:
            compare_systems(changed, out=compared, apart=False, resamples=30)
        return str(error.value)

    assert "options.epochs is 2, but" in refused(plan(shapes, given=trained, epochs=2, resume=True))
    assert "systems.run.way is not set" in refused(plan(shapes, resume=True))
    assert "seeds is 2, but" in refused(plan(shapes, given=trained, seeds=2, resume=True))
    assert "go on with it by --resume" in refused(plan(shapes, given=trained))
    with pytest.raises(ConfigError, match="no comparison to resume"):
        compare_systems(plan(shapes, resume=True), out=tmp_path / "none", apart=False, resamples=30)


def test_plan_is_read_as_it_was_written_and_seeds_have_folders_of_their_own(shapes: Path, trained: Path) -> None:
    whole = plan(shapes, given=trained, seeds=2, seed=3, recipe={"ema": 0.9})
    assert plan_of(json.loads(json.dumps(whole.to_dict()))) == whole
    folders = [run.folder for run in whole.runs()]
    assert folders[:3] == ["faster_rcnn-seed3", "run", "more-seed3"]
    assert folders[6:] == ["faster_rcnn-seed4", "more-seed4", "tested-seed4", "broken-seed4", "both-seed4"]


def test_runs_of_one_folder_are_refused(shapes: Path, trained: Path, tmp_path: Path) -> None:
    old = tmp_path / "faster_rcnn-seed1"
    shutil.copytree(trained, old)
    with pytest.raises(ConfigError, match="two runs would be written to the folder faster_rcnn-seed1"):
        plan(shapes, given=old, seeds=2)
    assert plan(shapes, given=old, seeds=1).runs()[1].folder == "faster_rcnn-seed1"
    with pytest.raises(ConfigError, match="two systems at least, and there is none"):
        Plan((), str(shapes), TrainOptions())


def test_a_person_is_told_how_to_go_on() -> None:
    """With the folder, which without --out nobody has named."""
    place = Path("runs/compare-shapes-1")
    failed = ComparedSystem("a", "rcnn", "train", state="failed", message="the disk is full; cure: start again")
    told = way_on(Compared(place, (failed,), (), {}, stopped=False))
    assert told.startswith(f"the same command with --out {place} --resume tries again what failed")
    waiting = ComparedSystem("a", "rcnn", "train", state="waiting")
    told = way_on(Compared(place, (waiting,), (), {}, stopped=True))
    assert told == f"interrupted; the same command with --out {place} --resume goes on"


def test_whoever_cuts_it_off_is_told_too(shapes: Path, tmp_path: Path) -> None:
    class Cut(Lines):
        def log(self, text: str) -> None:
            super().log(text)
            if text.startswith("faster_rcnn, 1 of 2"):
                raise KeyboardInterrupt

    cut, out = Cut(), tmp_path / "out"
    with pytest.raises(KeyboardInterrupt):
        compare_systems(plan(shapes, rows=1), out=out, progress=cut, apart=False)
    assert cut.lines[-1] == f"cut off; the same command with --out {out} --resume goes on from what is saved"
    assert [row["state"] for row in document(out)["systems"]] == ["waiting", "waiting"]


def test_what_makes_no_sense_is_refused(fails, shapes: Path, trained: Path, tmp_path) -> None:
    words = ["compare", "--models", "faster_rcnn,faster_rcnn_c4", "--data", shapes, "--out", tmp_path / "out"]
    alone = fails(2, *words, "--set", "faster_rcnn.anchors=3")
    assert "FasterRCNNConfig has no setting anchors" in alone
    assert "--set ROW.KEY=VALUE, where ROW is one of faster_rcnn, faster_rcnn_c4" in alone
    assert "faster_rcnn_c4: " in fails(2, *words, "--set", "faster_rcnn_c4.anchors=3")
    assert "--seeds must be at least 1" in fails(2, *words, "--seeds", 0)
    assert "both give short_side" in fails(2, *words, "--imgsz", 64, "--set", "short_side=64")
    words = ["compare", "--models", "faster_rcnn", "--data", shapes, "--out", tmp_path / "out", "--variant"]
    assert "Looks.multi_scale.0 cannot be true" in fails(2, *words, "a=trained:faster_rcnn,multi_scale=[true]")
    assert "fusion has no meaning with one look" in fails(2, *words, "a=trained:faster_rcnn,fusion=nms")
    assert "member_weights has no meaning with one model" in fails(
        2, *words, "a=trained:faster_rcnn,flip=true,member_weights=[2]"
    )
    unfit = fails(2, *words, "a=trained:faster_rcnn,context=true")
    assert "a: the weights of faster_rcnn do not fit context=True" in unfit
    assert "as --variant a=faster_rcnn,KEY=VALUE" in unfit
    given = fails(2, *words, f"a=trained:{trained},channels=8")
    assert "do not fit channels=8" in given and "backbone" not in given.split("cure")[0]
    assert "a: FasterRCNNConfig has no setting flap" in fails(2, *words, "a=trained:faster_rcnn,flap=true")
    two = ["b=faster_rcnn", "--variant"]
    assert "no setting proposals" in fails(2, *words, *two, "a=trained:faster_rcnn+b,proposals=3")
    for wrong in ("flp=true", "multi_scale=480x600"):
        assert "by multi_scale, flip, fusion, member_weights, as" in fails(2, *words, f"a=trained:faster_rcnn,{wrong}")
    assert "2 numbers" not in fails(2, *words, *two, "a=trained:faster_rcnn+b,member_weights=[1]")
    alone = ["compare", "--models", f"{trained},{trained}/best.safetensors", "--data", shapes]
    assert "two rows are called run" in fails(2, *alone)
    alone = ["compare", "--models", trained, "--variant", f"again={trained}", "--data", shapes, "--epochs", 3]
    assert "nothing is trained" in fails(2, *alone)
    heeded = ["--batch", 2, "--recipe", "ema=0.9", "--precision", "32", "--workers", 0]
    assert "leave out --batch, --recipe, --precision, --workers" in fails(2, *alone[:-2], *heeded)
    assert not (tmp_path / "out").exists()


TINY_COMPARISON = [
    *("compare", "--models", "faster_rcnn", "--variant", VARIANTS[0], "--variant", VARIANTS[2]),
    *("--backbone", "mobilenet_v3_small", "--imgsz", "64", *(w for s in SETTINGS for w in ("--set", s)), *QUICK),
]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_command_killed_at_any_time_goes_on(shapes: Path, tmp_path: Path) -> None:
    """Two seeds, each system in a process of its own; whatever is killed takes the rest along, and nothing is lost."""
    words = [sys.executable, "-m", "sightline.cli.main", *TINY_COMPARISON, "--data", str(shapes), "--seeds", "2"]

    def start(out: Path, *more: str) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([*words, "--out", str(out), *more], stdout=subprocess.DEVNULL)

    assert start(tmp_path / "whole").wait() == 1  # one row fails
    whole = document(tmp_path / "whole")
    assert [row["state"] for row in whole["systems"]] == ["finished", "finished", "failed"]
    assert [len(row["runs"]) for row in whole["systems"]] == [2, 2, 0]
    out, kills = tmp_path / "out", 0
    for wait in (9.0, 15.0, 21.0, 27.0, 900.0):
        process = start(out, *(["--resume"] if (out / "compare.json").exists() else []))
        try:
            assert process.wait(wait) == 1
            break
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            time.sleep(2.0)  # its child sees that it is alone
    assert kills >= 1
    for row in ("faster_rcnn", "more"):
        for seed in (0, 1):
            for name in RESULTS:
                ours, theirs = (place / f"{row}-seed{seed}" / name for place in (out, tmp_path / "whole"))
                assert ours.read_bytes() == theirs.read_bytes()
    for ours, theirs in zip(document(out)["systems"], whole["systems"], strict=True):
        assert ours["numbers"]["AP"] == theirs["numbers"]["AP"] and ours["state"] == theirs["state"]


@pytest.mark.parametrize("data", [None, {"name": "shapes"}, {"images": {"train": "many"}}])
def test_a_run_that_does_not_say_what_it_was_trained_on_is_named(shapes: Path, trained: Path, tmp_path, data) -> None:
    own = tmp_path / "run"
    shutil.copytree(trained, own)
    config = json.loads((own / "config.json").read_text())
    config.pop("data")
    (own / "config.json").write_text(json.dumps(config if data is None else {**config, "data": data}))
    with pytest.raises(SightlineError) as raised:
        compare_systems(plan(shapes, given=own), out=tmp_path / "out", apart=False)
    told = str(raised.value)
    assert str(own / "config.json") in told and "data.images.train" in told
    assert str(own / "best.safetensors") in told and not (tmp_path / "out").exists()
