"""How long a COCO annotation file takes to open, and how much memory, against pycocotools' ``COCO()``.

Files like COCO's training annotations are made (images, objects with polygons of the usual length); each is opened in
a process of its own, peer and ours in turns. Times are of the opening alone, without imports; memory is the process's
largest resident size with all imports, and its growth by the opening. Run with no arguments for 10k, 100k and 1M
objects; ``--coco`` for the size of train2017 with the second opening and four worker processes.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

TRAIN2017 = 118_287, 860_001
SPEED_TARGET, MEMORY_TARGET = 3.0, 2.0
HEADER = "  objects    MB  peer s  ours s  ratio  peer MB  ours MB  peer grown  ours grown  ratio"

OURS = """
import sys, time, resource
from sightline.data.opening import open_split
def resident(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) // 1024
before, start = resident("VmRSS"), time.perf_counter()
data = open_split(sys.argv[1])
seconds = time.perf_counter() - start
print(seconds, resident("VmHWM"), resident("VmHWM") - before, len(data.index.boxes))
"""

PEER = """
import sys, time, contextlib, io
from pycocotools.coco import COCO
def resident(name):
    return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1]) // 1024
before, start = resident("VmRSS"), time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    data = COCO(sys.argv[1])
seconds = time.perf_counter() - start
print(seconds, resident("VmHWM"), resident("VmHWM") - before, len(data.anns))
"""

WORKERS = """
import sys, os
import torch.multiprocessing as mp
from sightline.data.dataset import open_dataset
def private():
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private")) // 1024
def work(data, worker, queue):
    start = private()
    total = sum(int(record.labels.sum()) + len(record.path.name) for record in data.records[worker::4])
    queue.put((start, private(), total))
data = open_dataset(sys.argv[1])
context = mp.get_context("fork")
queue = context.Queue()
workers = [context.Process(target=work, args=(data, worker, queue)) for worker in range(4)]
for worker in workers: worker.start()
found = [queue.get() for _ in workers]
for worker in workers: worker.join()
print(private(), *[f"{end}" for _, end, _ in found])
"""


def make(folder: Path, images: int, objects: int) -> Path:
    """A file with polygons of about 29 points each, and empty image files."""
    draw = random.Random(0)
    place = folder / f"set{objects}"
    (place / "train2017").mkdir(parents=True)
    (place / "annotations").mkdir()
    path = place / "annotations" / "instances_train2017.json"
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {"description": "made"}, "licenses": [], "images": [')
        for number in range(images):
            name = f"{number:012d}.jpg"
            (place / "train2017" / name).touch()
            entry = {"license": 3, "file_name": name, "coco_url": f"http://images.cocodataset.org/train2017/{name}"}
            entry |= {"height": 480, "width": 640, "date_captured": "2013-11-14 16:28:13", "id": number}
            entry["flickr_url"] = "http://farm5.staticflickr.com/4153/5014840282_4d3d6f3d65_z.jpg"
            file.write((", " if number else "") + json.dumps(entry))
        file.write('], "annotations": [')
        for number in range(objects):
            x, y = draw.uniform(0, 500), draw.uniform(0, 400)
            w, h = draw.uniform(5, 139), draw.uniform(5, 79)
            points = [
                round(v, 2) for _ in range(draw.randint(10, 48)) for v in (x + draw.random() * w, y + draw.random() * h)
            ]
            entry = {"segmentation": [points], "area": round(w * h / 2, 4), "iscrowd": 0}
            entry |= {"image_id": draw.randrange(images), "bbox": [round(v, 2) for v in (x, y, w, h)]}
            entry |= {"category_id": draw.randint(1, 80), "id": number + 1}
            file.write((", " if number else "") + json.dumps(entry))
        categories = [{"supercategory": "thing", "id": i, "name": f"class {i}"} for i in range(1, 81)]
        file.write(f'], "categories": {json.dumps(categories)}}}')
    return path


def measure(code: str, path: Path, cache: Path) -> list[float]:
    """What a script prints about a file, in a process of its own."""
    environment = os.environ | {"SIGHTLINE_CACHE": str(cache)}
    command = [sys.executable, "-c", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return [float(word) for word in done.stdout.split()]


def main() -> int:
    """Prints a table; 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", action="store_true", help="the size of train2017: second opening and workers too")
    parser.add_argument("--rounds", type=int, default=2, help="pairs; the median counts")
    parser.add_argument("--objects", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    missed = 0
    with tempfile.TemporaryDirectory() as folder:
        print(HEADER)
        sizes = [TRAIN2017] if options.coco else [(objects // 7 + 1, objects) for objects in options.objects]
        for images, objects in sizes:
            path = make(Path(folder), images, objects)
            pairs = [
                (measure(PEER, path, Path(folder)), measure(OURS, path, Path(folder) / f"cache{objects}-{number}"))
                for number in range(options.rounds)
            ]
            peer, ours = (sorted(pair[side] for pair in pairs)[len(pairs) // 2] for side in (0, 1))
            speed, memory = peer[0] / ours[0], peer[2] / max(1, ours[2])
            missed |= speed < SPEED_TARGET or memory < MEMORY_TARGET
            print(
                f"{objects:>9,} {path.stat().st_size >> 20:>5} {peer[0]:>7.2f} {ours[0]:>7.2f} {speed:>6.1f} "
                f"{peer[1]:>8.0f} {ours[1]:>8.0f} {peer[2]:>11.0f} {ours[2]:>11.0f} {memory:>6.1f}"
            )
            if options.coco:
                again = measure(OURS, path, Path(folder) / f"cache{objects}-0")
                print(f"second opening, from the cache: {again[0]:.2f} s, {again[1]:.0f} MB")
                shared = measure(WORKERS, path, Path(folder) / f"cache{objects}-0")
                each = ", ".join(f"{value:.0f}" for value in shared[1:])
                print(f"memory of its own, MB: the process {shared[0]:.0f}; four workers that read all records {each}")
                missed |= ours[0] > 10 or ours[1] > 600 or again[0] > 1
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
