"""Masks of 28 x 28 cells pasted into images, against torchvision's ``paste_masks_in_image`` with its threshold.

    python benchmarks/mask_pasting.py

Both give the same masks (IoU at least 0.999, which is looked at first). Two sets of 100 boxes: of all sizes, as a
detector finds them, and all as large as the image, where there is least to save.
"""

import argparse
import json
import sys

import torch
import torch.nn.functional as F
from pairing import HEADER, Result, compare, exit_code
from torchvision.models.detection.roi_heads import paste_masks_in_image

from sightline.geometry.masks import paste_masks

SIZE = (480, 640)
TARGETS = {"100 masks of all sizes": 5.0, "100 masks as large as the image": 1.0}


def _boxes(name: str) -> torch.Tensor:
    limit = torch.tensor([640.0, 480.0, 640.0, 480.0])
    if name == "100 masks as large as the image":
        return torch.rand(100, 4) * 20 + torch.tensor([0.0, 0.0, 620.0, 460.0])
    centre = torch.rand(100, 2) * limit[:2]
    side = torch.exp(torch.rand(100, 2) * 3 + 3)
    return torch.minimum(torch.cat([centre - side / 2, centre + side / 2], dim=1).clamp(min=0), limit)


def measure(name: str, rounds: int) -> Result:
    """One figure, by its name in ``TARGETS``."""
    torch.manual_seed(0)
    masks = F.interpolate(torch.rand(100, 1, 5, 5), (28, 28), mode="bilinear")
    boxes = _boxes(name)

    def peer() -> torch.Tensor:
        return paste_masks_in_image(masks, boxes, SIZE)[:, 0] > 0.5

    def ours() -> torch.Tensor:
        return paste_masks(masks[:, 0], boxes, SIZE)

    theirs, own = peer(), ours()
    either = (theirs | own).flatten(1).sum(dim=1)
    least = float(((theirs & own).flatten(1).sum(dim=1) / either.clamp(min=1))[either > 0].min())
    if least < 0.999:
        raise AssertionError(f"the masks differ: least IoU {least:.4f}")
    return compare(peer, ours, rounds=rounds, target=TARGETS[name], name=name)


def main() -> int:
    """Both figures; gives the exit code, 1 if a target was missed."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=15, help="pairs to time")
    parser.add_argument("--json", action="store_true", help="print one JSON object a figure after the table")
    options = parser.parse_args()
    torch.set_num_threads(2)
    print(HEADER, flush=True)
    results = [measure(name, options.rounds) for name in TARGETS]
    if options.json:
        print(json.dumps([result.to_dict() for result in results], indent=2))
    return exit_code(results)


if __name__ == "__main__":
    sys.exit(main())
