"""How long results of COCO's validation set take to judge, and how much memory, against pycocotools.

Made here: 5,000 images, 36,000 objects with polygons and some crowds, and 500,000 detections, half of them near an
object; written as an annotation file and a results file. The peer reads both (``COCO()``, ``loadRes``), evaluates,
accumulates and summarises. Ours opens the set, reads the results and works out COCO's numbers, as ``sightline evaluate
--predictions`` does before it looks at errors (``benchmarks/errors.py``). Each runs in a process of its own. Times are
without imports; memory is the process's largest resident size less what it was after the imports, and that size itself.
The numbers of both must agree within 1e-10. Ends with 1 where a target is missed.
"""

import argparse
import json
import math
import random
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

SPEED_TARGET, MEMORY_TARGET = 50.0, 4.0
SIZE = 480, 640

_RESIDENT = """
import json, sys, time
def resident(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) / 1024
def tell(before, start, numbers):
    seconds = time.perf_counter() - start
    peak = resident("VmHWM")
    print(json.dumps({"seconds": seconds, "peak": peak, "grown": peak - before, "numbers": numbers}))
"""

OURS = (
    _RESIDENT
    + """
from pathlib import Path
import hotcoco, msgspec, numpy
from sightline.evaluation.evaluation import judge_columns
from sightline.evaluation.results import kinds_of, read_results
from sightline.evaluation.truth import open_truth
from sightline.runtime import tune_allocator
before, start = resident("VmRSS"), time.perf_counter()
tune_allocator()
results = Path(sys.argv[2])
kind = kinds_of(results)[0]
split = open_truth(sys.argv[1], "val", kind)
found = read_results(results, split, kind).found
evaluation = judge_columns(split.truth, found, split.classes, split.image_ids, kind=kind)
tell(before, start, list(evaluation.result.metrics().values()))
"""
)

PEER = (
    _RESIDENT
    + """
import contextlib, io
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
before, start = resident("VmRSS"), time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    truth = COCO(sys.argv[1] + "/annotations/instances_val2017.json")
    evaluator = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
    evaluator.evaluate()
    evaluator.accumulate()
    evaluator.summarize()
tell(before, start, [None if value < 0 else float(value) for value in evaluator.stats])
"""
)


