"""Scenes: the COCO folder that is written, read back by pycocotools."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from sightline.data.scenes.scenes import CLASS_NAMES, KEYPOINT_NAMES, ScenesConfig, make_sample, write_scenes
from sightline.errors import ConfigError

SMALL = ScenesConfig(images=18, val=3, test=0, size=(64, 80), scale=(0.12, 0.6))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_scenes(SMALL, tmp_path_factory.mktemp("made") / "deep" / "scenes")


def test_folder_is_a_coco_folder_with_its_settings(folder: Path) -> None:
    names = sorted(contents(folder))
    assert [name for name in names if name.endswith("json")] == [
        "annotations/instances_train.json",
        "annotations/instances_val.json",
        "scenes.json",
    ]
    assert sum(name.startswith("train/") for name in names) == 18
    settings = json.loads((folder / "scenes.json").read_text())
    assert settings["seed"] == 0
    assert tuple(settings["size"]) == SMALL.size
    assert list(folder.parent.iterdir()) == [folder]


@pytest.mark.parametrize("split", ["train", "val"])
def test_truth_read_back_is_the_truth_made(folder: Path, split: str) -> None:
    coco = COCO(str(folder / "annotations" / f"instances_{split}.json"))
    assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == list(CLASS_NAMES)
    assert coco.loadCats([1])[0]["keypoints"] == list(KEYPOINT_NAMES)
    for index in range(SMALL.count(split)):
        target = make_sample(SMALL, split, index).target
        read = coco.loadAnns(coco.getAnnIds([index + 1]))
        assert [entry["category_id"] - 1 for entry in read] == target.labels.tolist()
        corners = [[x, y, x + w, y + h] for x, y, w, h in (entry["bbox"] for entry in read)]
        assert corners == target.boxes.tolist()
        assert target.masks is not None
        assert target.keypoints is not None
        for entry, mask, keypoints in zip(read, target.masks, target.keypoints, strict=True):
            assert np.array_equal(coco.annToMask(entry).astype(bool), mask.numpy())
            assert entry["area"] == int(mask.sum())
            assert entry["num_keypoints"] == int((keypoints[:, 2] > 0).sum())
            written = torch.tensor(entry["keypoints"]).reshape(-1, 3)
            assert torch.allclose(written.float(), keypoints, atol=0.006)


def test_pictures_read_back_are_nearly_the_pictures_made(folder: Path) -> None:
    read = np.asarray(Image.open(folder / "val" / "000002.jpg")).astype(float)
    made = make_sample(SMALL, "val", 1).image.permute(1, 2, 0).numpy()
    assert read.shape == (64, 80, 3)
    assert np.abs(read - made).mean() < 4


def test_annotation_ids_are_unique(folder: Path) -> None:
    annotations = json.loads((folder / "annotations" / "instances_train.json").read_text())["annotations"]
    assert [entry["id"] for entry in annotations] == list(range(1, len(annotations) + 1))


def test_workers_write_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    assert contents(write_scenes(SMALL, tmp_path / "again", workers=2)) == contents(folder)


def test_progress_is_told_up_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    write_scenes(replace(SMALL, val=2), tmp_path / "scenes", progress=lambda done, total: told.append((done, total)))
    assert told == [(16, 20), (18, 20), (20, 20)]


def test_an_existing_folder_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("keep")
    with pytest.raises(ConfigError, match="mine: there is something at this place already"):
        write_scenes(SMALL, tmp_path / "mine")
    assert contents(tmp_path) == {"mine/note.txt": b"keep"}


def test_a_set_that_fails_halfway_leaves_nothing(tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_scenes(SMALL, tmp_path / "scenes", progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_negative_workers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="workers is -1"):
        write_scenes(SMALL, tmp_path / "scenes", workers=-1)


def test_what_workers_import_leaves_torch_out() -> None:
    code = "import sys, sightline.data.scenes.files; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
