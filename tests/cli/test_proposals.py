"""``sightline proposals``: on photos, on labelled images, and what it says to words that make no sense."""

import json
import shutil

import pytest
import torch

from sightline.cli import proposal_runs
from sightline.proposals.build import PROPOSERS
from sightline.regions.rpn_proposer import RPNProposer
from sightline.report import proposal_pictures

FAST = ["--method", "sliding_window,uniform", "--count", 40]


def test_methods_are_judged_side_by_side(run, shapes, trained, tmp_path):
    out = tmp_path / "judged"
    words = [*FAST, "--method", "rpn", "--model", trained, "--images", 2, "--repeatability", "--out", out]
    code, printed, err = run("proposals", "--data", shapes, "--split", "train", *words)
    assert code == 0, err
    assert "2 images of shapes, split train; 40 proposals asked for" in printed
    document = json.loads((out / "metrics.json").read_text())
    assert (document["images"], document["count"], document["split"]) == (2, 40, "train")
    assert list(document["methods"]) == ["sliding_window", "uniform", "rpn"]
    for name, found in document["methods"].items():
        assert name in printed and found["seconds_per_image"] > 0
        counts = [each["count"] for each in found["recall"]["by_count"]]
        assert counts == [1, 3, 10, 30, 40]
        recalls = [each["recall_50"] for each in found["recall"]["by_count"]]
        assert recalls == sorted(recalls)
        assert set(found["repeatability"]["by_kind"]) >= {"scale", "rotation"}
        assert {"disc", "star"} < set(found["recall"]["by_class"])
    boxes = json.loads((out / "proposals.json").read_text())
    assert len(boxes["images"]) == len(boxes["methods"]["rpn"]) == 2
    assert boxes["methods"]["uniform"][0]["scores"] is None
    assert len(boxes["methods"]["rpn"][0]["boxes"]) == len(boxes["methods"]["rpn"][0]["scores"]) <= 40
    report = (out / "report.html").read_text()
    assert report.count("data:image/jpeg") == 6 and "Repeatability over rotation" in report


