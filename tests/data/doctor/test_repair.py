"""The repaired copy: nothing of what was repaired is found in it, nothing else is different, the set is untouched."""

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted import OF_ALL, PLANTS
from sound_sets import FORMS, sound

from sightline.data.doctor.check import Checkup, check
from sightline.data.doctor.mending import Case, mend_entry
from sightline.data.doctor.repair import Repair, repair
from sightline.data.finding_kinds import KINDS
from sightline.errors import ConfigError, DataError

CASES = [
    (form, code)
    for table in (PLANTS, OF_ALL)
    for form, plants in table.items()
    for code in plants
    if KINDS[code].repair and not (code == "file-unreadable" and form in ("coco", "csv"))
]


def snapshot(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def treat(folder: Path) -> tuple[Checkup, Repair, Checkup]:
    """A check, a repair, and a check of the copy."""
    before = snapshot(folder / "set")
    first = check(folder / "set")
    result = repair(first, folder / "copy")
    assert snapshot(folder / "set") == before
    return first, result, check(folder / "copy")


def entries(checkup: Checkup) -> dict[tuple[str, int], tuple[Any, ...]]:
    """Every object as it is, by split and id, with the name of its image."""
    found = {}
    for split, tables in checkup.splits.items():
        for row in range(len(tables.objects)):
            entry = tables.object_entry(row)
            name = Path(tables.images.files[int(tables.objects.images[row])]).name
            found[split, entry["id"]] = (name, tables.categories[int(tables.objects.labels[row])]["name"], entry)
    return found


@pytest.mark.parametrize(("form", "code"), CASES)
def test_a_repaired_copy_has_nothing_of_what_was_repaired(tmp_path: Path, form: str, code: str) -> None:
    bench = sound(form.split(maxsplit=1)[0], tmp_path / "set")
    (PLANTS[form] | OF_ALL.get(form, {}))[code](bench, 1)
    first, result, second = treat(tmp_path)
    assert code in first.counts
    stays = {one for one in first.counts if not KINDS[one].repair}
    if code == "image-listed-twice" and form == "coco":
        assert (set(second.counts), result.changes) == ({code}, ())
        return
    assert set(second.counts) == stays
    assert code in {change.code for change in result.changes}
    assert all(change.what == KINDS[change.code].repair and change.place for change in result.changes)
    assert not result.losses
    again = repair(second, tmp_path / "again")
    assert again.changes == ()
    one, other = snapshot(tmp_path / "again"), snapshot(tmp_path / "copy")
    # YOLO's numbers are divided anew, and the tenth decimal may be another.
    assert one.keys() == other.keys() if form == "yolo" else one == other


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_set_is_copied_as_it_is(tmp_path: Path, form: str) -> None:
    bench = sound(form, tmp_path / "set")
    first, result, second = treat(tmp_path)
    assert (result.changes, dict(result.losses), second.counts) == ((), {}, {})
    assert entries(second) == entries(first)
    if form == "coco":
        for split in ("train", "val"):
            one, other = (json.loads((tmp_path / k / bench.source(0, split)).read_text()) for k in ("set", "copy"))
            for document in (one, other):
                for key in ("images", "annotations"):
                    document[key] = sorted(document[key], key=lambda entry: entry["id"])
            assert one == other
    assert {snapshot(tmp_path / "set")[bench.image(0)]} <= set(snapshot(tmp_path / "copy").values())


def changed(folder: Path, form: str, code: str) -> tuple[dict[Any, Any], dict[Any, Any], Repair]:
    """Objects of a sound set, and of a copy of a set with a defect that was repaired."""
    truth = sound(form, folder / "truth")
    (PLANTS[form] | OF_ALL[form])[code](sound(form, folder / "set"), 1)
    assert truth.form == form
    _, result, second = treat(folder)
    return entries(check(folder / "truth")), entries(second), result


@pytest.mark.parametrize(
    ("form", "code"),
    [
        (form, code)
        for form in FORMS
        for code in OF_ALL[form]
        if code not in ("file-unreadable", "boxes-count-from-zero")
    ],
)
def test_sets_in_another_convention_come_back_as_they_were_meant(tmp_path: Path, form: str, code: str) -> None:
    truth, found, _ = changed(tmp_path, form, code)
    assert truth.keys() == found.keys()
    for key, (name, label, entry) in truth.items():
        assert found[key][:2] == (name, label)
        assert found[key][2]["bbox"] == pytest.approx(entry["bbox"], abs=1e-4)
        rest = {k: v for k, v in entry.items() if k not in ("bbox", "area")}
        assert {k: v for k, v in found[key][2].items() if k not in ("bbox", "area")} == rest
        assert found[key][2].get("area") == pytest.approx(entry.get("area"))


@pytest.mark.parametrize(
    ("code", "box"),
    [("box-clipped", [90, 10, 38, 28]), ("box-on-border", [90, 10, 38, 28]), ("box-reversed", [80, 10, 38, 28])],
)
def test_one_box_is_mended_and_all_else_is_as_it_was(tmp_path: Path, code: str, box: list[float]) -> None:
    truth, found, result = changed(tmp_path, "coco", code)
    assert [change.place for change in result.changes] == [
        f"{tmp_path}/set/annotations/instances_train.json, annotations[4]"
    ]
    assert found[("train", 5)][2]["bbox"] == box
    assert found[("train", 5)][2]["area"] == box[2] * box[3]
    assert {k: v for k, v in found.items() if k != ("train", 5)} == {
        k: v for k, v in truth.items() if k != ("train", 5)
    }


@pytest.mark.parametrize(
    ("form", "code", "lost"),
    [
        ("coco", "box-outside", 1),
        ("coco", "class-unknown", 1),
        ("coco", "image-missing", 3),
        ("voc", "image-damaged", 3),
        ("coco", "value-malformed", 1),
        ("coco", "annotation-duplicate", 1),
        ("csv", "number-not-finite", 1),
        ("coco", "box-clipped", 0),
        ("coco", "json-duplicate-key", 0),
    ],
)
def test_repairs_that_lose_objects_say_how_many(tmp_path: Path, form: str, code: str, lost: int) -> None:
    truth, found, result = changed(tmp_path, form, code)
    planted_more = int(code == "annotation-duplicate")
    assert result.lost == lost == sum(int(str(change.to_dict()["objects_lost"])) for change in result.changes)
    assert len(truth) + planted_more - len(found) == lost


def test_classes_of_one_name_are_joined_and_ids_of_two_names_are_refused(tmp_path: Path) -> None:
    truth, found, _ = changed(tmp_path, "coco", "class-duplicate")
    assert found == truth
    bench = sound("coco", tmp_path / "other")
    bench.document(lambda d: d["categories"].append(d["categories"][0] | {"name": "screw"}))
    with pytest.raises(DataError, match="the id 1 was used by"):
        repair(check(tmp_path / "other"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("least", "words"), [(1, "may be off by one too"), (0, "are not")])
def test_ids_that_another_split_may_share_or_contradicts_are_refused(tmp_path: Path, least: int, words: str) -> None:
    bench = sound("coco", tmp_path / "set")
    bench.document(lambda d: [entry.update(category_id=entry["category_id"] - 1) for entry in d["annotations"]])
    bench.document(lambda d: d.update(annotations=[a for a in d["annotations"] if a["category_id"] > least]), "val")
    with pytest.raises(DataError, match=f"those of split 'val' {words}"):
        repair(check(tmp_path / "set"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_split_of_which_no_object_would_be_left_is_refused(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path / "set")
    bench.document(lambda d: [entry.update(bbox=[500, 5, 9, 9], segmentation=[]) for entry in d["annotations"]])
    with pytest.raises(DataError, match="no object of split 'train' would be left"):
        repair(check(tmp_path / "set"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_boxes_of_another_picture_are_neither_judged_nor_changed(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path / "set")
    bench.document(lambda d: d["images"][1].update(height=192, width=256))
    bench.document(lambda d: d["annotations"][4].update(bbox=[140, 10, 150, 28], segmentation=[]))
    first, result, second = treat(tmp_path)
    assert (first.counts, second.counts) == ({"image-size-differs": 1}, {"image-size-differs": 1})
    assert result.changes == () and entries(second)["train", 5][2]["bbox"] == [140, 10, 150, 28]


@pytest.mark.parametrize("seed", range(30))
def test_combined_defects_leave_nothing_to_repair(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    bench = sound("coco", tmp_path / "set", count=2)
    boxes = [[5, 5, 20, 10], [25, 15, -20, -10], [100, 5, 28, 10], [100, 5, 60, 10], [100, 5, 29, 10], [9, 9, 0, 5]]
    runs = {"size": [97, 128], "counts": [6000, 6416]}

    def change(document: dict[str, Any]) -> None:
        document["images"][0]["width"] += int(rng.integers(-1, 2))
        for number in range(8):
            entry: dict[str, Any] = {"id": 50 + number, "image_id": 1, "category_id": 1, "area": 200}
            entry["bbox"], entry["iscrowd"] = boxes[rng.integers(6)], int(rng.integers(5) == 0)
            if rng.integers(3) == 0:
                entry["segmentation"] = runs
            document["annotations"].append(entry)

    bench.document(change)
    first = check(tmp_path / "set", pixels=False)
    result = repair(first, tmp_path / "copy")
    second = check(tmp_path / "copy", pixels=False)
    assert not [finding for finding in second.findings if finding.kind.repair]
    numbers = [sum(len(tables.objects) for tables in checkup.splits.values()) for checkup in (first, second)]
    assert numbers[0] - numbers[1] == result.lost


def test_a_split_that_cannot_be_read_is_not_repaired(tmp_path: Path) -> None:
    OF_ALL["coco"]["file-unreadable"](sound("coco", tmp_path / "set"), 0)
    with pytest.raises(DataError, match="split 'train' cannot be repaired"):
        repair(check(tmp_path / "set"), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_there_is_not_written_to(tmp_path: Path) -> None:
    sound("coco", tmp_path / "set")
    (tmp_path / "out").mkdir()
    with pytest.raises(ConfigError, match="already"):
        repair(check(tmp_path / "set"), tmp_path / "out")
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize(("images", "links"), [("copy", 1), ("link", 2)])
def test_images_are_copied_or_linked(tmp_path: Path, images: Any, links: int) -> None:
    bench = sound("voc", tmp_path / "set")
    repair(check(tmp_path / "set"), tmp_path / "copy", images=images)
    assert os.stat(tmp_path / "copy" / bench.image(0)).st_nlink == links  # noqa: PTH116


def test_masks_of_an_image_whose_size_is_corrected_keep_their_pixels(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path / "set")
    PLANTS["coco"]["image-size-off"](bench, 1)
    height, width = 97, 128
    column = [0] * height
    column[10:38] = [1] * 28
    runs, value = [0], 0
    for pixel in [0] * (70 * height) + column * 48 + [0] * (10 * height):
        runs, value = ([*runs, 0], pixel) if pixel != value else (runs, value)
        runs[-1] += 1
    bench.document(
        lambda d: d["annotations"][4].update(
            segmentation={"size": [height, width], "counts": runs}, bbox=[70, 10, 48, 28]
        )
    )
    _, _, second = treat(tmp_path)
    assert second.counts == {}
    entry = entries(second)["train", 5][2]
    assert entry["segmentation"]["size"] == [96, 128]


def test_columns_that_a_table_cannot_keep_are_told(tmp_path: Path) -> None:
    bench = sound("csv", tmp_path / "set")
    bench.lines(
        lambda lines: lines.__setitem__(
            slice(None), [f"{line},{'who' if i == 0 else 'me'}" for i, line in enumerate(lines)]
        ),
        "val.csv",
    )
    _, result, _ = treat(tmp_path)
    assert dict(result.losses) == {"other keys of annotations": 9}


def test_numbers_that_json_cannot_hold_do_not_end_a_repair(tmp_path: Path) -> None:
    bench = sound("coco", tmp_path / "set")
    bench.document(lambda d: (d["annotations"][0].update(score=float("nan")), d["info"].update(year=float("inf"))))
    _, _, second = treat(tmp_path)
    assert "score" not in entries(second)["train", 1][2] and second.splits["train"].header == {}


@pytest.mark.parametrize("form", PLANTS)
def test_all_defects_at_once(tmp_path: Path, form: str) -> None:
    """Each in its own photograph; the copy has only those that a person has to decide."""
    kind = form.split(maxsplit=1)[0]
    plants = PLANTS[form]
    bench = sound(kind, tmp_path / "set", count=2 * len(plants) + 4)
    expected = Counter[str]()
    edits_of_boxes = [
        c for c in plants if c.startswith("box-") or c in ("annotation-duplicate", "image-empty", "class-unused")
    ]
    first_edits = [c for c in edits_of_boxes if c in plants]
    order = [*first_edits, *(c for c in plants if c not in first_edits and c != "class-absent")]
    if "class-duplicate" in order and kind == "yolo":
        order.remove("class-duplicate")
    for number, code in enumerate(order):
        expected.update(place[0] for place in plants[code](bench, 2 * number + 1))
    first, result, second = treat(tmp_path)
    assert first.counts == expected
    left = Counter({code: number for code, number in expected.items() if not KINDS[code].repair})
    stays = {"image-listed-twice"} if kind == "coco" else set()
    assert {code: n for code, n in second.counts.items() if code not in stays} == left
    assert {change.code for change in result.changes} == {c for c in expected if KINDS[c].repair} - stays
    assert repair(second, tmp_path / "again").changes == ()


@pytest.mark.parametrize("code", ["boxes-wrong-side", "boxes-are-pixels"])
def test_polygons_and_keypoints_of_yolo_are_put_right_with_their_boxes(tmp_path: Path, code: str) -> None:
    factor = {"boxes-wrong-side": (128 / 96, 96 / 128), "boxes-are-pixels": (128, 96)}[code]
    points = [(0.7, 0.2), (0.95, 0.3), (0.8, 0.9)]
    for name, (sx, sy) in (("truth", (1, 1)), ("set", factor)):
        bench = sound("yolo", tmp_path / name)
        for split in ("train", "val"):
            for i in range(3):
                line = " ".join(f"{x * sx!r} {y * sy!r}" for x, y in points)
                (tmp_path / name / bench.source(i, split)).write_text(f"0 {line}\n1 {line}\n2 {line}\n")
    truth, (first, _, second) = check(tmp_path / "truth"), treat(tmp_path)
    assert (set(first.counts), dict(second.counts)) == ({code}, {})
    for key, (_, _, entry) in entries(truth).items():
        assert entries(second)[key][2]["segmentation"][0] == pytest.approx(entry["segmentation"][0], abs=1e-3)
    case = Case(
        codes=frozenset({"keypoint-outside"}),
        convention=code,
        form="yolo",
        annotated=(96, 128),
        size=(96, 128),
        written=np.asarray([1.0, 1, 2, 2]),
        box=np.asarray([1.0, 1, 5, 5]),
        keypoints=2,
    )
    sx, sy = factor
    entry = {"bbox": [1, 1, 1, 1], "keypoints": [64 * sx, 48 * sy, 2, 300 * sx, 48 * sy, 1], "num_keypoints": 2}
    assert mend_entry(entry, case) == {"keypoints": pytest.approx([64, 48, 2, 0, 0, 0]), "num_keypoints": 1}
