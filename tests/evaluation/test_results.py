import json
from collections import Counter

import numpy as np
import pytest
from pycocotools import mask as reference_masks
from results_fabricated import annotations, make_set, right_rows, write

from sightline.errors import DataError
from sightline.evaluation import results as results_module
from sightline.evaluation.evaluation import judge_columns
from sightline.evaluation.results import kinds_of, read_results, save_results
from sightline.evaluation.truth import open_truth


@pytest.fixture
def labelled(tmp_path):
    return make_set(tmp_path / "set")


def judged(folder, path, kind="boxes", **options):
    split = open_truth(folder, "val", kind)
    results = read_results(path, split, kind)
    return results, judge_columns(split.truth, results.found, split.classes, split.image_ids, kind=kind, **options)


def test_right_results_are_right_without_pictures(labelled, tmp_path):
    results, evaluation = judged(labelled, write(tmp_path / "r.json", right_rows()))
    assert (evaluation.result.ap, results.without, results.notes) == (pytest.approx(1.0), 0, ())
    assert evaluation.result.protocol == "COCO bbox AP@[IoU=.50:.95], 101 points, 100 detections"
    assert [found.name for found in evaluation.result.per_class] == ["cat", "dog", "cow"]
    assert json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))["per_class"][2]["AP"] is None


def test_rows_come_best_first_and_in_the_order_of_the_file(labelled, tmp_path):
    rows = right_rows()
    for row, score in zip(rows, [0.1, 0.5, 0.5, 0.5, 7, -2, 0, 0], strict=True):
        row["score"] = score
    rows = rows[::-1]
    results, _ = judged(labelled, write(tmp_path / "r.json", rows))
    assert results.found.images.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert results.found.scores.tolist() == [0.5, 0.1, 0.5, 0.5, 7, -2, 0, 0]
    assert results.found.labels.tolist() == [1, 0, 1, 0, 0, 1, 1, 0]


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("window", [1, 7, 100, 300, 1 << 18])
def test_a_file_is_the_same_in_portions_of_any_size(labelled, tmp_path, monkeypatch, window, indent):
    monkeypatch.setattr(results_module, "WINDOW", window)
    rows = right_rows(remark="}, {", parts=[{"a": 1}, {"b": [{}, {}]}])
    path = write(tmp_path / "r.json", json.dumps(rows, indent=indent))
    results, evaluation = judged(labelled, path)
    assert (len(results.found), evaluation.result.ap) == (8, pytest.approx(1.0))


def test_a_byte_order_mark_space_and_whole_floats_are_read(labelled, tmp_path):
    rows = [
        {**row, "image_id": float(row["image_id"]), "category_id": float(row["category_id"])} for row in right_rows()
    ]
    (tmp_path / "r.json").write_bytes(b"\xef\xbb\xbf \n" + json.dumps(rows).encode() + b"\n ")
    assert judged(labelled, tmp_path / "r.json")[1].result.ap == pytest.approx(1.0)


def test_no_rows_and_images_without_rows_are_legal_and_told(labelled, tmp_path):
    results, evaluation = judged(labelled, write(tmp_path / "r.json", []))
    assert (results.without, evaluation.result.ap) == (4, 0.0)
    assert kinds_of(tmp_path / "r.json") == ("boxes",)
    results, _ = judged(labelled, write(tmp_path / "s.json", right_rows(range(1, 3))))
    assert results.without == 2


def test_what_a_file_holds_is_told_by_its_first_row(tmp_path):
    row = {"image_id": 1, "category_id": 1, "score": 1}
    cases = {
        ("boxes",): {"bbox": [0, 0, 1, 1]},
        ("masks",): {"segmentation": {"size": [1, 1], "counts": "01"}},
        ("boxes", "masks"): {"bbox": [0, 0, 1, 1], "segmentation": {"size": [1, 1], "counts": "01"}},
        ("keypoints",): {"keypoints": [1, 2, 1], "bbox": []},
    }
    for kinds, more in cases.items():
        assert kinds_of(write(tmp_path / "r.json", [row | more])) == kinds


def mask_of(box, size=(40, 60)):
    mask = np.zeros(size, np.uint8)
    x, y, w, h = box
    mask[y : y + h, x : x + w] = 1
    runs = reference_masks.encode(np.asfortranarray(mask))
    return {"size": list(size), "counts": runs["counts"].decode()}


def mask_rows():
    rows = right_rows()
    return [{**{k: v for k, v in row.items() if k != "bbox"}, "segmentation": mask_of(row["bbox"])} for row in rows]


