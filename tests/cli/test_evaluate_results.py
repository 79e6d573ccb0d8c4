"""``sightline evaluate --predictions``: results of any detector are judged, without a model, without pictures."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from sightline.evaluation.columns import Found
from sightline.evaluation.results import save_results
from sightline.evaluation.truth import open_truth

sys.path.append(str(Path(__file__).parents[1] / "evaluation"))

from results_fabricated import make_set, right_rows, write

USAGE, DATA = 2, 3


@pytest.fixture
def labelled(tmp_path):
    return make_set(tmp_path / "set")


@pytest.fixture
def rows(tmp_path):
    return write(tmp_path / "r.json", right_rows())


def test_the_numbers_come_with_the_name_of_their_protocol(run, labelled, rows):
    code, out, err = run("evaluate", "--predictions", rows, "--data", labelled)
    assert (code, err) == (0, "")
    assert "COCO bbox AP@[IoU=.50:.95], 101 points, 100 detections" in out
    assert "n/a" in out and "-1" not in out  # no object of the class cow, nothing large


def test_all_protocols_in_one_table_and_in_json(run, labelled, rows):
    words = ["evaluate", "--predictions", rows, "--data", labelled]
    _, out, _ = run(*words, "--protocol", "all")
    assert all(name in out for name in ("COCO bbox AP@", "VOC2007 AP@.50, 11 points", "VOC2012 AP@.50, area"))
    _, out, _ = run(*words, "--protocol", "voc12", "--protocol", "coco", "--json")
    document = json.loads(out)
    assert document["metrics"]["AP"] == pytest.approx(1.0)
    assert document["calibration"]["temperature"] is None  # nobody knows what the scores were divided by
    voc = document["protocols"]["VOC2012 AP@.50, area under the curve"]
    assert (voc["metrics"], [row["AP"] for row in voc["per_class"]]) == ({"mAP": 1.0}, [1.0, 1.0, None])
    assert len(document["protocols"]) == 1
    _, out, _ = run(*words, "--protocol", "voc07")
    assert "COCO bbox" not in out and "VOC2007 AP@.50, 11 points" in out
    assert "calibration error (ECE)" in out and "temperature" not in out


def test_images_without_a_row_are_told(run, labelled, tmp_path):
    path = write(tmp_path / "r.json", right_rows([2]))
    _, out, err = run("evaluate", "--predictions", path, "--data", labelled, "--json")
    assert "3 of 4 images have no row" in err
    assert json.loads(out)["images_without_results"] == 3


def test_a_folder_is_written_as_of_a_model(run, labelled, rows, tmp_path):
    out = tmp_path / "judged"
    code, _, _ = run("evaluate", "--predictions", rows, "--data", labelled, "--out", out, "--protocol", "all")
    assert code == 0
    metrics, page = json.loads((out / "metrics.json").read_text()), (out / "report.html").read_text()
    assert (metrics["metrics"]["AP"], metrics["cost"]) == (pytest.approx(1.0), None)
    assert "Protocols" in page and "VOC2007 AP@.50, 11 points" in page
    assert "no pictures are shown" in page
    code, text, _ = run("evaluate", "--predictions", out / "predictions.json", "--data", labelled, "--json")
    assert json.loads(text)["metrics"] == metrics["metrics"]


def test_a_report_has_pictures_where_they_are(run, shapes, tmp_path, trained):
    judged = tmp_path / "judged"
    words = ["--data", shapes, "--split", "test", "--json"]
    _, by_model, _ = run("evaluate", trained, *words, "--out", judged)
    code, text, _ = run("evaluate", "--predictions", judged / "predictions.json", *words, "--out", tmp_path / "again")
    assert code == 0
    ours, theirs = json.loads(text), json.loads(by_model)
    assert ours["metrics"] == pytest.approx(theirs["metrics"], abs=1e-6)
    assert (tmp_path / "again" / "report.html").read_text().count("data:image/jpeg") == 2


def test_protocols_of_a_model(run, shapes, trained, tmp_path):
    out = tmp_path / "judged"
    code, text, _ = run("evaluate", trained, "--data", shapes, "--protocol", "all", "--json", "--out", out)
    assert code == 0
    assert list(json.loads(text)["protocols"]) == ["VOC2007 AP@.50, 11 points", "VOC2012 AP@.50, area under the curve"]
    assert "VOC2012 AP@.50" in (out / "report.html").read_text()


@pytest.mark.parametrize("form", ["voc", "yolo"])
def test_sets_of_other_formats_are_judged_by_the_numbers_of_their_images(run, shapes, tmp_path, form):
    other = tmp_path / form
    assert run("data", "convert", shapes, "--to", form, "--out", other)[0] == 0

    split = open_truth(other, "val")
    truth = split.truth
    found = Found(truth.count, truth.images, truth.labels, truth.boxes, np.full(len(truth), 0.5))
    save_results(tmp_path / "r.json", found, split.image_ids, split.classes)
    code, text, _ = run(
        "evaluate", "--predictions", tmp_path / "r.json", "--data", other, "--protocol", "all", "--json"
    )
    document = json.loads(text)
    assert code == 0
    assert document["metrics"]["AP"] == pytest.approx(1.0)
    assert document["protocols"]["VOC2007 AP@.50, 11 points"]["metrics"]["mAP"] == pytest.approx(1.0)


def test_masks_and_keypoints_are_judged_where_they_are_asked_for(run, labelled, tmp_path):
    mask = {"size": [40, 60], "counts": "X510"}
    path = write(tmp_path / "r.json", right_rows(segmentation=mask, keypoints=[5, 5, 1, 15, 15, 1]))
    words = ["evaluate", "--predictions", path, "--data", labelled]
    _, out, err = run(*words)
    assert "COCO bbox" in out and "--task masks and --task keypoints judges what else" in err
    assert "COCO segm AP@" in run(*words, "--task", "masks", "--protocol", "all")[1]
    words += ["--task", "keypoints", "--sigmas", "0.1"]
    assert "sigmas all 0.1" in run(*words)[1]
    assert run(*words, "--out", tmp_path / "out")[0] == 0
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert (metrics["metrics"]["AR"] > 0.4, metrics["per_class"][2]["AR"], metrics["errors"]) == (True, None, None)
    report = (tmp_path / "out" / "report.html").read_text()
    assert not any(words in report for words in ("What is wrong", "AR100", "IoU")) and "OKS 0.50" in report


def test_options_that_do_not_fit_are_refused(fails, labelled, rows, tmp_path):
    words = ["evaluate", "--predictions", rows, "--data", labelled]
    assert "MODEL, or results with --predictions" in fails(USAGE, "evaluate", "--data", labelled)
    assert "leave out MODEL" in fails(USAGE, *words, "coco")
    for option, value in (("--batch", "2"), ("--device", "cpu"), ("--on-bad-image", "skip"), ("--imgsz", "64")):
        assert f"leave out {option}" in fails(USAGE, *words, option, value)
    assert "leave out --task" in fails(USAGE, "evaluate", "coco", "--data", labelled, "--task", "masks")
    assert "valid: coco, voc07, voc12, all" in fails(USAGE, *words, "--protocol", "lvis")
    assert "did you mean boxes? valid: boxes, masks, keypoints" in fails(USAGE, *words, "--task", "boxen")
    assert "leave --sigmas out" in fails(USAGE, *words, "--sigmas", "0.1")
    points = write(tmp_path / "k.json", [{"image_id": 0, "category_id": 3, "score": 1, "keypoints": [1, 1, 1] * 2}])
    words = ["evaluate", "--predictions", points, "--data", labelled]
    assert "judges boxes, not keypoints" in fails(USAGE, *words, "--protocol", "voc07")
    for sigmas in ("0.1,0.1,0.1", "0", "x", "nan"):
        assert "--sigmas" in fails(USAGE, *words, "--sigmas", sigmas)


def test_another_split_than_a_files_own_is_refused(run, fails, labelled, rows):
    file = labelled / "annotations" / "instances_val2017.json"
    words = ["evaluate", "--predictions", rows, "--data", file]
    assert run(*words)[0] == run(*words, "--split", "val")[0] == 0
    assert "--split test, but this file is the split 'val'" in fails(USAGE, *words, "--split", "test")


def test_what_is_wrong_in_a_file_is_one_line(fails, labelled, tmp_path):
    path = write(tmp_path / "r.json", [{**row, "image_id": 100} for row in right_rows()])
    line = fails(DATA, "evaluate", "--predictions", path, "--data", labelled)
    assert "r.json, row 0" in line and "judge them with --split train" in line
    assert "cannot be read" in fails(DATA, "evaluate", "--predictions", tmp_path / "none.json", "--data", labelled)


def test_judging_results_does_not_import_torch(labelled, rows):
    code = (
        "import sys; from sightline.cli.main import main\n"
        f"words = ['--predictions', {str(rows)!r}, '--data', {str(labelled)!r}, '--protocol', 'all']\n"
        "assert main(['evaluate', *words]) == 0\n"
        "assert 'torch' not in sys.modules, 'torch'"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
