"""Our numbers and matches against pycocotools' on generated sets, the way `sightline evaluate --predictions` goes.

    python tests/oracles/coco_parity.py --cases 12000

judges so many cases, a third each of boxes, masks and keypoints, prints how many there were and how many differ, and
ends with 1 where any does.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

from sightline.evaluation.coco import evaluate_columns
from sightline.evaluation.matching import match_columns
from sightline.evaluation.results import kinds_of, read_results
from sightline.evaluation.truth import open_truth

sys.path.insert(0, str(Path(__file__).parent))

from coco_cases import KINDS, make_case, reference

OURS = dict(zip(KINDS, ("boxes", "masks", "keypoints"), strict=True))
TOLERANCE = 1e-10


def differences(kind, seed, folder):
    """What differs in one case, as texts, and whether there was anything to measure."""
    set_, results, sigmas = make_case(kind, seed)
    (folder / "set.json").write_text(json.dumps(set_))
    (folder / "results.json").write_text(json.dumps(results))
    theirs = reference(kind, set_, results, sigmas)
    if results and kinds_of(folder / "results.json") != (OURS[kind],):
        return ["kind"], True
    split = open_truth(folder / "set.json", kind=OURS[kind])
    found = read_results(folder / "results.json", split, OURS[kind]).found
    ours = evaluate_columns(split.truth, found, split.classes, split.image_ids, kind=OURS[kind], sigmas=sigmas)
    pairs = {"numbers": (list(ours.numbers.values()), undefined(theirs.stats))}
    for label, (of_class, curve) in enumerate(zip(ours.per_class, ours.curves, strict=True)):
        precision, recall = theirs.eval["precision"][:, :, label, 0, -1], theirs.eval["recall"][:, label, 0, -1]
        expected = [mean_or_nan(v) for v in (precision, precision[0], precision[5], recall)]
        pairs[f"class {label}"] = ([of_class.ap, of_class.ap50, of_class.ap75, of_class.ar], expected)
        if len(curve.recall):
            pairs[f"precision {label}"] = (curve.precision, precision[0])
            pairs[f"score {label}"] = (curve.score, theirs.eval["scores"][0, :, label, 0, -1])
        elif (precision > -1).any():
            pairs[f"curve {label}"] = ([], precision[0])
    wrong = [name for name, (a, b) in pairs.items() if not alike(a, b)]
    if not beyond_matches(kind, set_, results):
        wrong += different_matches(theirs, split, found, OURS[kind], sigmas)
    return wrong, not np.isnan(ours.ap)


def alike(ours, theirs):
    return len(ours) == len(theirs) and np.allclose(ours, theirs, rtol=0, atol=TOLERANCE, equal_nan=True)


def undefined(values):
    values = np.asarray(values, np.float64)
    return np.where(values < 0, np.nan, values)


def mean_or_nan(values):
    values = values[values > -1]
    return values.mean() if values.size else np.nan


def beyond_matches(kind, set_, results):
    """Whether pycocotools' matches are not ours to repeat: boxes without area meet, for which it takes 0 / 0 for a
    match; or one is larger than its largest, 1e10 pixels of area, which it ignores."""
    sides = [[e["bbox"][2] * e["bbox"][3] for e in part if "bbox" in e] for part in (set_["annotations"], results)]
    largest = max([area for side in sides for area in side] + [e["area"] for e in set_["annotations"]], default=0)
    return largest > 1e10 or (kind == "bbox" and all(0 in side for side in sides))


def different_matches(theirs, split, found, kind, sigmas):
    """Images and classes in which other objects were matched at overlap 0.5, or other detections counted."""
    matches = match_columns(split.truth, found, kind=kind, sigmas=sigmas)
    entries = {(e["image_id"], e["category_id"]): e for e in theirs.evalImgs if e and list(e["aRng"]) == [0, 1e10]}
    wrong = []
    for image, label in sorted(set(zip(found.images.tolist(), found.labels.tolist(), strict=True))):
        entry = entries[split.image_ids[image], split.classes.ids[label]]
        rows = np.flatnonzero((found.images == image) & (found.labels == label))
        rows, beyond = np.split(rows, [len(entry["dtIds"])])
        own = np.flatnonzero((split.truth.images == image) & (split.truth.labels == label))
        # Annotation ids count the objects in the order of the file, which is that of our rows.
        row_of = {0: -1, **dict(zip(sorted(entry["gtIds"]), own.tolist(), strict=True))}
        same = matches.object_of[rows].tolist() == [row_of[int(number)] for number in entry["dtMatches"][0]]
        same &= bool((matches.object_of[beyond] == -1).all()) and not matches.counted[beyond].any()
        if not same or (matches.counted[rows] == entry["dtIgnore"][0].astype(bool)).any():
            wrong.append(f"matches of image {image}, class {label}")
    return wrong


def run(cases, folder, first=0):
    """Judges so many cases; counts by kind, and the cases that differ."""
    counts, measured, wrong = dict.fromkeys(KINDS, 0), 0, []
    for number in range(cases):
        kind, seed = KINDS[number % len(KINDS)], first + number // len(KINDS)
        found, defined = differences(kind, seed, folder)
        counts[kind] += 1
        measured += defined
        wrong += [f"{kind} {seed}: {', '.join(found)}"] if found else []
    return counts, measured, wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=12_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case of each kind")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts, measured, wrong = run(options.cases, Path(folder), options.first)
    print("\n".join(wrong[:20]))
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in counts.items())
    print(f"{sum(counts.values()):,} cases ({kinds}), {measured:,} with an AP; {len(wrong)} differ by over {TOLERANCE}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
