"""Selective Search in its fast mode against OpenCV's, on one core: time in pairs, and the objects that both find.

    python benchmarks/selective_search.py [COCO_TINY] [--images 160] [--json]

COCO_TINY is a folder with train2017, val2017 and annotations; default: that of SIGHTLINE_DATA. Its photographs are
reduced to a longer side of 500 pixels. Each is searched by OpenCV and by ours, one after the other; the ratio is the
median over photographs. Recall is the share of all objects (crowds left out) that a box among the first N overlaps by
an IoU of 0.5 or 0.7, at N of 100, 300 and 1000, and at as many boxes as OpenCV gives each image: ours must find no
fewer.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from pairing import HEADER, seconds_of, summarise

from sightline.data.dataset import open_dataset
from sightline.geometry.iou import pairwise_iou
from sightline.proposals.selective_search import SelectiveSearch

SPEED_TARGET = 2.0
SIDE = 500
COUNTS = (100, 300, 1000, None)
THRESHOLDS = (0.5, 0.7)


def photographs(root: Path, count: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(3, H, W) images and (N, 4) boxes of both splits, in turn."""
    splits = [open_dataset(root, split) for split in ("val", "train")]
    found = []
    for index in range(-(-count // 2)):
        for split in splits:
            sample = split[index]
            factor = SIDE / max(sample.target.size)
            height, width = (round(side * factor) for side in sample.target.size)
            image = F.interpolate(sample.image[None], (height, width), mode="bilinear", antialias=True)[0]
            found.append((image, sample.target.boxes[~sample.target.ignore] * factor))
    return found[:count]


def opencv(image: np.ndarray) -> torch.Tensor:
    """Boxes of OpenCV's fast mode, best first; the image is (H, W, 3) BGR."""
    search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
    search.setBaseImage(image)
    search.switchToSelectiveSearchFast()
    boxes = torch.from_numpy(search.process().astype(np.float32))
    boxes[:, 2:] += boxes[:, :2]
    return boxes


def best_overlaps(truth: torch.Tensor, boxes: torch.Tensor, count: int) -> torch.Tensor:
    """(N,) the greatest IoU of each object with the first boxes."""
    if len(boxes) == 0:
        return torch.zeros(len(truth))
    return pairwise_iou(truth, boxes[:count]).amax(dim=1)


def recalls(images: Sequence[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]) -> list[dict[str, float | str]]:
    """The recall of both at every count and threshold, from (truth, OpenCV's boxes, our boxes) of each image."""
    rows: list[dict[str, float | str]] = []
    for count in COUNTS:
        theirs, ours = (
            torch.cat([best_overlaps(each[0], each[which], count or len(each[1])) for each in images if len(each[0])])
            for which in (1, 2)
        )
        for threshold in THRESHOLDS:
            peer, own = (float((overlaps >= threshold).double().mean()) for overlaps in (theirs, ours))
            rows.append({"boxes": count or "OpenCV's", "iou": threshold, "peer": peer, "ours": own})
    return rows


def main() -> int:
    """Measures and prints; 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    known = Path(os.environ["SIGHTLINE_DATA"]) / "datasets" / "coco_tiny" if "SIGHTLINE_DATA" in os.environ else None
    parser.add_argument("root", type=Path, nargs="?", default=known)
    parser.add_argument("--images", type=int, default=160)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.root is None:
        print("skipped: give the folder of coco_tiny, or set SIGHTLINE_DATA")
        return 0
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    images = photographs(options.root, options.images)
    search = SelectiveSearch()
    began = time.perf_counter()
    search.propose(images[0][0], 1)
    print(
        f"the first call, with its compilation or the reading of what was compiled: {time.perf_counter() - began:.1f} s"
    )
    opencv(np.ascontiguousarray(images[0][0].permute(1, 2, 0).numpy()[:, :, ::-1]))
    peer_times, our_times, found = [], [], []
    for image, truth in images:
        pixels = np.ascontiguousarray(image.permute(1, 2, 0).numpy()[:, :, ::-1])
        results: dict[str, torch.Tensor] = {}
        peer_times.append(seconds_of(lambda: results.update(peer=opencv(pixels))))  # noqa: B023  # called at once
        our_times.append(seconds_of(lambda: results.update(ours=search.propose(image, 100_000).boxes)))  # noqa: B023
        found.append((truth, results["peer"], results["ours"]))
    speed = summarise(peer_times, our_times, target=SPEED_TARGET, name="selective search, fast")
    rows = recalls(found)
    missed = [row for row in rows if row["ours"] < row["peer"]]
    if options.json:
        print(json.dumps({"speed": speed.to_dict(), "recall": rows}))
    else:
        print(HEADER, speed.line(), sep="\n")
        peers, ours = (int(np.median([len(each[which]) for each in found])) for which in (1, 2))
        print(f"boxes of an image, median: OpenCV {peers}, ours {ours}")
        for row in rows:
            verdict = "FAIL" if row in missed else "pass"
            print(
                f"recall at IoU {row['iou']} of {row['boxes']!s:>8} boxes: "
                f"OpenCV {row['peer']:.4f}, ours {row['ours']:.4f} {verdict}"
            )
    return 0 if speed.passed and not missed else 1


if __name__ == "__main__":
    sys.exit(main())
