"""COCO's numbers are pycocotools' on COCO's own annotations, crowds and all, with results made from them."""

import json

import numpy as np
import pytest
from coco_cases import decoded, reference
from coco_parity import OURS, alike, undefined
from pycocotools import mask as reference_masks

from sightline.evaluation.coco import evaluate_columns
from sightline.evaluation.results import read_results
from sightline.evaluation.truth import open_truth

FILES = {
    "bbox": "coco_tiny/annotations/instances_val2017.json",
    "segm": "coco_tiny/annotations/instances_val2017.json",
    "keypoints": "coco_keypoints/annotations/person_keypoints_train2017.json",
}


def made_results(kind, set_, rng):
    """Every object, moved a little, some twice, some with another class."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in set_["images"]}
    classes = [category["id"] for category in set_["categories"]]
    rows = []
    for entry in [*set_["annotations"], *set_["annotations"][::3]]:
        row = {
            "image_id": entry["image_id"],
            "category_id": entry["category_id"],
            "score": round(float(rng.random()), 2),
        }
        if rng.random() < 0.1:
            row["category_id"] = classes[int(rng.integers(len(classes)))]
        if kind == "bbox":
            row["bbox"] = [round(max(0.0, v + float(rng.normal(0, 3))), 2) for v in entry["bbox"]]
        elif kind == "segm":
            mask = np.roll(decoded(entry["segmentation"], sizes[entry["image_id"]]), rng.integers(-4, 5, 2), (0, 1))
            runs = reference_masks.encode(np.asfortranarray(mask))
            row["segmentation"] = {"size": [int(n) for n in runs["size"]], "counts": runs["counts"].decode()}
        else:
            points = np.array(entry["keypoints"], float).reshape(-1, 3)
            points[:, :2] += rng.normal(0, 4, (len(points), 2)).round(1)
            row["keypoints"] = points.reshape(-1).tolist()
        rows.append(row)
    return rows


@pytest.mark.parametrize("kind", FILES)
def test_numbers_on_cocos_annotations_are_those_of_pycocotools(kind, data_root, tmp_path):
    file = data_root / "datasets" / FILES[kind]
    set_ = json.loads(file.read_text())
    results = made_results(kind, set_, np.random.default_rng(3))
    (tmp_path / "results.json").write_text(json.dumps(results))
    split = open_truth(file, kind=OURS[kind])
    found = read_results(tmp_path / "results.json", split, OURS[kind]).found
    ours = evaluate_columns(split.truth, found, split.classes, split.image_ids, kind=OURS[kind])
    assert alike(list(ours.numbers.values()), undefined(reference(kind, set_, results).stats))
    assert 0.05 < ours.ap < 0.99
