"""Small sets made to be awkward, with results, as COCO's files hold them; and pycocotools' numbers of them."""

import contextlib
import copy
import io

import numpy as np
from pycocotools import mask as reference_masks
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

KINDS = ("bbox", "segm", "keypoints")


def make_case(kind, seed):
    """A dict like an annotation file's, a list like a results file's, and sigmas or None."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    maker = {"bbox": _Boxes, "segm": _Masks, "keypoints": _Keypoints}[kind](rng)
    image_ids = _ids(rng, int(rng.integers(1, 6)))
    category_ids = _ids(rng, 1 if rng.random() < 0.3 else int(rng.integers(1, 4)))
    height, width = maker.size
    set_ = {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": height, "width": width} for i in image_ids],
        "categories": [{"id": c, "name": f"class {c}", "keypoints": maker.names} for c in category_ids],
        "annotations": [],
    }
    results = []
    # Some classes have no objects, others no detections.
    with_objects = [c for c in category_ids if rng.random() < 0.85]
    with_results = [c for c in category_ids if rng.random() < 0.9]
    crowds = rng.choice([0.0, 0.3, 1.0], p=[0.5, 0.45, 0.05])
    decimals = int(rng.choice([0, 1, 6]))
    for image in image_ids:
        objects = []
        for _ in range(int(rng.choice([0, 1, 3, 8])) if with_objects else 0):
            entry = maker.object(objects) | {"image_id": image, "category_id": _pick(rng, with_objects)}
            objects.append(entry | {"iscrowd": int(rng.random() < crowds)})
        set_["annotations"] += objects
        count = int(rng.choice([0, 1, 5, 15, maker.many], p=[0.15, 0.15, 0.35, 0.3, 0.05])) if with_results else 0
        for _ in range(count):
            score = round(float(rng.random()), decimals)
            if rng.random() < 0.02:
                score = float(rng.choice([-1.5, 0.0, 1.0, 7.0]))
            entry = maker.detection(objects) | {"image_id": image, "category_id": _pick(rng, with_results)}
            results.append(entry | {"score": score})
    for number, entry in enumerate(set_["annotations"]):
        entry["id"] = number
    order = rng.permutation(len(results))
    return set_, [results[place] for place in order], maker.sigmas


def _ids(rng, count):
    start = int(rng.choice([0, 0, 1, 17, 2**40]))
    step = int(rng.choice([1, 3]))
    ids = [start + step * number for number in range(count)]
    return [ids[place] for place in rng.permutation(count)]


def _pick(rng, values):
    return values[int(rng.integers(len(values)))]


class _Boxes:
    names = ()
    sigmas = None
    many = 130

    def __init__(self, rng):
        self.rng = rng
        self.size = (600, 800)
        self.grain = float(rng.choice([1, 1, 0.1, 0.01]))
        self.reach = float(rng.choice([40, 500, 500, 3e5], p=[0.3, 0.4, 0.25, 0.05]))

    def box(self):
        corner = self.rng.integers(0, 300, 2)
        sides = np.exp(self.rng.uniform(0, np.log(self.reach), 2)).round().clip(1)
        if self.rng.random() < 0.05:
            sides[self.rng.integers(2)] = 0
        if self.rng.random() < 0.1:
            sides = self.rng.choice([32.0, 96.0], 2)
        return self.rounded([*corner, *sides])

    def rounded(self, values):
        return [round(round(float(value) / self.grain) * self.grain, 4) for value in values]

    def object(self, others):
        box = _pick(self.rng, others)["bbox"] if others and self.rng.random() < 0.1 else self.box()
        area = box[2] * box[3]
        share = self.rng.choice([1.0, 0.5, 0.0], p=[0.7, 0.25, 0.05])
        if self.rng.random() < 0.05:
            area, share = float(self.rng.choice([1024, 9216, 1e10, 1e12])), 1.0
        return {"bbox": box, "area": float(area * share)}

    def detection(self, objects):
        if not objects or self.rng.random() < 0.15:
            return {"bbox": self.box()}
        x, y, w, h = _pick(self.rng, objects)["bbox"]
        if self.rng.random() < 0.1:  # overlaps of exactly 0.5, 0.75 ...
            return {"bbox": self.rounded([x, y, w, h * float(self.rng.choice([0.5, 0.55, 0.75, 0.9, 1.0]))])}
        moved = self.rng.normal(0, 0.1 * max(1.0, min(w, h)), 4) * (self.rng.random() < 0.7)
        box = self.rounded(np.array([x, y, w, h]) + moved)
        return {"bbox": [*box[:2], max(0.0, box[2]), max(0.0, box[3])]}


class _Masks:
    names = ()
    sigmas = None
    many = 120

    def __init__(self, rng):
        self.rng = rng
        side = int(rng.choice([12, 40, 140], p=[0.4, 0.4, 0.2]))
        self.size = (side, side + int(rng.integers(0, 9)))

    def pixels(self):
        height, width = self.size
        mask = np.zeros(self.size, np.uint8)
        kind = self.rng.random()
        if kind < 0.05:
            return mask
        y, x = self.rng.integers(0, height), self.rng.integers(0, width)
        mask[y : y + self.rng.integers(1, height + 1), x : x + self.rng.integers(1, width + 1)] = 1
        if kind < 0.3:
            mask &= (self.rng.random(self.size) < 0.8).astype(np.uint8)
        return mask

    def polygon(self):
        height, width = self.size
        points = self.rng.random((int(self.rng.integers(3, 7)), 2)) * [width * 1.1, height * 1.1]
        return points.round(int(self.rng.integers(0, 3))).reshape(-1).tolist()

    def runs(self, mask):
        runs = reference_masks.encode(np.asfortranarray(mask))
        return {"size": [int(n) for n in runs["size"]], "counts": runs["counts"].decode()}

    def object(self, others):
        kind = self.rng.random()
        if kind < 0.5:
            shape = [self.polygon() for _ in range(int(self.rng.integers(1, 3)))]
        elif kind < 0.75:
            shape = self.runs(self.pixels())
        else:
            flat = self.pixels().reshape(-1, order="F")
            ends = np.flatnonzero(np.diff(flat)) + 1
            counts = np.diff([0, *ends, len(flat)]).tolist()
            shape = {"size": list(self.size), "counts": [0, *counts] if flat[0] else counts}
        area = float(self.rng.choice([0, 100, 1024, 5000, 9216, 20000]))
        return {"segmentation": shape, "area": area, "bbox": [0.0, 0.0, 1.0, 1.0]}

    def detection(self, objects):
        if not objects or self.rng.random() < 0.2:
            return {"segmentation": self.runs(self.pixels())}
        mask = decoded(_pick(self.rng, objects)["segmentation"], self.size)
        if self.rng.random() < 0.7:
            mask = np.roll(mask, self.rng.integers(-2, 3, 2), (0, 1))
        return {"segmentation": self.runs(mask)}


class _Keypoints:
    many = 30

    def __init__(self, rng):
        self.rng = rng
        self.size = (400, 400)
        self.count = int(rng.choice([17, 17, 1, 5]))
        self.names = [f"point {number}" for number in range(self.count)]
        self.sigmas = None if self.count == 17 else np.round(rng.uniform(0.02, 0.11, self.count), 3).tolist()
        self.grain = int(rng.integers(0, 3))

    def object(self, others):
        points = np.zeros((self.count, 3))
        points[:, :2] = self.rng.uniform(0, 300, 2) + self.rng.uniform(0, 100, (self.count, 2))
        points[:, 2] = self.rng.integers(0, 3, self.count) * (self.rng.random() < 0.85)
        points = points.round(self.grain)
        x, y = points[:, :2].min(axis=0)
        w, h = np.ptp(points[:, :2], axis=0)
        area = float(self.rng.choice([0.0, w * h, w * h * 0.5, 1024, 9216, 1e12], p=[0.05, 0.4, 0.4, 0.05, 0.05, 0.05]))
        return {
            "keypoints": points.reshape(-1).tolist(),
            "num_keypoints": int((points[:, 2] > 0).sum()),
            "area": area,
            "bbox": [float(v) for v in (x, y, w, h)],
        }

    def detection(self, objects):
        if not objects or self.rng.random() < 0.15:
            points = np.array(self.object([])["keypoints"]).reshape(-1, 3)
        else:
            points = np.array(_pick(self.rng, objects)["keypoints"]).reshape(-1, 3)
        points[:, :2] += self.rng.normal(0, self.rng.choice([0, 2, 8]), (self.count, 2)).round(self.grain)
        points[:, 2] = self.rng.random(self.count).round(2)
        return {"keypoints": points.reshape(-1).tolist()}


def decoded(segmentation, size):
    if isinstance(segmentation, list):
        return reference_masks.decode(reference_masks.merge(reference_masks.frPyObjects(segmentation, *size)))
    if isinstance(segmentation["counts"], list):
        return reference_masks.decode(reference_masks.frPyObjects(segmentation, *size))
    return reference_masks.decode(segmentation)


def reference(kind, set_, results, sigmas=None, *, renumber=True):
    """pycocotools' evaluator after all its steps.

    Annotation ids are counted from 1 for it: it marks what is not matched by the id 0, so that an object with the id 0
    can never be found.
    """
    set_, results = copy.deepcopy(set_), copy.deepcopy(results)
    for number, entry in enumerate(set_["annotations"] if renumber else ()):
        entry["id"] = number + 1
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = set_
        coco.createIndex()
        if results:
            found = coco.loadRes(results)
        else:  # it refuses an empty list
            found = COCO()
            found.dataset = set_ | {"annotations": []}
            found.createIndex()
        evaluator = COCOeval(coco, found, kind)
        if sigmas is not None:
            evaluator.params.kpt_oks_sigmas = np.array(sigmas)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator
