import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from conftest_cli import QUICK, TINY, snapshot

import sightline
from sightline.cli import opening
from sightline.cli.predict import Names
from sightline.evaluation.model_temperature import describe_calibration
from sightline.judging import CHOSEN_HERE
from sightline.model_file import read_header
from sightline.workflow import resized

COCO_KEYS = {"image_id", "category_id", "bbox", "score"}


def test_a_run_folder_is_complete(trained):
    names = {path.name for path in trained.iterdir()}
    assert {"config.json", "history.csv", "metrics.json", "predictions.json", "best.safetensors", "last"} <= names
    assert {"report.html", "log.txt"} <= names
    metrics = json.loads((trained / "metrics.json").read_text())
    assert (metrics["split"], metrics["images"]) == ("test", 2)
    assert metrics["cost"]["parameters"] > 10_000
    config = json.loads((trained / "config.json").read_text())
    assert config["data"]["splits"] == {"train": "train", "val": "val", "test": "test"}
    assert config["training"]["config"]["short_side"] == 64
    assert metrics["note"] is None
    report = (trained / "report.html").read_text()
    assert all(caption in report for caption in ("Validation AP over epochs", "Learning rate", "AP and AP50 of each"))
    assert "starts from random weights\n" in (trained / "log.txt").read_text()
    assert read_header(trained / "best.safetensors").provenance.endswith("; started from random weights")
    assert all(row.keys() == COCO_KEYS for row in json.loads((trained / "predictions.json").read_text()))


def test_train_tells_machines_what_it_did(run, shapes, tmp_path):
    out = tmp_path / "run"
    code, stdout, _ = run("train", "--data", shapes, "--out", out, *TINY, *QUICK, "--test-split", "val", "--json")
    document = json.loads(stdout)
    assert (code, document["split"], document["run"]["steps"]) == (0, "val", 2)
    report = Path(document["files"]["report"]).read_text()
    assert report.startswith("<!DOCTYPE html>")
    # No test split: the numbers flatter, and machines and people are told.
    assert document["note"] == CHOSEN_HERE and CHOSEN_HERE in report


