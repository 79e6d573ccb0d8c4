"""Systems that find masks and keypoints: what they refuse to learn from, and a run from data to report."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.config import parse_assignments
from sightline.data.dataset import open_dataset
from sightline.data.scenes.config import ScenesConfig
from sightline.data.scenes.scenes import write_scenes
from sightline.errors import DataError
from sightline.judging import judge, require_learnable
from sightline.training.history import read_history
from sightline.training.options import TrainOptions
from sightline.workflow import open_splits, train
from sightline.zoo import create

SMALL = {
    "backbone": "resnet18",
    "channels": 16,
    "head_width": 32,
    "short_side": 64,
    "long_side": 96,
    "proposals": 20,
    "region_samples": 16,
    "detections": 5,
    "score_threshold": 0.0,
}
FEW = {
    "mask_rcnn": {"mask_width": 8, "mask_depth": 1},
    "keypoint_rcnn": {"keypoint_width": 8, "keypoint_depth": 1},
}


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small pictures with masks and five keypoints an object."""
    folder = tmp_path_factory.mktemp("data") / "scenes"
    write_scenes(ScenesConfig(images=4, val=2, test=0, size=(64, 80), scale=(0.3, 0.6)), folder, workers=1)
    return folder


@pytest.fixture(scope="module")
def boxes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture with a box and nothing more."""
    folder = tmp_path_factory.mktemp("data") / "boxes"
    (folder / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        (folder / split).mkdir()
        Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(folder / split / "a.png")
        document = {
            "images": [{"id": 1, "file_name": "a.png", "height": 40, "width": 50}],
            "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20], "area": 400}],
            "categories": [{"id": 1, "name": "thing"}],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))
    return folder


def test_a_set_without_masks_is_refused_before_training(boxes: Path, tmp_path: Path) -> None:
    system = create("mask_rcnn", classes=["thing"], settings=SMALL)
    with pytest.raises(DataError, match=r"mask_rcnn learns from masks, but an object of image a\.png has none.*cure"):
        train(system, boxes, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_keypoints_other_than_the_systems_are_refused_with_a_cure(boxes: Path, scenes: Path) -> None:
    data = open_dataset(scenes, "train")
    system = create("keypoint_rcnn", classes=data.classes, settings=SMALL)
    names = data.keypoint_names
    with pytest.raises(DataError, match=r"find 17 keypoints .*the set has 5 ") as refused:
        require_learnable(data, system)
    # The cure can be typed as it stands.
    (assignment,) = shlex.split(str(refused.value.cure).removeprefix("--set "))
    assert parse_assignments([assignment])["keypoints"] == list(names)
    fitting = create("keypoint_rcnn", classes=data.classes, settings={**SMALL, "keypoints": list(names)})
    assert require_learnable(data, fitting) is data
    with pytest.raises(DataError, match="the set has none"):
        require_learnable(open_dataset(boxes, "train"), create("keypoint_rcnn", classes=["thing"], settings=SMALL))


def test_a_set_without_masks_judges_the_boxes_and_says_so(boxes: Path) -> None:
    system = create("mask_rcnn", classes=["thing"], settings={**SMALL, **FEW["mask_rcnn"]})
    judgement = judge(system, open_dataset(boxes, "val"), device="cpu")
    assert judgement.evaluation.also == ()
    assert "masks are not judged" in judgement.note


@pytest.mark.parametrize(("name", "kind"), [("mask_rcnn", "masks"), ("keypoint_rcnn", "keypoints")])
def test_a_run_is_judged_by_what_the_system_is_for(name: str, kind: str, scenes: Path, tmp_path: Path) -> None:
    data = open_splits(scenes)
    further = {"keypoints": list(data.train.keypoint_names)} if kind == "keypoints" else {}
    system = create(name, classes=data.classes, settings={**SMALL, **FEW[name], **further})
    options = replace(TrainOptions(), epochs=1, workers=0, device="cpu")
    trained = train(system, data, out=tmp_path / "run", options=options)
    (row,) = read_history(trained.folder / "history.csv")
    judged = [column for column in row if column.startswith("val/") and column.endswith("AP")]
    assert judged == [f"val/{kind}_AP", "val/AP"]
    document = json.loads((trained.folder / "metrics.json").read_text(encoding="utf-8"))
    assert list(document["also"]) == [kind]
    rows = json.loads((trained.folder / "predictions.json").read_text(encoding="utf-8"))
    assert len(rows) > 0
    assert all(("segmentation" if kind == "masks" else "keypoints") in row for row in rows)
    assert f"Judged by {kind}" in (trained.folder / "report.html").read_text(encoding="utf-8")