def test_machines_get_one_document(run, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, printed, err = run("proposals", "--data", shapes, "--method", "uniform", "--count", 10, "--json")
    assert code == 0, err
    document = json.loads(printed)
    assert document["split"] == "val" and document["methods"]["uniform"]["repeatability"] is None
    assert (tmp_path / document["out"] / "report.html").is_file()
    # The same again is the same, but for the time.
    again = json.loads(run("proposals", "--data", shapes, "--method", "uniform", "--count", 10, "--json")[1])
    for each in (document, again):
        del each["out"], each["methods"]["uniform"]["seconds_per_image"]
    assert document == again


def test_photos_are_drawn(run, shapes, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(shapes / "test", photos)
    code, printed, err = run("proposals", photos, *FAST, "--out", tmp_path / "drawn")
    assert code == 0, err
    assert "uniform: 80 proposals on 2 images" in printed
    document = json.loads((tmp_path / "drawn" / "proposals.json").read_text())
    assert len(document["images"]) == 2
    assert all((tmp_path / "drawn" / image["picture"]).is_file() for image in document["images"])
    (photos / "broken.jpg").write_bytes(b"\xff\xd8no picture")
    code, _, err = run("proposals", photos, *FAST, "--out", tmp_path / "again", "--json")
    assert code == 3 and "broken.jpg" in err
    assert "broken.jpg" in run("proposals", photos, *FAST, "--out", tmp_path / "x", "--on-bad-image", "raise")[2]


@pytest.mark.parametrize("where", ["photos", "data"])
def test_what_ranks_nothing_is_drawn_as_it_is_when_so_many_are_asked_for(run, shapes, tmp_path, monkeypatch, where):
    """The first 20 of 180 anchors all lie in the upper half of an image, 20 anchors over all of it."""
    drawn = []
    for module in (proposal_runs, proposal_pictures):
        monkeypatch.setattr(module, "draw_first", lambda image, found, *_: drawn.append(found.boxes) or image)
    photo = next((shapes / "test").glob("*.jpg"))
    source = [photo] if where == "photos" else ["--data", shapes, "--images", 1]
    words = ["--method", "anchors,superpixels", "--count", 200, "--draw", 20, "--out", tmp_path / "out"]
    code, _, err = run("proposals", *source, *words)
    assert code == 0, err
    made = json.loads((tmp_path / "out" / "proposals.json").read_text())["methods"]
    anchors, superpixels = drawn
    height = max(box[3] for box in made["anchors"][0]["boxes"])
    firsts = torch.tensor(made["anchors"][0]["boxes"][:20])
    assert len(made["anchors"][0]["boxes"]) == 180 and (firsts[:, [1, 3]].mean(dim=1) < height / 2).all()
    assert len(anchors) == 20 and (anchors[:, [1, 3]].mean(dim=1) > height / 2).any()
    assert len(superpixels) == len(made["superpixels"][0]["boxes"]), "what gives what it finds is asked once"


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ([], 2, "neither photos nor --data are given"),
        (["a.jpg", "--data", "SET"], 2, "photos and --data are both given"),
        (["--data", "SET", "--method", "selectivesearch"], 2, "unknown method 'selectivesearch'"),
        (["--data", "SET", "--method", "superpixel"], 2, "did you mean superpixels? valid: selective_search"),
        (["--data", "SET", "--method", ","], 2, "no method is named"),
        (["--data", "SET", "--count", "0"], 2, "--count 0 makes no sense"),
        (["--data", "SET", "--images", "0"], 2, "--images 0 makes no sense"),
        (["--data", "SET", "--draw", "-1"], 2, "--draw -1 makes no sense"),
        (["--data", "SET", "--split", "nights", "--method", "uniform"], 3, "nights"),
        (["--data", "NOTHING", "--method", "uniform"], 3, "NOTHING"),
        (["--data", "SET", "--method", "rpn"], 2, "--method rpn needs a trained network"),
        (["--data", "SET", "--method", "uniform", "--model", "coco"], 2, "--model has no meaning without --method rpn"),
        (["--data", "SET", "--method", "rpn", "--model", "no.safetensors"], 4, "no such model file"),
        (["--data", "SET", "--method", "uniform", "--detector", "MODEL"], 2, "finds its regions itself"),
        (["--data", "SET", "--method", "uniform", "--on-bad-image", "cry"], 2, "cry"),
        (["nothing.jpg", "--method", "uniform"], 3, "no such file or folder"),
        (["x.jpg", "--repeatability"], 2, "--repeatability has no meaning without --data"),
        (["x.jpg", "--detector", "m"], 2, "--detector has no meaning without --data"),
        (["x.jpg", "--device", "cpu"], 2, "--device has no meaning without a network"),
        (["x.jpg", "--split", "val"], 2, "--split has no meaning without --data"),
    ],
)
def test_words_that_make_no_sense(fails, shapes, trained, tmp_path, monkeypatch, words, code, says):
    monkeypatch.chdir(tmp_path)
    meant = {"SET": str(shapes), "MODEL": str(trained)}
    assert says in fails(code, "proposals", *[meant.get(word, word) for word in words])
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_a_folder_that_is_in_the_way_is_left_alone(fails, shapes, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    fails(2, "proposals", "--data", shapes, *FAST, "--out", tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_every_method_is_listed_with_its_source(run, fails, shapes):
    code, printed, _ = run("proposals", "--list")
    assert code == 0
    for method in [*PROPOSERS.values(), RPNProposer]:
        assert method.summary and method.source
        assert any(line.split()[:1] == [method.name] and method.source in line for line in printed.splitlines())
    listed = json.loads(run("proposals", "--list", "--json")[1])
    assert listed["superpixels"]["source"] == "Felzenszwalb, Huttenlocher 2004" and "rpn" in listed
    for words in (["--data", shapes], ["--out", shapes], ["--model", "coco"], ["--count", 7], ["--repeatability"]):
        assert "--list only lists" in fails(2, "proposals", "--list", *words)


def test_one_proposal_is_one(run, shapes, tmp_path):
    photo = next((shapes / "test").glob("*.jpg"))
    _, printed, _ = run("proposals", photo, "--method", "uniform", "--count", 1, "--out", tmp_path / "one")
    assert "uniform: 1 proposal on 1 image\n" in printed