def test_the_run_folder_has_a_name_of_its_own(run, shapes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("train", "--data", shapes, *TINY, *QUICK)[0] == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["faster_rcnn-shapes-1"]


def test_a_model_file_keeps_its_image_size_and_its_answers(trained, shapes):
    model = sightline.load(trained)
    again = sightline.load(trained / "best.safetensors")
    assert model.preparation.short_side == 64
    image = sightline.open_dataset(shapes, "val")[0].image
    (one,), (other,) = model.predict(image), again.predict([image])
    assert torch.equal(one.boxes, other.boxes)
    assert torch.equal(one.scores, other.scores)


def test_a_run_fits_a_temperature_on_its_validation_split_and_says_so(trained):
    fitted = read_header(trained / "best.safetensors").calibration
    assert (fitted.data, fitted.split) == ("shapes", "val")
    assert json.loads((trained / "metrics.json").read_text())["temperature"] == asdict(fitted)
    assert describe_calibration(fitted) in (trained / "log.txt").read_text()


def test_a_run_keeps_what_its_data_have_too_little_of(trained):
    warnings = json.loads((trained / "metrics.json").read_text())["warnings"]
    assert any("faster_rcnn needs about 3,000 images from random weights" in warning for warning in warnings)
    assert "Warning: too little data" in (trained / "report.html").read_text()


def test_evaluate_agrees_with_the_training_run(run, trained, shapes, tmp_path):
    out = tmp_path / "judged"
    code, stdout, _ = run("evaluate", trained, "--data", shapes, "--split", "test", "--json", "--out", out)
    document, stored = json.loads(stdout), json.loads((trained / "metrics.json").read_text())
    assert code == 0
    assert document["metrics"] == stored["metrics"]
    assert {path.name for path in out.iterdir()} == {"metrics.json", "predictions.json", "report.html"}


def test_evaluate_shows_a_table_and_writes_nothing(run, trained, shapes):
    before = snapshot(trained)
    code, stdout, _ = run("evaluate", trained / "best.safetensors", "--data", shapes)
    assert code == 0
    assert "shapes, split val, 2 images" in stdout and "gear" in stdout
    assert snapshot(trained) == before


def test_predict_takes_files_folders_and_patterns(run, trained, shapes, tmp_path):
    out = tmp_path / "found"
    images = [shapes / "val" / "000001.jpg", shapes / "test", f"{shapes}/train/*3.jpg"]
    code, stdout, _ = run("predict", trained, *images, "--out", out, "--threshold", 0, "--json")
    document = json.loads(stdout)
    assert code == 0
    assert len(document["images"]) == 4
    # Three pictures are called 000001.jpg or 000002.jpg in their own folders, and none is lost.
    pictures = sorted(path.name for path in out.glob("*.jpg"))
    assert pictures == ["000001-2.jpg", "000001.jpg", "000002.jpg", "000003.jpg"]
    rows = json.loads((out / "predictions.json").read_text())
    assert rows and all(row.keys() == COCO_KEYS for row in rows)
    listed = json.loads((out / "images.json").read_text())
    assert {row["image_id"] for row in rows} <= {image["id"] for image in listed["images"]}
    assert len(listed["categories"]) == 12


def test_a_trained_model_is_tuned_to_other_images(run, trained, shapes, tmp_path):
    words = ["train", "--data", shapes, "--weights", trained, "--out", tmp_path / "tuned", *QUICK, "--imgsz", 48]
    code, stdout, err = run(*words, "--test-split", "val")
    assert code == 0, err
    assert CHOSEN_HERE in stdout
    header, base = (read_header(folder / "best.safetensors") for folder in (tmp_path / "tuned", trained))
    assert (header.config["channels"], header.config["short_side"]) == (16, 48)
    assert header.provenance.endswith(f"({base.provenance})")


def test_coco_stands_for_the_official_model(run, trained, shapes, tmp_path, monkeypatch):
    asked = []

    def create(name, *, weights):
        asked.append((name, weights))
        return sightline.load(trained)

    monkeypatch.setattr(opening, "create", create)
    assert run("predict", "coco", shapes / "val", "--out", tmp_path / "found")[0] == 0
    assert run("evaluate", "coco", "--data", shapes, "--out", tmp_path / "judged")[0] == 0
    assert asked == [("faster_rcnn", "coco")] * 2
    assert (tmp_path / "judged" / "report.html").is_file()


def test_another_size_leaves_the_model_as_it_was(trained):
    model = sightline.load(trained)
    before = model.preparation
    assert resized(model, 96).preparation.short_side == 96
    assert model.preparation == before
    assert resized(model, None) is model


def test_real_images_are_trained_on_and_judged(run, data_root, tmp_path):
    data = data_root / "datasets" / "coco_tiny"
    words = ["--data", data, "--out", tmp_path / "run"]
    code, _, err = run("train", *words, *TINY, *QUICK, "--batch", 16)
    assert code == 0, err
    code, stdout, err = run("evaluate", tmp_path / "run", "--data", data, "--split", "val", "--json")
    assert code == 0, err
    document = json.loads(stdout)
    stored = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert (document["images"], document["metrics"]) == (80, stored["metrics"])
    assert stored["note"] == CHOSEN_HERE


def test_predict_keeps_to_the_threshold(run, trained, shapes, tmp_path):
    code, stdout, _ = run("predict", trained, shapes / "val", "--out", tmp_path / "found", "--threshold", 1)
    assert (code, json.loads((tmp_path / "found" / "predictions.json").read_text())) == (0, [])
    assert "2 images: nothing found" in stdout


def test_pictures_of_one_name_get_numbers():
    names = Names()
    assert [names.free(Path(p)) for p in ("a/x.png", "b/x.jpg", "b/X.jpg", "x-2.gif")] == [
        "x.jpg",
        "x-2.jpg",
        "X-3.jpg",
        "x-2-2.jpg",
    ]


def test_models_lists_the_catalogue_and_the_settings(run):
    code, stdout, _ = run("models", "--json")
    assert code == 0 and "faster_rcnn" in [row["name"] for row in json.loads(stdout)]
    code, stdout, _ = run("models", "faster_rcnn", "--json")
    document = json.loads(stdout)
    settings = {row["name"]: row for row in document["settings"]}
    assert settings["head_width"]["default"] == 1024 and all(row["doc"] for row in settings.values())
    # torchvision's fasterrcnn_resnet50_fpn with 81 outputs, whose frozen norms are no parameters there.
    assert 41e6 < document["parameters"] < 42e6
    assert "short_side" in run("models", "faster_rcnn")[1]


def test_demo_goes_the_whole_way(run, tmp_path, monkeypatch):
    from sightline.cli import demo

    settings = {"backbone": "mobilenet_v3_small", "channels": 16, "head_width": 16, "short_side": 64, "long_side": 64}
    scenes = {"images": 4, "val": 2, "test": 0, "size": [64, 64], "scale": [0.2, 0.6]}
    monkeypatch.setattr(demo, "SETTINGS", demo.DemoSettings(settings=settings, scenes=scenes, batch_size=2))
    code, stdout, err = run("demo", "--out", tmp_path / "demo", "--minutes", 0.02, "--workers", 0)
    assert code == 0, err
    assert (tmp_path / "demo" / "run" / "report.html").is_file()
    assert "report.html" in stdout
    assert run("demo", "--out", tmp_path / "demo")[0] == 2


def test_the_version_is_told(run):
    assert run("--version")[:2] == (0, f"sightline {sightline.__version__}\n")


@pytest.mark.parametrize(
    "words", [[], ["train"], ["evaluate"], ["predict"], ["models"], ["demo"], ["data"], ["data", "make"]]
)
def test_help_is_quick_because_it_imports_nothing_heavy(words):
    code = f"import sys; from sightline.cli.main import main; code = main({[*words, '--help']!r}); "
    code += "heavy = {'torch', 'torchvision', 'numpy', 'matplotlib', 'rich'} & set(sys.modules); print(code, heavy)"
    source = Path(sightline.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(source), os.environ["PYTHONPATH"]])}
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert ended.stdout.startswith("Usage: sightline")
    assert ended.stdout.splitlines()[-1] == "0 set()"
