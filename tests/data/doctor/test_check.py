"""The check: a sound set has no findings, and every planted defect is found as what it is, where it is, and once."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import planted
import pytest
from PIL import Image
from planted import OF_ALL, PLANTS
from sound_sets import FORMS, HEIGHT, WIDTH, Bench, Place, photograph, sound

from sightline.data.doctor.check import Checkup, check
from sightline.data.doctor.repair import repair
from sightline.data.finding_kinds import KINDS
from sightline.errors import DataError

CASES = [(form, code) for table in (PLANTS, OF_ALL) for form, plants in table.items() for code in plants]


def plant(form: str, code: str, folder: Path) -> tuple[Bench, list[Place]]:
    """A set with one defect, and where it must be found."""
    bench = sound(form.split(maxsplit=1)[0], folder)
    return bench, (PLANTS[form] | OF_ALL.get(form, {}))[code](bench, 1)


def places(checkup: Checkup, folder: Path) -> Counter[Place]:
    def below(file: str) -> str:
        return str(Path(file).relative_to(folder)) if file else ""

    return Counter((f.code, below(f.file), f.where, below(f.image), f.split) for f in checkup.findings)


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_set_has_no_findings(tmp_path: Path, form: str) -> None:
    bench = sound(form, tmp_path)
    if form == "yolo":
        planted._as_list(bench)
    checkup = check(tmp_path)
    assert checkup.findings == ()
    assert (checkup.form, checkup.looked) == (form, True)
    assert [(name, len(t.images), len(t.objects)) for name, t in checkup.splits.items()] == [
        ("train", 3, 9),
        ("val", 3, 9),
    ]


@pytest.mark.parametrize(("form", "code"), CASES)
def test_a_defect_is_found_where_it_is_and_nothing_else(tmp_path: Path, form: str, code: str) -> None:
    _, expected = plant(form, code, tmp_path)
    found = places(check(tmp_path), tmp_path)
    if code == "file-unreadable" and form == "coco":  # it ends where it was cut
        assert [(one[0], one[1], one[4]) for one in found] == [(one[0], one[1], one[4]) for one in expected]
    else:
        assert found == Counter(expected)


def test_every_kind_is_planted() -> None:
    assert {code for _, code in CASES} | {"file-not-image", "class-names-alike"} == set(KINDS)


def test_a_finding_says_all_there_is_to_say(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path)
    PLANTS["coco"]["box-outside"](bench, 1)
    checkup = check(tmp_path, pixels=False)
    kind = KINDS["box-outside"]
    assert checkup.to_dict() == {
        "set": str(tmp_path),
        "format": "coco",
        "splits": {"train": {"images": 3, "objects": 9}, "val": {"images": 3, "objects": 9}},
        "pixels_checked": False,
        "severities": {"error": 1, "warning": 0, "note": 0},
        "counts": {"box-outside": 1},
        "findings": [
            {
                "code": "box-outside",
                "severity": "error",
                "what": "x 140 to 160, y 10 to 38 in an image 128 wide and 96 high",
                "file": str(tmp_path / "annotations/instances_train.json"),
                "where": "annotations[4]",
                "image": str(tmp_path / "train/train_1.jpg"),
                "split": "train",
                "cause": kind.cause,
                "cure": kind.cure,
            }
        ],
    }
    json.dumps(checkup.to_dict())


def test_the_worst_comes_first_and_splits_in_their_order(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path)
    for code in ("image-empty", "box-clipped", "box-outside"):
        PLANTS["coco"][code](bench, {"image-empty": 0, "box-clipped": 1, "box-outside": 2}[code])
    val = Bench("coco", tmp_path, {"train": bench.shots["val"], "val": bench.shots["train"]})
    assert val.source(0, "val") == "annotations/instances_val.json"
    bench.document(lambda d: d["annotations"][0].update(bbox=[500, 0, 5, 5], segmentation=[]), "val")
    found = check(tmp_path, pixels=False).findings
    assert [(f.kind.severity, f.split) for f in found] == [
        ("error", "train"),
        ("error", "val"),
        ("warning", "train"),
        ("note", "train"),
    ]


def test_pixels_are_looked_at_only_when_asked_for(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path)
    for number, code in ((0, "images-identical"), (2, "image-damaged")):
        PLANTS["coco"][code](bench, number)
    assert check(tmp_path, pixels=False).findings == ()
    seen: list[tuple[int, int]] = []
    assert set(check(tmp_path, progress=lambda done, total: seen.append((done, total))).counts) == {
        "image-damaged",
        "images-identical",
    }
    assert seen == [(number, 6) for number in range(1, 7)]


def test_one_split_is_judged_alone(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path)
    for code in ("class-unused", "image-unlisted", "box-outside"):
        PLANTS["coco"][code](bench, 1)
    assert check(tmp_path, splits=("val",)).findings == ()
    assert check(tmp_path, splits=("train",)).counts == {"box-outside": 1}
    assert check(tmp_path / "annotations/instances_train.json").counts == {"box-outside": 1}
    with pytest.raises(DataError, match="no split 'vla'"):
        check(tmp_path, splits=("vla",))


def test_a_split_that_cannot_be_read_leaves_the_others(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path)
    (tmp_path / bench.source()).write_text('{"images": [')
    checkup = check(tmp_path)
    assert list(checkup.splits) == ["val"]
    assert [(f.code, f.split) for f in checkup.findings if f.code != "image-unlisted"] == [("file-unreadable", "train")]


def test_what_train_and_trainval_share_is_told_once(tmp_path: Path) -> None:
    bench = sound("voc", tmp_path)
    for number, code in enumerate(("box-outside", "image-empty", "value-malformed")):
        PLANTS["voc"][code](bench, number)
    stems = [shot.stem for shots in bench.shots.values() for shot in shots]
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("\n".join(stems))
    checkup = check(tmp_path)
    assert checkup.counts == {"box-outside": 1, "value-malformed": 1, "image-empty": 1}
    assert {f.split for f in checkup.findings} == {"train"}


def test_an_image_of_two_splits_is_told_where_neither_is_a_part_of_the_other(tmp_path: Path) -> None:
    bench = sound("voc", tmp_path)
    bench.lines(lambda lines: lines.append("train_0"), "ImageSets/Main/val.txt")
    found = check(tmp_path).findings
    assert [(f.code, f.what, Path(f.file).name, f.split) for f in found] == [
        ("images-identical-across", "listed by train and val", "train_0.jpg", "val")
    ]


def test_files_that_are_no_images_in_folders_of_classes(tmp_path: Path) -> None:
    for label, name in enumerate(("cat", "dog")):
        for i in range(2):
            path = tmp_path / name / f"{i}.jpg"
            path.parent.mkdir(exist_ok=True)
            photograph(10 * label + i).save(path)
    assert check(tmp_path).findings == ()
    (tmp_path / "cat" / "film.mp4").write_bytes(b"film")
    found = check(tmp_path).findings
    assert [(f.code, f.file) for f in found] == [("file-not-image", str(tmp_path / "cat" / "film.mp4"))]
    result = repair(check(tmp_path), tmp_path.with_name("copy"))
    assert [change.code for change in result.changes] == ["file-not-image"]


def test_the_real_sets_have_only_what_is_known_of_them(data_root: Path) -> None:
    assert check(data_root / "datasets/bccd").counts == {"images-similar-across": 1, "box-tiny": 2}
    assert check(data_root / "datasets/coco_tiny").findings == ()
    assert check(data_root / "datasets/coco_keypoints", pixels=False).counts == {"image-empty": 44}


def test_a_comma_in_a_folder_is_no_end_of_a_path(tmp_path: Path) -> None:
    folder = tmp_path / "parts, new"
    folder.mkdir()
    bench = sound("voc", folder)
    expected = [*PLANTS["voc"]["key-missing"](bench, 0), *PLANTS["voc"]["file-unreadable"](bench, 1)]
    assert places(check(folder), folder) == Counter(expected)


def test_keys_that_come_twice_outside_of_annotations(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path)
    path = tmp_path / bench.source()
    text = path.read_text()
    path.write_text(text.replace('"year": 2024', '"year": 1, "year": 2024').replace('{"info"', '{"images": [], "info"'))
    checkup = check(tmp_path, pixels=False)
    assert [(f.code, f.where) for f in checkup.findings] == [
        ("json-duplicate-key", "images"),
        ("json-duplicate-key", "info"),
    ]
    assert len(checkup.splits["train"].images) == 3
    path.write_text(text.replace('"images": ', '"annotations": [{}], "images": '))
    checkup = check(tmp_path, pixels=False)
    assert len(checkup.splits["train"].objects) == 9 and "json-duplicate-key" in checkup.counts
    first = text.replace(
        '"annotations": ',
        '"annotations": [{"id": 99, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}], "annotations": ',
    )
    path.write_text(first)
    assert len(check(tmp_path, pixels=False).splits["train"].objects) == 9


def test_pictures_of_masks_are_looked_at(tmp_path: Path) -> None:
    bench = sound("voc", tmp_path / "set")
    folder = tmp_path / "set/SegmentationObject"
    folder.mkdir()
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[8:40, 6:46], labels[10:38, 70:118] = 1, 2  # the third object has no pixel
    Image.fromarray(labels).save(folder / "train_0.png")
    (folder / "train_1.png").write_bytes(b"junk")
    Image.fromarray(labels[:50]).save(folder / "train_2.png")
    checkup = check(tmp_path / "set")
    assert checkup.counts == {"mask-size-differs": 3, "mask-malformed": 3, "mask-empty": 1}
    assert [f.where for f in checkup.findings if f.code == "mask-empty"] == ["object[2]"]
    assert bench.form == "voc"
    repair(checkup, tmp_path / "copy")
    assert set(check(tmp_path / "copy").counts) <= {"mask-empty"}
