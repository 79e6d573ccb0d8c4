"""What the words of `sightline compare` mean; nothing here needs torch."""

import subprocess
import sys
from pathlib import Path

import pytest

from sightline.comparing.entrants import Entrant, entrants_of
from sightline.errors import ConfigError


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "old_run"
    folder.mkdir()
    (folder / "best.safetensors").write_bytes(b"")
    return folder


def test_names_are_trained_and_files_and_folders_are_judged(run_folder: Path) -> None:
    words = ["faster_rcnn", str(run_folder), str(run_folder / "best.safetensors")]
    first, folder, *_ = entrants_of(words[:2])
    assert first == Entrant("faster_rcnn", "train", "faster_rcnn")
    assert folder == Entrant("old_run", "given", words[1])
    assert entrants_of([words[0], words[2]])[1].name == "old_run"


def test_variants_add_up_and_know_what_they_are_based_on() -> None:
    rows = entrants_of(
        ["faster_rcnn"],
        [
            "few=faster_rcnn,proposals=300,aspect_ratios=[0.5, 1, 2]",
            "small=few,short_side=200",
            "test=trained:small,detections=5",
            "more=test,score_threshold=0.5",
            "both=trained:test+few,fusion=nms",
        ],
    )
    few, small, test, more, both = rows[1:]
    assert both == Entrant("both", "trained", "test+few", {"fusion": "nms"}, "test")
    assert both.members == ("test", "few") and both.looks == {"fusion": "nms"} and both.own == {}
    assert few.settings == {"proposals": 300, "aspect_ratios": [0.5, 1, 2]} and few.base == "faster_rcnn"
    assert small == Entrant("small", "train", "faster_rcnn", {**few.settings, "short_side": 200}, "few")
    assert test == Entrant("test", "trained", "small", {"detections": 5}, "small")
    assert more == Entrant("more", "trained", "small", {"detections": 5, "score_threshold": 0.5}, "test")


def test_settings_of_all_give_way_to_those_of_one() -> None:
    assignments = ["proposals=100", "b.proposals=7", "optimiser.lr=0.1"]
    a, b, c = entrants_of(
        [], ["a=faster_rcnn,proposals=9", "b=faster_rcnn", "c=trained:a,proposals=5"], assignments, "resnet18"
    )
    assert a.settings == {"proposals": 9, "optimiser": {"lr": 0.1}, "backbone": "resnet18"}
    assert b.settings == {"proposals": 7, "optimiser": {"lr": 0.1}, "backbone": "resnet18"}
    assert c.settings == {"proposals": 5}


@pytest.mark.parametrize(
    ("models", "variants", "assignments", "said"),
    [
        (["faster_rcn"], [], [], "did you mean faster_rcnn?"),
        (["faster_rcnn", "faster_rcnn"], [], [], "two rows are called faster_rcnn"),
        ([], [], [], "what is to be compared is not said"),
        (["faster_rcnn"], ["faster_rcnn"], [], "not of the form NAME=BASE"),
        (["faster_rcnn"], ["a=nothing,b=1"], [], "'nothing' is no model's name"),
        (["faster_rcnn"], ["a/b=faster_rcnn"], [], "cannot be the name of a row"),
        (["faster_rcnn"], ["a=faster_rcnn,proposals"], [], "'faster_rcnn,proposals' is no model's name"),
        ([], ["a=trained:faster_rcnn"], [], "no row faster_rcnn is trained before it"),
        (["fast_rcnn", "rcnn"], [], ["fast.proposals=9"], "no row is called fast; cure: did you mean fast_rcnn?"),
        (["faster_rcnn"], ["a=trained:faster_rcnn+few"], [], "no row few comes before it"),
        (["faster_rcnn"], [], ["backbone=resnet18"], "both give backbone"),
    ],
)
def test_what_means_nothing_is_refused(models, variants, assignments, said) -> None:
    backbone = "resnet50" if assignments else None
    with pytest.raises(ConfigError) as error:
        entrants_of(models, variants, assignments, backbone)
    assert said in str(error.value)


def test_settings_of_all_that_reach_nothing_are_refused(run_folder: Path) -> None:
    with pytest.raises(ConfigError, match="proposals: given for all that are trained, but nothing is"):
        entrants_of([str(run_folder)], [], ["proposals=4"])
    (row,) = entrants_of([str(run_folder)], [], ["old_run.proposals=4"])
    assert row.settings == {"proposals": 4}


def test_wrong_words_are_answered_before_torch_is_imported() -> None:
    code = "import sys; from sightline.cli.main import main; codes = [main(w.split()) for w in sys.argv[1:]]; "
    code += "assert 'torch' not in sys.modules; print(); print(*codes)"
    wrong = [
        "compare --models faster_rcn,faster_rcnn --data x",
        "compare --models faster_rcnn --data x",
        "compare --models faster_rcnn,faster_rcnn_c4 --data x --minutes 1 --epochs 2",
        "compare --models faster_rcnn,faster_rcnn_c4 --data x --resume",
        "compare --models faster_rcnn,faster_rcnn_c4 --data /nowhere/at/all",
        "compare --help",
    ]
    ended = subprocess.run([sys.executable, "-c", code, *wrong], capture_output=True, text=True, check=False)
    assert ended.stdout.splitlines()[-1].split() == ["2", "2", "2", "2", "3", "0"], ended.stderr
    said = ended.stderr.splitlines()
    assert len(said) == 5 and "did you mean faster_rcnn" in said[0] and "two systems at least" in said[1]
    assert "both say when training ends" in said[2] and "which comparison" in said[3] and "/nowhere/at/all" in said[4]
