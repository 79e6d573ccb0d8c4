"""A small set of two splits as COCO annotation files, and results of its val split."""

import json

CLASSES = [
    {"id": 3, "name": "cat", "keypoints": ["nose", "tail"]},
    {"id": 7, "name": "dog", "keypoints": ["nose", "tail"]},
    {"id": 8, "name": "cow", "keypoints": ["nose", "tail"]},
]
RUNS = {"size": [40, 60], "counts": "d54d0000000000000000000R;"}


def annotations(ids):
    """Two objects an image, of classes 3 and 7."""
    images = [{"id": number, "file_name": f"{number}.jpg", "height": 40, "width": 60} for number in ids]
    objects = []
    for number in ids:
        for category, box in ((3, [5, 5, 10, 10]), (7, [30, 10, 20, 20])):
            x, y, w, h = box
            objects.append({
                "id": len(objects), "image_id": number, "category_id": category, "bbox": box, "area": w * h,
                "iscrowd": 0,
                "segmentation": [[x, y, x + w, y, x + w, y + h, x, y + h]], "keypoints": [x, y, 2, x + w, y + h, 1],
                "num_keypoints": 2,
            })  # fmt: skip
    return {"images": images, "annotations": objects, "categories": CLASSES}


def make_set(folder):
    """The set's folder, with annotation files and without pictures."""
    (folder / "annotations").mkdir(parents=True)
    for split, ids in (("train", range(100, 104)), ("val", range(4))):
        (folder / "annotations" / f"instances_{split}2017.json").write_text(json.dumps(annotations(list(ids))))
    return folder


def right_rows(ids=range(4), **more):
    """Results that find every object of some images of the val split."""
    rows = []
    for entry in annotations(list(ids))["annotations"]:
        keys = ("image_id", "category_id", "bbox")
        rows.append({**{key: entry[key] for key in keys}, "score": round(0.9 - 0.01 * len(rows), 2), **more})
    return rows


def write(path, content):
    """A file with JSON, or with the text itself."""
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path