def test_masks_are_judged_with_and_without_boxes(labelled, tmp_path):
    results, evaluation = judged(labelled, write(tmp_path / "m.json", mask_rows()), "masks")
    assert evaluation.result.ap == pytest.approx(1.0)
    assert evaluation.result.protocol.startswith("COCO segm AP@")
    assert results.found.boxes[0].tolist() == [5, 5, 15, 15]
    # Boxes in the rows change nothing, not even the area by which sizes are told.
    with_boxes = [{**row, "bbox": [0, 0, 60, 40]} for row in mask_rows()]
    _, other = judged(labelled, write(tmp_path / "b.json", with_boxes), "masks")
    assert other.result.numbers == pytest.approx(evaluation.result.numbers, nan_ok=True)
    assert evaluation.matched.correct.all()


def test_plain_run_lengths_are_read(labelled, tmp_path):
    rows = mask_rows()
    rows[0]["segmentation"] = {"size": [40, 60], "counts": [205, *[10, 30] * 9, 10, 1825]}
    assert judged(labelled, write(tmp_path / "m.json", rows), "masks")[1].result.ap == pytest.approx(1.0)


def point_rows(shift=0.0):
    rows = []
    for row in right_rows():
        x, y, w, h = row.pop("bbox")
        rows.append({**row, "keypoints": [x + shift, y, 0.5, x + w, y + h, 0.5]})
    return rows


