"""TIDE by plain loops, written from the definitions of its paper (sections 2.2 to 2.4)."""

import math

import numpy as np
from splits_fabricated import covered, iou

FOREGROUND, BACKGROUND = 0.5, 0.1
KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")


def matched(truth, found):
    """The object that each detection finds by COCO's rule at IoU 0.5, "nothing" or "ignored"."""
    outcome = {}
    for image in range(truth.count):
        for label in {int(label) for label in found.labels}:
            rows = [d for d in range(len(found)) if found.images[d] == image and found.labels[d] == label]
            objects = [g for g in range(len(truth)) if truth.images[g] == image and truth.labels[g] == label]
            free = {g for g in objects if not truth.ignore[g]}
            for turn, d in enumerate(sorted(rows, key=lambda d: (-found.scores[d], d))):
                if turn >= 100:
                    outcome[d] = "ignored"
                    continue
                best, best_overlap = None, FOREGROUND
                for g in sorted(free):
                    overlap = iou(found.boxes[d], truth.boxes[g])
                    if overlap >= best_overlap:
                        best, best_overlap = g, overlap
                if best is not None:
                    free.discard(best)
                    outcome[d] = best
                elif any(truth.ignore[g] and covered(found.boxes[d], truth.boxes[g]) >= FOREGROUND for g in objects):
                    outcome[d] = "ignored"
                else:
                    outcome[d] = "nothing"
    return outcome


def nearest(truth, found, d, own):
    """The object of a detection's class, or of others, that it overlaps most; the first of equal ones."""
    best, most = None, 0.0
    for g in range(len(truth)):
        of_this_kind = (truth.labels[g] == found.labels[d]) == own
        if truth.images[g] == found.images[d] and of_this_kind and not truth.ignore[g]:
            overlap = iou(found.boxes[d], truth.boxes[g])
            if overlap > most:
                best, most = g, overlap
    return best, most


def kinds_of(truth, found):
    """Kind and object of each detection, and the missed objects."""
    kind, about, outcome = {}, {}, matched(truth, found)
    for d in range(len(found)):
        if outcome[d] == "ignored":
            continue
        if outcome[d] != "nothing":
            kind[d], about[d] = "right", outcome[d]
            continue
        own, own_overlap = nearest(truth, found, d, own=True)
        other, other_overlap = nearest(truth, found, d, own=False)
        if BACKGROUND <= own_overlap < FOREGROUND:
            kind[d], about[d] = "localisation", own
        elif other_overlap >= FOREGROUND:
            kind[d], about[d] = "classification", other
        elif own_overlap >= FOREGROUND:
            kind[d], about[d] = "duplicate", own
        elif own_overlap < BACKGROUND and other_overlap < BACKGROUND:
            kind[d] = "background"
        else:
            kind[d], about[d] = "both", other
    covered_ones = {about[d] for d in kind if kind[d] in ("right", "localisation", "classification")}
    missed = [g for g in range(len(truth)) if not truth.ignore[g] and g not in covered_ones]
    return kind, about, missed


def average_precision(rows, objects):
    """Of (score, order, right) rows, at 101 recalls."""
    rows = sorted(rows, key=lambda row: (-row[0], row[1]))
    points, right = [], 0
    for count, (_, _, correct) in enumerate(rows, start=1):
        right += correct
        points.append((right / objects, right / count))
    heights = []
    for least in np.linspace(0, 1, 101):
        reached = [precision for recall, precision in points if recall >= least]
        heights.append(max(reached, default=0.0))
    return math.fsum(heights) / 101


def size_of(area):
    return "small" if area < 32**2 else "medium" if area < 96**2 else "large"


def ap_after(truth, found, fix, keep):
    """AP50 with one fix: of the objects and detections whose (class, size) ``keep`` lets through; None if undefined."""
    kind, about, missed = kinds_of(truth, found)

    def group(d, label):
        box = found.boxes[d]
        area = truth.areas[about[d]] if d in about else (box[2] - box[0]) * (box[3] - box[1])
        return keep(label, size_of(area))

    rows = {d: (int(found.labels[d]), kind[d] == "right") for d in kind}
    if fix in ("classification", "localisation"):
        for g in range(len(truth)):
            claims = [d for d in kind if kind[d] in (fix, "right") and about[d] == g]
            for d in claims:
                del rows[d]
            if claims:
                best = min(claims, key=lambda d: (-found.scores[d], kind[d] != "right", d))
                rows[best] = (int(truth.labels[g]), True)
    elif fix == "false positives":
        rows = {d: row for d, row in rows.items() if row[1]}
    else:
        rows = {d: row for d, row in rows.items() if kind[d] != fix}
    objects = [g for g in range(len(truth)) if not truth.ignore[g] and keep(truth.labels[g], size_of(truth.areas[g]))]
    before = len(objects)
    if fix == "missed":
        objects = [g for g in objects if g not in missed]
    if fix == "false negatives":
        found_ones = {about[d] for d in kind if kind[d] == "right"}
        objects = [g for g in objects if g in found_ones]
    rows = [(found.scores[d], d, right) for d, (label, right) in rows.items() if group(d, label)]
    if before == 0:
        return None
    if not objects:
        return float(not any(not right for *_, right in rows))
    return average_precision(rows, len(objects))


def mean_ap_after(truth, found, fix, classes, size=None):
    """Mean over the classes with objects; None without any."""
    values = [
        ap_after(truth, found, fix, lambda label, s, k=label: label == k and size in (None, s))
        for label in range(classes)
    ]
    values = [value for value in values if value is not None]
    return math.fsum(values) / len(values) if values else None
