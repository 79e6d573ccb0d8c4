"""What people do wrong: one line with cause and cure, the right exit code, no traceback, nothing changed or lost."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from conftest_cli import QUICK, TINY, snapshot
from PIL import Image
from safetensors.torch import save_file

USAGE, DATA, MODEL_FILE = 2, 3, 4


@pytest.fixture
def coco(tmp_path):
    """Makes a COCO folder of plain pictures, each with one object of a class."""

    def make(splits: dict[str, int], name: str = "gear", size: tuple[int, int] = (64, 64)) -> Path:
        root = tmp_path / "coco"
        (root / "annotations").mkdir(parents=True)
        for split, count in splits.items():
            (root / split).mkdir()
            images, annotations = [], []
            for number in range(1, count + 1):
                Image.new("RGB", size, "grey").save(root / split / f"{number}.png")
                images.append({"id": number, "file_name": f"{number}.png", "width": size[0], "height": size[1]})
                box = [0, 0, size[0] / 2, size[1] / 2]
                annotation = {"id": number, "image_id": number, "category_id": 7, "bbox": box, "area": box[2] * box[3]}
                annotations.append({**annotation, "iscrowd": 0})
            categories = [{"id": 7, "name": name}]
            document = {"images": images, "annotations": annotations, "categories": categories}
            (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
        return root

    return make


def train_words(data, out, *more):
    return ["train", "--data", data, "--out", out, *TINY, *QUICK, *more]


def test_no_images(fails, run, trained, coco, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no images found" in fails(DATA, "predict", trained, tmp_path / "empty", "--out", tmp_path / "out")
    assert "no such file or folder" in fails(DATA, "predict", trained, tmp_path / "gone", "--out", tmp_path / "out")
    assert "no annotations" in fails(DATA, *train_words(tmp_path / "empty", tmp_path / "out"))
    assert "no such" in fails(DATA, *train_words(tmp_path / "gone", tmp_path / "out"))
    assert "has no images" in fails(DATA, *train_words(coco({"train": 0, "val": 1}), tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_split_that_is_not_there(fails, coco, tmp_path):
    line = fails(DATA, *train_words(coco({"train": 1}), tmp_path / "out"))
    assert "no split 'val'" in line and "train" in line


def test_one_image(run, coco, tmp_path):
    root = coco({"train": 1, "val": 1})
    before = snapshot(root)
    code, _, err = run(*train_words(root, tmp_path / "out"))
    assert code == 0, err
    assert snapshot(root) == before


def test_images_of_the_oddest_sizes(run, trained, tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for width, height in ((1, 1), (20_000, 20), (20, 20_000)):
        Image.new("RGB", (width, height), "red").save(photos / f"{width}x{height}.png")
    before = snapshot(photos)
    code, stdout, err = run("predict", trained, photos, "--out", tmp_path / "out", "--threshold", 0, "--json")
    assert code == 0, err
    sizes = {(image["width"], image["height"]) for image in json.loads(stdout)["images"]}
    assert sizes == {(1, 1), (20_000, 20), (20, 20_000)}
    for row in json.loads(stdout)["detections"]:
        assert min(row["bbox"]) >= 0
    assert snapshot(photos) == before


@pytest.mark.parametrize("size", [(1, 1), (20_000, 20)])
def test_training_on_images_of_the_oddest_sizes(run, coco, tmp_path, size):
    code, _, err = run(*train_words(coco({"train": 2, "val": 1}, size=size), tmp_path / "out"))
    assert code == 0, err


def test_an_unknown_class(fails, trained, coco):
    line = fails(DATA, "evaluate", trained, "--data", coco({"val": 1}, name="unicorn"))
    assert "unknown class 'unicorn'" in line and "cure" in line


def test_images_that_are_damaged_do_not_stop_the_others(run, trained, shapes, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(shapes / "val", photos)
    whole = (photos / "000001.jpg").read_bytes()
    (photos / "000001.jpg").write_bytes(whole[: len(whole) // 2])
    code, stdout, err = run("predict", trained, photos, "--out", tmp_path / "out", "--threshold", 0)
    assert code == DATA
    assert err.count("sightline: error: ") == 1 and "000001.jpg: damaged image" in err
    assert "1 images" in stdout and (tmp_path / "out" / "000002.jpg").is_file()
    assert "predict: image skipped: damaged image: 1" in err


def test_the_first_damaged_image_ends_predict_where_that_is_asked(fails, trained, shapes, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(shapes / "val", photos)
    (photos / "000001.jpg").write_bytes((photos / "000001.jpg").read_bytes()[:-100])
    words = ["predict", trained, photos, "--out", tmp_path / "out", "--on-bad-image"]
    assert "000001.jpg: damaged image" in fails(DATA, *words, "raise")
    assert not (tmp_path / "out" / "predictions.json").exists()
    assert "valid: raise, skip, salvage" in fails(USAGE, *words, "ignore")


def test_what_is_left_of_images_is_used_where_that_is_asked(run, trained, shapes, tmp_path):
    photos = tmp_path / "photos"
    shutil.copytree(shapes / "val", photos)
    (photos / "000001.jpg").write_bytes((photos / "000001.jpg").read_bytes()[:-100])
    frames = [Image.new("L", (40, 30), level) for level in (0, 255)]
    frames[0].save(photos / "moving.gif", save_all=True, append_images=frames[1:])
    words = ["predict", trained, photos, "--out", tmp_path / "out", "--on-bad-image", "salvage", "--json"]
    code, stdout, err = run(*words)
    assert code == 0, err
    assert "predict: image salvaged: damaged image: 1" in err and "predict: first of several frames: 1" in err
    remarks = [image.get("remarks") for image in json.loads(stdout)["images"]]
    assert remarks[0][0].startswith("salvaged: ") and remarks[1:] == [None, ["first of 2 frames"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--set", "chanels=3"], "did you mean channels?"),
        (["--set", "anchor_scale=many"], 'anchor_scale cannot be "many"'),
        (["--set", "channels"], "name=value"),
        (["--set", "backbone=resnet18"], "--backbone"),
        (["--epochs", "x"], "--epochs"),
        (["--epochs", "-1"], "epochs must be above 0"),
        (["--minutes", "3"], "epochs and minutes"),
        (["--device", "abacus"], "unknown device 'abacus'"),
        (["--precision", "32bit"], "unknown precision '32bit'"),
        (["--model", "faster_rnn"], "did you mean faster_rcnn?"),
        (["--imgsz", "0"], "--imgsz"),
        (["--minuts", "3"], "--minutes"),
        (["--resume"], "no run to resume"),
        (["--extend", "2"], "no run to extend"),
        (["--extend", "2", "--resume"], "--resume and --extend exclude each other"),
        (["--extend", "2", "--weights", "coco"], "--extend and --weights exclude each other"),
        (["--extend", "0"], "extend must be above 0"),
        (["--from-previous"], "give it with --resume"),
        (["--save-every", "-1"], "save_every must be at least 0"),
    ],
)
def test_a_mistyped_setting_or_option(fails, shapes, tmp_path, words, told):
    given = train_words(shapes, tmp_path / "out", *words)
    line = fails(USAGE, *given)
    assert told in line
    assert not (tmp_path / "out").exists()


def test_an_unknown_backbone(fails, shapes, tmp_path):
    line = fails(USAGE, "train", "--data", shapes, "--backbone", "resnet49", "--out", tmp_path / "out")
    assert "resnet50" in line and not (tmp_path / "out").exists()


def test_a_mistake_that_shows_late_leaves_no_run_folder(fails, shapes, tmp_path):
    fails(USAGE, *train_words(shapes, tmp_path / "out", "--strategy", "telepathy"))
    assert not (tmp_path / "out").exists()


def test_a_model_file_that_is_none(fails, trained, shapes, tmp_path):
    model = (trained / "best.safetensors").read_bytes()
    files = {
        "cut.safetensors": model[: len(model) // 2],
        "empty.safetensors": b"",
        "text.safetensors": b"this is not a model at all, whatever its name says",
        "pickle.safetensors": b"PK\x03\x04" + b"\0" * 60,
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    save_file({"weight": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    before = snapshot(tmp_path)
    for name in [*files, "foreign.safetensors", "gone.safetensors"]:
        line = fails(MODEL_FILE, "evaluate", tmp_path / name, "--data", shapes)
        assert name in line
        fails(MODEL_FILE, "predict", tmp_path / name, shapes / "val", "--out", tmp_path / "out")
    assert "best.safetensors" in fails(MODEL_FILE, "evaluate", tmp_path, "--data", shapes)
    assert snapshot(tmp_path) == before


def test_weights_of_other_shapes(fails, trained, shapes, tmp_path):
    other = train_words(shapes, tmp_path / "out", "--weights", trained / "best.safetensors")
    other[other.index("channels=16")] = "channels=24"
    assert "shape" in fails(MODEL_FILE, *other)
    save_file({"features.0.0.weight": torch.zeros(2, 2)}, tmp_path / "backbone.safetensors")
    fails(MODEL_FILE, *train_words(shapes, tmp_path / "out", "--backbone-weights", tmp_path / "backbone.safetensors"))
    fails(MODEL_FILE, *train_words(shapes, tmp_path / "out", "--weights", tmp_path / "backbone.safetensors"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_exists_is_left_alone(fails, trained, shapes):
    before = snapshot(trained)
    assert "--resume" in fails(USAGE, *train_words(shapes, trained))
    fails(USAGE, "predict", trained, shapes / "val", "--out", trained)
    fails(USAGE, "evaluate", trained, "--data", shapes, "--out", trained)
    fails(USAGE, "data", "make", "--out", trained)
    fails(USAGE, "demo", "--out", trained)
    fails(USAGE, "demo", "--out", trained.parent / "demo", "--device", "abacus")
    assert not (trained.parent / "demo").exists()
    assert snapshot(trained) == before


@pytest.mark.parametrize("words", [["modles"], ["train"], ["data", "make", "--imagse", "3"], ["predict"]])
def test_a_command_that_is_none_or_incomplete(fails, words):
    assert "--help" in fails(USAGE, *words)


def test_a_threshold_or_difficulty_out_of_range(fails, trained, shapes, tmp_path):
    assert "threshold" in fails(USAGE, "predict", trained, shapes, "--threshold", 2, "--out", tmp_path / "out")
    assert "difficulty" in fails(USAGE, "data", "make", "--out", tmp_path / "out", "--difficulty", 2)
    assert not (tmp_path / "out").exists()