def test_keypoints_are_judged_by_the_spread_that_the_protocol_names(labelled, tmp_path):
    path = write(tmp_path / "k.json", point_rows(shift=1.0))
    _, uniform = judged(labelled, path, "keypoints")
    assert uniform.result.protocol == "COCO keypoints AP@[OKS=.50:.95], 101 points, 20 detections, sigmas all 0.05"
    assert list(uniform.result.metrics()) == ["AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "AR75", "ARm", "ARl"]
    _, strict = judged(labelled, path, "keypoints", sigmas=[0.005, 0.01])
    assert strict.result.protocol.endswith("own sigmas")
    assert strict.result.ap < uniform.result.ap
    # By hand: one of two points is off by 1 pixel of an object of area 100: (1 + exp(-1 / (2 * 100 * 0.1^2))) / 2.
    assert uniform.matched.overlap[0] == pytest.approx((1 + np.exp(-0.5)) / 2)


def test_objects_without_a_visible_keypoint_need_not_be_found_at_a_threshold_either(labelled, tmp_path):
    file = labelled / "annotations" / "instances_val2017.json"
    set_ = json.loads(file.read_text())
    unseen = [entry for entry in set_["annotations"] if entry["image_id"] == 3]
    for entry in unseen:
        entry |= {"keypoints": [0, 0, 0, 0, 0, 0], "num_keypoints": 0}
    write(file, set_)
    rows = [row for row in point_rows() if row["image_id"] != 3]
    _, evaluation = judged(labelled, write(tmp_path / "k.json", rows), "keypoints")
    points = [evaluation.operating_point, *evaluation.class_operating_points[:2]]
    assert [(point.precision, point.recall, point.f1) for point in points] == [(1, 1, 1)] * 3
    assert [found.objects for found in evaluation.result.per_class] == [3, 3, 0]


def test_what_is_written_is_read_again(labelled, tmp_path):
    results, evaluation = judged(labelled, write(tmp_path / "m.json", mask_rows()), "masks")
    save_results(tmp_path / "again.json", results.found, evaluation.image_ids, evaluation.classes)
    again, _ = judged(labelled, tmp_path / "again.json", "masks")
    np.testing.assert_array_equal(again.found.boxes, results.found.boxes)
    assert again.found.segmentations == results.found.segmentations


@pytest.mark.parametrize("indent", [None, 2])
def test_rows_are_read_in_portions_and_not_at_once(labelled, tmp_path, monkeypatch, indent):
    monkeypatch.setattr(results_module, "WINDOW", 500)
    monkeypatch.setattr(results_module, "_whole", lambda path: pytest.fail("the whole file was read at once"))
    path = write(tmp_path / "m.json", json.dumps(mask_rows(), indent=indent))
    assert judged(labelled, path, "masks")[1].result.ap == pytest.approx(1.0)


@pytest.mark.parametrize("ids", [range(4), [2**40, -7, 0, 12], [10**7, 3, 2, 1]])
def test_ids_of_any_span_are_found(tmp_path, ids):
    folder, ids = tmp_path / "set.json", list(ids)
    write(folder, annotations(ids))
    path = write(tmp_path / "r.json", right_rows(ids))
    results, evaluation = judged(folder, path)
    assert (results.found.images.tolist(), evaluation.result.ap) == ([0, 0, 1, 1, 2, 2, 3, 3], pytest.approx(1.0))
    for number in (ids[0] + 1000, min(ids) - 1, max(ids) + 1, -(2**62)):
        write(path, [*right_rows(ids), {**right_rows(ids)[0], "image_id": number}])
        with pytest.raises(DataError, match=f"row 8: there is no image with the id {number}"):
            judged(folder, path)


def test_boxes_that_look_like_corners_are_told(labelled, tmp_path):
    rows = right_rows()
    for row in rows:
        x, y, w, h = row["bbox"]
        row["bbox"] = [x + 20, y + 10, x + w + 20, y + h + 10]
    results, _ = judged(labelled, write(tmp_path / "r.json", rows))
    assert "look like x1, y1, x2, y2" in results.notes[0]


def test_shares_of_the_image_and_scores_in_percent_are_told(labelled, tmp_path):
    rows = [{**row, "bbox": [0.1, 0.2, 0.3, 0.4], "score": 85.5} for row in right_rows()]
    results, _ = judged(labelled, write(tmp_path / "r.json", rows))
    shares, scores = results.notes[:2]
    assert "look like shares of the image" in shares and "scores reach from 85.5 to 85.5" in scores
    results, _ = judged(labelled, write(tmp_path / "sound.json", right_rows()))
    assert not any("shares" in note or "scores" in note for note in results.notes)


def changed(place, **more):
    rows = right_rows()
    rows[place] = {key: value for key, value in {**rows[place], **more}.items() if value is not ...}
    return rows


def shifted(key, by, ids=range(4)):
    return [{**row, key: row[key] + by} for row in right_rows(ids)]


BAD = {
    "no JSON": ("[{", r"line 1, column 3: not valid JSON"),
    "cut off": (json.dumps(right_rows())[:-40], r"line 1, column \d+: not valid JSON.*interrupted"),
    "no JSON in a row": (json.dumps(right_rows()).replace(": 0.87", ": x"), r"line 1, column \d+: not valid JSON"),
    "empty": ("", "the file is empty"),
    "text": ("hello", "not valid JSON"),
    "annotations": ({"images": [], "annotations": []}, "is a list.*this is an object.*it is an annotation file"),
    "an object": ({"results": []}, "is a list.*this is an object"),
    "numbers": ([1, 2], "row 0: the first row has nothing"),
    "a row that is a list": ([*right_rows(), [1]], r"row 8: must be an object"),
    "no score": (changed(5, score=...), "row 5: the key 'score' is missing; it has 'image_id'"),
    "no bbox": (changed(5, bbox=...), "row 5: the row has no bbox"),
    "a mask among boxes": (changed(5, bbox=..., segmentation={}), "row 5: the row has no bbox.*--task masks"),
    "three numbers": (changed(5, bbox=[1, 2, 3]), "row 5, bbox: must be a list of x, y, width, height"),
    "NaN": (changed(5, score=float("nan")), "row 5, score: must be a finite number, got nan.*division by zero"),
    "infinity": (json.dumps(right_rows()).replace("0.87", "1e999"), "row 3.*score.*finite"),
    "NaN in a box": (changed(5, bbox=[1, 2, float("nan"), 3]), "row 5, bbox: must be a finite number"),
    "huge box": (changed(5, bbox=[1, 2, 1e300, 1e300]), "row 5: bbox must hold finite numbers of a sensible size"),
    "negative side": (changed(5, bbox=[9, 9, -4, 4]), r"row 5: bbox has a width or height below 0.*corners"),
    "score as text": (changed(5, score="0.5"), "row 5, score: must be a number, got '0.5'"),
    "file name as id": (changed(5, image_id="2.jpg"), "row 5, image_id: must be a whole number.*file name"),
    "half an id": (changed(5, category_id=3.5), "row 5, category_id: must be a whole number"),
    "huge id": (changed(5, image_id=2**70), "row 5, image_id: must be a whole number"),
    "unknown image": (changed(5, image_id=77), r"row 5: there is no image with the id 77.*0 to 3 \(1 of 8.*cause"),
    "another split": (shifted("image_id", 100), "no image with the id 100.*the split 'train'.*with --split train"),
    "shifted images": (shifted("image_id", 1), r"no image with the id 4.*shifted by 1.*add -1 to every image_id"),
    "unknown class": (changed(5, category_id=99), r"row 5: there is no category with the id 99; the set has 3"),
    "shifted classes": (shifted("category_id", 1), "shifted by 1.*add -1 to every category_id"),
    "places for ids": ([{**row, "category_id": row["category_id"] % 2} for row in right_rows()], "place of the class"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_files_get_answers(labelled, tmp_path, name):
    content, answer = BAD[name]
    path = write(tmp_path / "r.json", content)
    with pytest.raises(DataError, match=rf"(?s)r\.json.*{answer}|{answer}") as caught:
        judged(labelled, path) if kinds_of(path) else None
    assert caught.value.cure


BAD_MASKS = {
    "size": ({"size": [60, 40], "counts": "d54"}, r"row 2: the mask has the size \[60, 40\].*\[40, 60\].*swapped"),
    "counts": ({"size": [40, 60], "counts": "\x7f"}, "row 2"),
    "too much": ({"size": [40, 60], "counts": "o" * 9 + "0"}, "row 2"),
    "sum": (
        {"size": [40, 60], "counts": [1, 2]},
        r"row 2, segmentation: run lengths must be whole numbers that add up",
    ),
    "no size": ({"size": [40, 2**70], "counts": "X510"}, r"row 2, segmentation: must be run lengths"),
    "polygon": ([[1, 1, 5, 1, 5, 5]], "row 2, segmentation: must be run lengths.*COCO's run lengths"),
}


@pytest.mark.parametrize("name", BAD_MASKS)
def test_bad_masks_get_answers(labelled, tmp_path, name):
    rows, (mask, answer) = mask_rows(), BAD_MASKS[name]
    rows[2]["segmentation"] = mask
    with pytest.raises(DataError, match=answer):
        judged(labelled, write(tmp_path / "m.json", rows), "masks")


def test_bad_keypoints_get_answers(labelled, tmp_path):
    rows = point_rows()
    rows[2]["keypoints"] = rows[2]["keypoints"][:3]
    with pytest.raises(DataError, match="row 2, keypoints: 3 numbers, but the set's 2 keypoints have 6"):
        judged(labelled, write(tmp_path / "k.json", rows), "keypoints")


def test_truth_without_what_is_judged_gets_an_answer(tmp_path):
    folder = make_set(tmp_path / "set")
    file = folder / "annotations" / "instances_val2017.json"
    content = json.loads(file.read_text())
    content["categories"] = [{"id": c["id"], "name": c["name"]} for c in content["categories"]]
    for entry in content["annotations"]:
        entry |= {"keypoints": []}
    del content["annotations"][1]["segmentation"]
    write(file, content)
    with pytest.raises(DataError, match=r"the set has no keypoints.*--task boxes"):
        open_truth(folder, "val", "keypoints")
    with pytest.raises(DataError, match=r"annotations\[1\].*the object has no mask.*--task boxes"):
        open_truth(folder, "val", "masks")


def test_no_file_and_a_folder_get_answers(tmp_path):
    with pytest.raises(DataError, match=r"cannot be read.*No such file"):
        kinds_of(tmp_path / "none.json")
    with pytest.raises(DataError, match="a folder, not a file"):
        kinds_of(tmp_path)


def test_zero_areas_are_judged(labelled, tmp_path):
    rows = [*right_rows(), {"image_id": 0, "category_id": 3, "bbox": [1, 1, 0, 5], "score": 0.95}]
    results, evaluation = judged(labelled, write(tmp_path / "r.json", rows))
    # It is wrong and comes first: precision of the class is 4/5 up to the first object, and at all recalls.
    assert evaluation.result.per_class[0].ap == pytest.approx(0.8)
    assert (len(results.found), int(evaluation.matched.correct.sum())) == (9, 8)


@pytest.mark.parametrize("seed", range(4))
def test_damaged_files_get_answers_and_nothing_else(labelled, tmp_path, monkeypatch, seed):
    rng = np.random.default_rng(seed)
    splits = {kind: open_truth(labelled, "val", kind) for kind in ("boxes", "masks", "keypoints")}
    texts = [json.dumps(rows).encode() for rows in (right_rows(), mask_rows(), point_rows())]
    odd = [b"NaN", b"null", b"[]", b"{}", b"-1", b"1e400", b"9" * 22, b'"x"', b"true", b"\xff", b"[", b"}", b",", b"\\"]
    odd += [b'"', b"-Infinity", b"0.5", b"1e308", b"0", b"7", b" "]
    ended = Counter()
    for _ in range(250):
        text, place = texts[rng.integers(3)], int(rng.integers(600))
        width = int(rng.choice([0, 1, 1, 3, 12]))
        (tmp_path / "r.json").write_bytes(text[:place] + odd[rng.integers(len(odd))] + text[place + width :])
        monkeypatch.setattr(results_module, "WINDOW", int(rng.choice([64, 300, 1 << 18])))
        try:
            kind = kinds_of(tmp_path / "r.json")[0]
            split = splits[kind]
            found = read_results(tmp_path / "r.json", split, kind).found
            judge_columns(split.truth, found, split.classes, split.image_ids, kind=kind).to_dict()
            ended["judged"] += 1
        except DataError as error:
            assert error.place and error.cure
            ended["answered"] += 1
    assert min(ended["judged"], ended["answered"]) > 0
