"""``sightline evaluate --against``: models and results files, each against each, on the same images."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from sightline.classes import Classes
from sightline.cli.against import Rival, compared
from sightline.evaluation.columns import Found, Truth
from sightline.evaluation.evaluation import judge_columns
from sightline.evaluation.truth import open_truth
from sightline.model_file import write_model
from sightline.zoo import create

USAGE, DATA, MODEL = 2, 3, 4


@pytest.fixture(scope="module")
def perfect(shapes, tmp_path_factory) -> Path:
    """The truth of the split val as results."""
    split = open_truth(shapes, "val")
    path = tmp_path_factory.mktemp("results") / "perfect.json"
    rows = [
        {
            "image_id": split.image_ids[split.truth.images[k]],
            "category_id": split.classes.ids[split.truth.labels[k]],
            "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
            "score": 0.9,
        }
        for k, box in enumerate(split.truth.boxes)
    ]
    path.write_text(json.dumps(rows))
    return path


def differences(document):
    return {found["name"]: found for found in document["comparison"]["differences"]}


def test_a_model_against_results(run, trained, shapes, perfect, tmp_path):
    out = tmp_path / "judged"
    words = ["evaluate", trained, "--data", shapes, "--against", perfect, "--resamples", 40, "--out", out]
    code, stdout, _ = run(*words, "--json")
    assert code == 0
    document = json.loads(stdout)
    ap = differences(document)["AP"]
    assert ap["A"] == pytest.approx(document["metrics"]["AP"], abs=1e-10)
    assert (ap["B"], ap["verdict"], ap["resamples"]) == (1.0, "too few images to tell", 40)
    comparison = document["comparison"]
    assert (comparison["A"], comparison["B"]) == (str(trained), str(perfect))
    assert (comparison["unit"], comparison["images"], comparison["seed"]) == ("image", 2, 0)
    assert json.loads((out / "metrics.json").read_text())["comparison"] == comparison
    assert 'id="compared-with"' in (out / "report.html").read_text()
    assert document["temperature"] == json.loads((trained / "metrics.json").read_text())["temperature"]


def test_a_model_against_itself_does_not_differ(run, trained, shapes):
    _, stdout, _ = run(
        "evaluate", trained, "--data", shapes, "--against", trained / "best.safetensors", "--resamples", 20
    )
    assert "too few images to tell (2; at least 20)" in stdout
    assert re.search(r"paired bootstrap, percentile interval: 20 resamples of 2 images \(unit: image\), seed 0", stdout)


def test_results_against_results_and_a_model(run, trained, shapes, perfect, tmp_path):
    nothing = tmp_path / "nothing.json"
    nothing.write_text("[]")
    words = ["evaluate", "--predictions", perfect, "--data", shapes, "--resamples", 30, "--json"]
    _, stdout, _ = run(*words, "--against", nothing, "--seed", 3)
    document = json.loads(stdout)
    ap50 = differences(document)["AP50"]
    assert (ap50["A"], ap50["B"], ap50["verdict"]) == (1.0, 0.0, "too few images to tell")
    assert document["comparison"]["seed"] == 3
    out = tmp_path / "judged"
    _, stdout, _ = run(*words, "--against", trained, "--batch", 1, "--out", out)
    assert differences(json.loads(stdout))["AP"]["A"] == pytest.approx(1.0)
    assert "compared-with" in (out / "report.html").read_text()


def test_the_numbers_of_both_sides_are_those_of_judging_each(run, trained, shapes, perfect):
    _, stdout, _ = run("evaluate", trained, "--data", shapes, "--json")
    alone = json.loads(stdout)["metrics"]
    _, stdout, _ = run("evaluate", "--predictions", perfect, "--data", shapes, "--against", trained, "--json")
    found = differences(json.loads(stdout))
    assert found["AP"]["B"] == pytest.approx(alone["AP"], abs=1e-10)
    assert found["AP50"]["B"] == pytest.approx(alone["AP50"], abs=1e-10)
    assert found["AP"]["resamples"] == 1000


def test_what_makes_no_sense_is_refused(fails, trained, shapes, perfect, tmp_path):
    judge = ["evaluate", trained, "--data", shapes]
    assert "--resamples has no meaning with one model alone" in fails(USAGE, *judge, "--resamples", 5)
    assert "--seed has no meaning with one model alone" in fails(USAGE, *judge, "--seed", 5)
    assert "at least 1 resample, got 0" in fails(USAGE, *judge, "--against", perfect, "--resamples", 0)
    assert "--seed must be at least 0, got -1" in fails(USAGE, *judge, "--against", perfect, "--seed", -1)
    assert "no such model file" in fails(MODEL, *judge, "--against", tmp_path / "none.safetensors")
    assert "none.json" in fails(DATA, *judge, "--against", tmp_path / "none.json")
    foreign = tmp_path / "foreign.json"
    foreign.write_text('[{"image_id": 99, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]')
    assert "99" in fails(DATA, *judge, "--against", foreign)


def test_models_of_other_classes_are_not_compared(fails, trained, shapes, tmp_path):
    settings = {"backbone": "mobilenet_v3_small", "channels": 16, "head_width": 16}
    system = create("faster_rcnn", classes=["cow", "hen"], settings=settings)
    other = tmp_path / "other.safetensors"
    write_model(other, system, stage="none", metrics={}, provenance="a test")
    line = fails(USAGE, "evaluate", trained, "--data", shapes, "--against", other)
    assert "cow, hen" in line and "same classes" in line


def test_equal_scores_are_taken_in_the_order_in_which_the_numbers_above_take_them():
    # The second image comes first by its id, and with it the right one of two equal scores.
    owners, boxes = np.asarray([0, 1]), np.asarray([[0.0, 0, 50, 50]] * 2)
    truth = Truth(2, owners[1:], np.zeros(1, np.int64), boxes[1:], np.asarray([2500.0]), np.zeros(1, np.bool_))
    found = Found(2, owners, np.zeros(2, np.int64), boxes, np.asarray([0.5, 0.5]))
    for ids, ap50 in (((2, 1), 1.0), ((1, 2), 0.5)):
        evaluation = judge_columns(truth, found, Classes(("cat",)), ids)
        comparison = compared(evaluation, "A", Rival("b.json", resamples=1), found)
        assert comparison.overall[1].a == pytest.approx(evaluation.result.ap50) == pytest.approx(ap50)
