"""``data show`` and ``data stats``: what they write, say and refuse."""

import json
import shutil
from pathlib import Path

import pytest
from conftest_cli import snapshot
from PIL import Image

from sightline.cli.data_show import show_command
from sightline.cli.data_stats import stats_command
from sightline.errors import ConfigError, DataError

SMALL = ["backbone=resnet18", "channels=16", "head_width=16", "short_side=64"]


def test_show_writes_a_sheet_and_a_page_and_leaves_the_set_alone(shapes, tmp_path, capsys):
    before = snapshot(shapes)
    show_command(shapes, out=tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"contact_sheet.jpg", "gallery.html"}
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert page.count("<figure") == 8
    assert 'data-layer="masks"' in page and 'data-layer="keypoints"' in page
    with Image.open(tmp_path / "out" / "contact_sheet.jpg") as sheet:
        assert sheet.width > 1500
    assert "8 of 8 images" in capsys.readouterr().out
    assert snapshot(shapes) == before
    with pytest.raises(ConfigError, match="something at this place"):
        show_command(shapes, out=tmp_path / "out")


def test_show_is_filtered_and_says_it_in_json(shapes, tmp_path, capsys):
    show_command(shapes, split=["train"], count=2, masks=False, out=tmp_path / "out", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said["shown"], said["matching"], said["left_out"]) == (2, 4, [])
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert said["bytes"] == len(page.encode())
    assert page.count("<figure") == 2 and 'data-layer="masks"' not in page


def test_show_leaves_out_what_cannot_be_read_and_says_so(shapes, tmp_path, capsys):
    copy = shutil.copytree(shapes, tmp_path / "copy")
    images = sorted(p for p in copy.rglob("*") if p.suffix in (".png", ".jpg") and "test" in str(p))
    images[0].write_bytes(b"no image")
    show_command(copy, split=["test"], out=tmp_path / "out")
    captured = capsys.readouterr()
    assert "1 of 2 images" in captured.out
    assert str(images[0]) in captured.err and "cannot be read: 1" in captured.err
    images[1].write_bytes(b"no image")
    with pytest.raises(DataError, match="none of the images"):
        show_command(copy, split=["test"], out=tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"split": ["trian"]}, DataError, "train"),
        ({"classes": ["discc"]}, ConfigError, "disc"),
        ({"finding": ["box-outsid"]}, ConfigError, "box-outside"),
    ],
)
def test_show_answers_slips(shapes, tmp_path, options, error, words):
    with pytest.raises(error, match=words):
        show_command(shapes, out=tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_stats_count_what_was_made(shapes, capsys):
    stats_command(shapes, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert {one["split"]: one["images"] for one in document["splits"]} == {"train": 4, "val": 2, "test": 2}
    for one in document["splits"]:
        assert one["objects"] == sum(count["objects"] for count in one["classes"]) == sum(one["sizes"].values())
    stats_command(shapes, split=["train"])
    said = capsys.readouterr().out
    assert "small, under 32² pixels" in said and "class: objects (images)" in said and "val" not in said


def test_stats_with_a_model_write_a_page(shapes, tmp_path, capsys):
    page = tmp_path / "stats.html"
    stats_command(shapes, split=["train"], model="faster_rcnn", assignments=SMALL, out=page, as_json=True)
    (found,) = json.loads(capsys.readouterr().out)["anchors"].values()
    share = found["all"]
    assert share["objects"] == share["matched"] + share["between"] + share["missed"] > 0
    assert found["images"] == found["images_in_split"] == 4
    assert [one["iou"] for one in found["worst"]] == sorted(one["iou"] for one in found["worst"])
    assert Path(found["worst"][0]["image"]).is_file()
    assert "covered worst" in page.read_text()
    stats_command(shapes, split=["train"], model="faster_rcnn", assignments=SMALL, coverage_images=2)
    assert "2 of 4 images" in capsys.readouterr().out


def test_a_trained_model_and_its_size(shapes, trained, capsys):
    stats_command(shapes, split=["val"], model=str(trained), imgsz=32, as_json=True)
    small = json.loads(capsys.readouterr().out)["anchors"]["val"]["all"]
    stats_command(shapes, split=["val"], model=str(trained), imgsz=256, as_json=True)
    assert json.loads(capsys.readouterr().out)["anchors"]["val"]["all"] != small
    with pytest.raises(ConfigError, match="settings are fixed"):
        stats_command(shapes, model=str(trained), assignments=["channels=4"])


def test_stats_answer_slips(shapes, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="without a model"):
        stats_command(shapes, imgsz=64)
    with pytest.raises(ConfigError, match="HTML"):
        stats_command(shapes, out=tmp_path / "page.txt")
    (tmp_path / "there.html").write_text("mine")
    with pytest.raises(ConfigError, match="something at this place"):
        stats_command(shapes, out=tmp_path / "there.html")
    with pytest.raises(ConfigError, match="folder does not exist"):
        stats_command(shapes, out=tmp_path / "none" / "page.html")
    monkeypatch.setattr("sightline.detectors.faster_rcnn.FasterRCNN.anchors", lambda self, size: None)
    with pytest.raises(ConfigError, match="has no anchors"):
        stats_command(shapes, model="faster_rcnn", assignments=SMALL)


def test_show_leads_to_what_the_check_finds(shapes, tmp_path, capsys):
    copy = shutil.copytree(shapes, tmp_path / "copy")
    (file,) = [path for path in copy.rglob("*.json") if "train" in path.name]
    content = json.loads(file.read_text())
    content["annotations"][0]["bbox"] = [900, 10, 20, 20]
    file.write_text(json.dumps(content))
    show_command(copy, finding=["box-outside"], out=tmp_path / "out", as_json=True)
    said = json.loads(capsys.readouterr().out)
    assert (said["shown"], said["matching"], said["findings_without_picture"]) == (1, 1, 0)
    page = (tmp_path / "out" / "gallery.html").read_text()
    assert page.count("<figure") == 1
    assert 'data-findings="box-outside"' in page and "x1, y1, x2, y2 = 900, 10, 920, 30" in page
    with pytest.raises(DataError, match="no image to show"):
        show_command(copy, finding=["polygon-short"], out=tmp_path / "other")
