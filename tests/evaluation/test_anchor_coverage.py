"""Coverage by anchors against a slow loop, and the shares by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from sightline.contract import Anchors
from sightline.data.details import Details
from sightline.data.records import Index
from sightline.data.strings import Strings
from sightline.evaluation import anchor_coverage as module
from sightline.evaluation.anchor_coverage import anchor_coverage, best_overlaps
from sightline.structures import Classes, Size

BOXES = [[0, 0, 10, 10], [5, 5, 45, 45], [30, 10, 32, 90], [0, 0, 20, 20], [1, 1, 3, 3]]


def index() -> Index:
    """Two images of one size with two objects and one, and one of another size with two, one of them ignored."""
    boxes = np.asarray(BOXES, np.float32)
    return Index(
        Classes(("cat", "dog"), (1, 2)),
        Path("images"),
        Strings.of(["a.jpg", "b.jpg", "c.jpg"]),
        np.asarray([7, 8, 9]),
        np.asarray([[100, 100], [50, 60], [100, 100]], np.int32),
        np.asarray([0, 2, 4, 5]),
        boxes,
        np.asarray([0, 1, 1, 0, 0]),
        np.asarray([False, False, False, True, False]),
        (boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        np.zeros(5, np.bool_),
        np.zeros((5, 2), np.int64),
        Details.in_memory(b""),
    )


def anchors_of(size: Size) -> Anchors:
    """One square of 20 at every tenth pixel."""
    grid = [(x, y, x + 20, y + 20) for x in range(0, size[1], 10) for y in range(0, size[0], 10)]
    return Anchors(torch.tensor(grid, dtype=torch.float32), 0.7, 0.3, keeps_best=True)


def overlap(a: list[float], b: list[float]) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def test_the_best_overlaps_are_those_of_a_slow_loop() -> None:
    found = anchor_coverage(index(), anchors_of)
    assert found.objects.tolist() == [0, 1, 2, 4]
    for place, row in enumerate(found.objects.tolist()):
        size = (50, 60) if row in (2, 3) else (100, 100)
        best = max(overlap(BOXES[row], anchor) for anchor in anchors_of(size).boxes.tolist())
        assert abs(float(found.overlaps[place]) - best) < 1e-6


def test_chunks_make_no_difference(monkeypatch) -> None:
    boxes = torch.rand(37, 4, generator=torch.Generator().manual_seed(0)) * 50
    boxes[:, 2:] += boxes[:, :2]
    whole = best_overlaps(boxes, anchors_of((100, 100)).boxes)
    monkeypatch.setattr(module, "_PAIRS_AT_ONCE", 300)
    assert torch.equal(best_overlaps(boxes, anchors_of((100, 100)).boxes), whole)
    assert best_overlaps(boxes, torch.zeros(0, 4)).tolist() == [0.0] * 37


def test_anchors_are_asked_for_once_a_size() -> None:
    asked: list[Size] = []

    def counting(size: Size) -> Anchors:
        asked.append(size)
        return anchors_of(size)

    anchor_coverage(index(), counting)
    assert sorted(asked)[-2:] == [(50, 60), (100, 100)] and len(asked) == len(set(asked))


def test_shares_by_hand() -> None:
    found = replace(anchor_coverage(index(), anchors_of), overlaps=np.asarray([0.7, 0.69, 0.3, 0.29], np.float32))
    assert found.overall() == module.Share("all", 4, 1, 2, 1)
    assert found.by_class() == (module.Share("cat", 2, 1, 0, 1), module.Share("dog", 2, 0, 2, 0))
    assert [share.objects for share in found.by_size()] == [3, 1, 0]
    worst = found.to_dict(worst=1)["worst"]
    assert worst[0]["image"] == str(Path("images/c.jpg")) and worst[0]["object"] == 0
    assert (worst[0]["class"], worst[0]["box"], worst[0]["image_id"]) == ("cat", [1, 1, 3, 3], 9)


def test_a_part_of_the_images() -> None:
    found = anchor_coverage(index(), anchors_of, np.asarray([1]))
    assert (found.objects.tolist(), found.images_looked_at) == ([2], 1)
    nothing = anchor_coverage(index(), anchors_of, np.zeros(0, np.int64))
    assert nothing.overall() == module.Share("all", 0, 0, 0, 0)
    assert nothing.to_dict()["worst"] == []