def make(folder: Path, images: int, objects: int, detections: int) -> None:
    """The annotation file, the results file and empty picture files."""
    draw = random.Random(0)
    (folder / "annotations").mkdir()
    (folder / "val2017").mkdir()
    entries = [_object(draw, number, images) for number in range(objects)]
    of_image: dict[int, list[dict[str, object]]] = {}
    for entry in entries:
        of_image.setdefault(int(entry["image_id"]), []).append(entry)
    listed = []
    for number in range(images):
        name = f"{number:012d}.jpg"
        (folder / "val2017" / name).touch()
        entry = {"license": 3, "file_name": name, "coco_url": f"http://images.cocodataset.org/val2017/{name}"}
        entry |= {"height": SIZE[0], "width": SIZE[1], "date_captured": "2013-11-14 16:28:13", "id": number}
        listed.append(entry | {"flickr_url": "http://farm5.staticflickr.com/4153/5014840282_4d3d6f3d65_z.jpg"})
    categories = [{"supercategory": "thing", "id": number, "name": f"class {number}"} for number in range(1, 81)]
    document = {"info": {}, "licenses": [], "images": listed, "annotations": entries, "categories": categories}
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    rows = [_row(draw, number * images // detections, of_image) for number in range(detections)]
    (folder / "results.json").write_text(json.dumps(rows))


def _box(draw: random.Random) -> list[float]:
    # Sides as in COCO: many small, few large.
    sides = [math.exp(draw.uniform(math.log(6), math.log(limit))) for limit in (400, 300)]
    return [draw.uniform(0, SIZE[1] - sides[0]), draw.uniform(0, SIZE[0] - sides[1]), *sides]


def _object(draw: random.Random, number: int, images: int) -> dict[str, object]:
    x, y, w, h = _box(draw)
    points = [round(v, 2) for _ in range(draw.randint(10, 48)) for v in (x + draw.random() * w, y + draw.random() * h)]
    crowd = int(draw.random() < 0.01)
    shape: object = {"counts": [SIZE[0] * SIZE[1]], "size": list(SIZE)} if crowd else [points]
    entry = {"segmentation": shape, "area": round(w * h / 2, 4), "iscrowd": crowd, "image_id": draw.randrange(images)}
    return entry | {"bbox": [round(v, 2) for v in (x, y, w, h)], "category_id": draw.randint(1, 80), "id": number + 1}


def _row(draw: random.Random, image: int, of_image: dict[int, list[dict[str, object]]]) -> dict[str, object]:
    own = of_image.get(image)
    box, category, score = _box(draw), draw.randint(1, 80), draw.random() ** 3
    if own and draw.random() < 0.5:
        entry, apart = draw.choice(own), 0.15 * draw.random()
        x, y, w, h = entry["bbox"]  # type: ignore[misc]  # a list of four numbers
        box = [x + draw.gauss(0, apart) * w, y + draw.gauss(0, apart) * h]
        box += [side * math.exp(draw.gauss(0, apart)) for side in (w, h)]
        score = min(0.99999, draw.random() * (1.2 - apart))
        category = entry["category_id"] if draw.random() < 0.8 else category  # type: ignore[assignment]  # a number
    bbox = [round(value, 3) for value in box]
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": round(score, 5)}


@dataclass(frozen=True)
class Measured:
    """What a script says of its run: seconds, MB of memory in all and grown over the imports, COCO's numbers."""

    seconds: float
    peak: float
    grown: float
    numbers: list[float | None]


def measure(code: str, folder: Path) -> Measured:
    """What a script prints about the files, in a process of its own."""
    command = [sys.executable, "-c", code, str(folder), str(folder / "results.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return Measured(**json.loads(done.stdout))


def apart(ours: list[float | None], theirs: list[float | None]) -> float:
    """The largest difference of two lists of numbers; 1 where one has a number and the other none."""
    pairs = zip(ours, theirs, strict=True)
    return max(float(a is not b) if a is None or b is None else abs(a - b) for a, b in pairs)


def main() -> int:
    """Prints a table; 1 where a target is missed or the numbers differ."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5_000)
    parser.add_argument("--objects", type=int, default=36_000)
    parser.add_argument("--detections", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3, help="runs of ours; the median counts")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make(folder, options.images, options.objects, options.detections)
        ours = sorted((measure(OURS, folder) for _ in range(options.rounds)), key=lambda found: found.seconds)
        peer, median = measure(PEER, folder), ours[len(ours) // 2]
        size = (folder / "results.json").stat().st_size >> 20
    print(f"{options.images:,} images, {options.objects:,} objects, {options.detections:,} detections ({size} MB)")
    print(f"{'':<14}{'seconds':>10}{'MB grown':>10}{'MB in all':>11}")
    for what, found in (("pycocotools", peer), ("sightline", median)):
        print(f"{what:<14}{found.seconds:>10.2f}{found.grown:>10.0f}{found.peak:>11.0f}")
    speed, grown, whole = peer.seconds / median.seconds, peer.grown / median.grown, peer.peak / median.peak
    print(f"{speed:.0f} times as fast (target {SPEED_TARGET:g})")
    print(f"{grown:.1f} times less memory grown, {whole:.1f} times less in all (target {MEMORY_TARGET:g} of both)")
    difference = apart(median.numbers, peer.numbers)
    print(f"largest difference of the {len(peer.numbers)} numbers: {difference:.1e}; AP {median.numbers[0]:.4f}")
    return int(speed < SPEED_TARGET or min(grown, whole) < MEMORY_TARGET or difference > 1e-10)


if __name__ == "__main__":
    sys.exit(main())
