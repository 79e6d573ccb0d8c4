"""Our numbers and matches are pycocotools' on random pictures made to be awkward."""

import contextlib
import io

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from sightline.evaluation.coco import evaluate_columns
from sightline.evaluation.columns import found_of, truth_of
from sightline.evaluation.curves import exact_curve
from sightline.evaluation.matching import match
from sightline.structures import Classes, Detections, Target

CASES = 320
SIZE = (600, 800)


def random_boxes(rng, count):
    # Whole pixels make equal overlaps likely; sides from 1 to 500 pixels reach all of COCO's sizes.
    corners = rng.integers(0, 300, (count, 2))
    sides = np.exp(rng.uniform(0, np.log(500), (count, 2))).round().clip(1)
    return np.concatenate([corners, corners + sides], axis=1).astype(np.float32)


def random_case(seed):
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(1, 4))
    targets, detections = [], []
    for _ in range(rng.integers(1, 5)):
        count = int(rng.choice([0, 1, 3, 8]))
        boxes = random_boxes(rng, count)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * np.float32(rng.choice([1.0, 0.4]))
        # A class may have no objects at all.
        labels = rng.integers(0, max(1, classes - int(rng.random() < 0.3)), count)
        ignore = rng.random(count) < 0.25
        targets.append(
            Target(*map(torch.from_numpy, (boxes, labels)), SIZE, torch.from_numpy(ignore), torch.from_numpy(areas))
        )
        found = int(rng.choice([0, 4, 12, 130], p=[0.2, 0.35, 0.35, 0.1]))
        near = boxes[rng.integers(0, count, found)] if count else random_boxes(rng, found)
        near = near + rng.normal(0, 4, near.shape).round() * (rng.random((found, 1)) < 0.7)
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        decimals = int(rng.choice([1, 6]))
        scores = np.sort(rng.random(found).round(decimals))[::-1].astype(np.float32)
        found_labels = rng.integers(0, classes, found)
        found_boxes = torch.from_numpy(near.astype(np.float32))
        detections.append(
            Detections(found_boxes, torch.from_numpy(scores.copy()), torch.from_numpy(found_labels), SIZE)
        )
    image_ids = rng.permutation(1000)[: len(targets)].tolist()
    return targets, detections, Classes(tuple(f"class {k}" for k in range(classes))), image_ids


def reference(targets, detections, classes, image_ids):
    annotations, rows = [], []
    for target, found, image_id in zip(targets, detections, image_ids, strict=True):
        boxes = target.boxes.double().numpy()
        for i, (x1, y1, x2, y2) in enumerate(boxes):
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": int(target.labels[i]) + 1,
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(target.areas[i]), "iscrowd": int(target.ignore[i]),
            })  # fmt: skip
        for (x1, y1, x2, y2), score, label in zip(
            found.boxes.double().numpy(), found.scores.tolist(), found.labels.tolist(), strict=True
        ):
            rows.append([image_id, x1, y1, x2 - x1, y2 - y1, score, label + 1])
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image_id} for image_id in image_ids],
            "categories": [{"id": k + 1, "name": name} for k, name in enumerate(classes.names)],
            "annotations": annotations,
        }
        coco.createIndex()
        results = COCO()  # loadRes refuses an empty list
        results.dataset = coco.dataset | {"annotations": []}
        results.createIndex()
        evaluator = COCOeval(coco, coco.loadRes(np.array(rows, dtype=np.float64)) if rows else results, "bbox")
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return evaluator


def undefined_as_nan(values):
    values = np.asarray(values, dtype=np.float64)
    return np.where(values < 0, np.nan, values)


def mean_or_nan(values):
    values = values[values > -1]
    return values.mean() if values.size else np.nan


@pytest.mark.parametrize("chunk", range(8))
def test_numbers_and_matches_are_those_of_pycocotools(chunk):
    for seed in range(chunk, CASES, 8):
        targets, detections, classes, image_ids = random_case(seed)
        ours = evaluate_columns(truth_of(targets), found_of(detections), classes, image_ids)
        theirs = reference(targets, detections, classes, image_ids)
        numbers = np.array(list(ours.metrics().values()), dtype=np.float64)
        np.testing.assert_allclose(numbers, undefined_as_nan(theirs.stats), atol=1e-10, err_msg=f"case {seed}")
        for label, (found, curve) in enumerate(zip(ours.per_class, ours.curves, strict=True)):
            precision = theirs.eval["precision"][:, :, label, 0, 2]
            recall = theirs.eval["recall"][:, label, 0, 2]
            expected = [mean_or_nan(v) for v in (precision, precision[0], precision[5], recall)]
            np.testing.assert_allclose([found.ap, found.ap50, found.ap75, found.ar], expected, atol=1e-10)
            if len(curve.recall):
                np.testing.assert_allclose(curve.precision, precision[0], atol=1e-10)
                np.testing.assert_allclose(curve.score, theirs.eval["scores"][0, :, label, 0, 2], atol=1e-10)
        assert_same_matches(theirs, targets, detections, image_ids, len(classes), seed)


def assert_same_matches(theirs, targets, detections, image_ids, classes, seed):
    starts = np.cumsum([0] + [len(target) for target in targets])
    result_starts = np.cumsum([0] + [len(found) for found in detections])
    by_place = {(e["image_id"], e["category_id"]): e for e in theirs.evalImgs if e and e["aRng"] == [0, 1e10]}
    for i, matches in enumerate(match(targets, detections)):
        object_of = np.full(len(detections[i]), -1)
        counted = np.zeros(len(detections[i]), dtype=bool)
        for label in range(classes):
            entry = by_place.get((image_ids[i], label + 1))
            if entry is None:
                continue
            rows = np.array(entry["dtIds"], dtype=int) - 1 - result_starts[i]
            object_of[rows] = np.where(entry["dtMatches"][0] > 0, entry["dtMatches"][0] - 1 - starts[i], -1)
            counted[rows] = ~entry["dtIgnore"][0].astype(bool)
        np.testing.assert_array_equal(matches.object_of, object_of, err_msg=f"case {seed}, image {i}")
        np.testing.assert_array_equal(matches.counted, counted, err_msg=f"case {seed}, image {i}")


def test_our_exact_curve_interpolates_to_the_evaluators_ap50():
    for seed in range(40):
        targets, detections, classes, _ = random_case(seed)
        matches = match(targets, detections)
        for label, found in enumerate(evaluate_columns(truth_of(targets), found_of(detections), classes).per_class):
            if found.objects == 0:
                continue
            of_class = [(d.labels == label).numpy() & m.counted for d, m in zip(detections, matches, strict=True)]
            scores = np.concatenate([d.scores.numpy()[k] for d, k in zip(detections, of_class, strict=True)])
            correct = np.concatenate([m.correct[k] for m, k in zip(matches, of_class, strict=True)])
            if len(np.unique(scores)) < len(scores):
                continue  # COCO walks through equal scores one by one, our curve takes them together
            recall, precision, _ = exact_curve(scores.astype(np.float64), correct, found.objects)
            envelope = np.maximum.accumulate(np.append(precision, 0.0)[::-1])[::-1]
            interpolated = envelope[np.searchsorted(recall, np.linspace(0, 1, 101))]
            assert interpolated.mean() == pytest.approx(found.ap50, abs=1e-10)
