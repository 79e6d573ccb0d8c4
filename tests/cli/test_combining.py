"""``--multi-scale``, ``--flip`` and ``--ensemble`` of evaluate and predict."""

import json
from dataclasses import fields
from typing import get_args

import pytest

from sightline.cli.combining import FUSIONS, Combining, told
from sightline.combination.build import FUSIONS as BUILT
from sightline.comparing.looks import Looks
from sightline.data.dataset import open_dataset
from sightline.evaluation.evaluate import evaluate
from sightline.model_file import write_model
from sightline.zoo import create, load

USAGE, MODEL = 2, 4


def test_evaluation_at_several_sizes_says_what_was_done(run, trained, shapes, tmp_path):
    out = tmp_path / "judged"
    words = ["evaluate", trained, "--data", shapes, "--multi-scale", "32,64", "--flip", "--fusion", "wbf"]
    code, stdout, _ = run(*words, "--json", "--out", out)
    assert code == 0
    document = json.loads(stdout)
    combination = document["combination"]
    assert (combination["short_sides"], combination["flip"]) == ([32, 64], True)
    assert combination["models"] == [str(trained)] and combination["fusion"]["name"] == "wbf"
    assert json.loads((out / "metrics.json").read_text())["combination"] == combination
    assert "32,64" in (out / "report.html").read_text()
    assert document["temperature"] is None
    # The same from Python, and the cost is that of all four looks.
    system = Combining("32,64", True, fusion="wbf").system(str(trained))
    data = open_dataset(shapes, "val", classes=system.classes)
    assert document["metrics"]["AP"] == pytest.approx(evaluate(system, data).result.metrics()["AP"], abs=1e-9)
    _, stdout, _ = run("evaluate", trained, "--data", shapes, "--imgsz", 64, "--json")
    alone = json.loads(stdout)
    assert "combination" not in alone and alone["temperature"] is not None
    assert document["cost"]["parameters"] == alone["cost"]["parameters"]
    assert 2.2 < document["cost"]["flops"] / alone["cost"]["flops"] < 3.8
    assert document["cost"]["prepared_size"] == alone["cost"]["prepared_size"]


def test_an_ensemble_of_a_model_with_itself_is_judged_as_the_model(run, trained, shapes):
    alone = json.loads((trained / "metrics.json").read_text())
    words = ["--split", "test", "--ensemble", trained / "best.safetensors", "--fusion", "average"]
    words += ["--member-weights", "2,1"]
    _, stdout, _ = run("evaluate", trained, "--data", shapes, *words, "--json")
    both = json.loads(stdout)
    assert both["metrics"]["AP"] == pytest.approx(alone["metrics"]["AP"], abs=1e-6)
    assert both["cost"]["parameters"] == 2 * alone["cost"]["parameters"]
    assert both["cost"]["flops"] == pytest.approx(2 * alone["cost"]["flops"], rel=0.02)
    assert both["combination"]["weights"] == [2, 1]
    assert [member["system"] for member in both["combination"]["members"]] == ["faster_rcnn"] * 2
    assert both["combination"]["fusion"]["of"] == "regions"


def test_masks_of_several_are_judged_too(run, shapes, tmp_path):
    classes = open_dataset(shapes, "val").classes
    settings = {"backbone": "mobilenet_v3_small", "channels": 16, "head_width": 16, "mask_width": 8, "mask_depth": 1}
    system = create("mask_rcnn", classes=classes, settings={**settings, "short_side": 64, "detections": 5})
    model = tmp_path / "mask.safetensors"
    write_model(model, system, stage="", metrics={}, provenance="")
    code, stdout, _ = run("evaluate", model, "--data", shapes, "--ensemble", model, "--flip", "--json")
    document = json.loads(stdout)
    assert code == 0 and document["note"] is None
    assert document["also"]["masks"]["metrics"]["AP"] is not None
    assert [member["flip"] for member in document["combination"]["members"]] == [True, True]


def test_prediction_by_an_ensemble_at_several_sizes(run, trained, shapes, tmp_path):
    photos, out = shapes / "val", tmp_path / "found"
    words = ["predict", trained, photos, "--out", out, "--threshold", 0, "--ensemble", trained, "--flip"]
    code, stdout, _ = run(*words)
    assert code == 0 and "looked at its own size and mirrored" in stdout and "wbf" in stdout
    assert len(list(out.glob("*.jpg"))) == 2
    _, stdout, _ = run("predict", trained, photos, "--out", tmp_path / "again", "--multi-scale", 64, "--json")
    assert json.loads(stdout)["combination"]["short_sides"] == [64]


def test_what_makes_no_sense_is_refused(fails, trained, shapes, tmp_path):
    judge = ["evaluate", trained, "--data", shapes]
    for words, answer in (
        (["--fusion", "wbf"], "--fusion has no meaning with one look of one model"),
        (["--flip", "--fusion", "mean"], "unknown fusion 'mean'"),
        (["--flip", "--fusion", "vote"], "did you mean voting? valid: nms, voting, average, wbf"),
        (["--member-weights", "1,2", "--flip"], "--member-weights has no meaning with one model"),
        (["--multi-scale", "64", "--imgsz", 64], "--multi-scale and --imgsz both give the size"),
        (["--multi-scale", "64,big"], "--multi-scale 64,big is not a list of numbers"),
        (["--multi-scale", "64,64"], "the short sides are 64, 64"),
        (["--ensemble", trained, "--member-weights", "1"], "1 weights for 2 members"),
    ):
        assert answer in fails(USAGE, *judge, *words)
    assert "no such model file" in fails(MODEL, *judge, "--ensemble", tmp_path / "none.safetensors")
    results = tmp_path / "results.json"
    results.write_text("[]")
    refused = ["evaluate", "--predictions", results, "--data", shapes, "--flip"]
    assert "--flip has no meaning with --predictions" in fails(USAGE, *refused)
    settings = {"backbone": "mobilenet_v3_small", "channels": 16, "head_width": 16}
    other = tmp_path / "other.safetensors"
    write_model(
        other, create("faster_rcnn", classes=["cow", "hen"], settings=settings), stage="", metrics={}, provenance=""
    )
    line = fails(USAGE, *judge, "--ensemble", other)
    assert "model 2 of the ensemble answers with the classes cow, hen" in line


def test_the_names_of_fusions_are_those_that_there_are():
    (field,) = (field for field in fields(Looks) if field.name == "fusion")
    assert set(FUSIONS) == set(BUILT) == set(get_args(get_args(field.type)[0]))


def test_a_line_says_how_it_was_looked(trained):
    system = Combining("48,64", ensemble=(str(trained),), fusion="nms").system(str(trained))
    line = told(system.describe())
    assert line.startswith("ensemble of faster_rcnn, faster_rcnn, looked at sizes 48, 64; fused by nms")
    line = told(Combining(ensemble=(str(trained),), weights="2,1", fusion="average").system(str(trained)).describe())
    assert line.startswith("ensemble of faster_rcnn, faster_rcnn, weights 2, 1; fused by average (He et al. 2016")
    assert load(trained).classes == system.classes
