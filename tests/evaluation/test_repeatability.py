import math

import numpy as np
import pytest
import torch
from proposers_fabricated import Blobs, Relative, Restless

from sightline.evaluation.perturbations import KINDS, Blur, Rotation, Scale
from sightline.evaluation.repeatability import GROUPS, Repeated, repeatability, size_groups


def images() -> list[torch.Tensor]:
    """Of several sizes."""
    generator = torch.Generator().manual_seed(0)
    sizes = ((48, 64), (64, 48), (90, 121))
    return [torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8) for size in sizes]


def test_no_change_is_found_again_wholly():
    nothing = (Scale(1.0), Rotation(0.0))
    for proposer in (Relative(), Restless()):
        found = repeatability(proposer, images(), 100, perturbations=nothing)
        assert [change.repeatability for change in found.changes] == pytest.approx([1.0, 1.0], abs=1e-4)
        assert found.mean == pytest.approx(1.0, abs=1e-4)
        assert (found.images, found.count) == (3, 100)


def test_what_scales_with_the_image_is_found_again_and_what_is_drawn_is_not():
    changes = (Scale(0.5), Scale(0.9), Scale(2.0))
    steady = repeatability(Relative(), images(), 100, perturbations=changes)
    assert min(change.repeatability for change in steady.changes) > 0.999
    restless = repeatability(Restless(), images(), 100, perturbations=changes)
    assert max(change.repeatability for change in restless.changes) < 0.35


def test_what_sticks_to_the_picture_turns_with_it():
    # A square in a dark picture; the turned square's own box is larger than it: IoU 1 / (cos + sin)^2 at the centre.
    image = torch.zeros(3, 200, 240, dtype=torch.uint8)
    image[:, 80:120, 100:140] = 255
    found = repeatability(Blobs(), [image], 10, perturbations=(Rotation(-10.0), Rotation(20.0), Blur(1.0)))
    for change, degrees in zip(found.changes, (10, 20), strict=False):
        angle = math.radians(degrees)
        assert change.repeatability == pytest.approx(1 / (math.cos(angle) + math.sin(angle)) ** 2, abs=0.06)
    assert found.changes[2].repeatability == 1.0


def test_sizes_are_relative_to_the_image_and_each_group_counts_the_same():
    boxes = torch.tensor([[0, 0, 10, 10], [0, 0, 100, 100], [0, 0, 50, 50], [0, 0, 49, 50.0]])
    assert size_groups(boxes, (100, 100)).tolist() == [1, 9, 5, 4]
    assert size_groups(boxes * 3, (300, 300)).tolist() == [1, 9, 5, 4]
    # Nine small boxes that are lost and one large box that is found: 1/2, not 1/10.
    repeated = Repeated(Blur(1.0), np.array([0.0] * 9 + [1.0]), np.array([0] * 9 + [7]))
    assert repeated.repeatability == 0.5
    by_group = repeated.by_group()
    assert len(by_group) == GROUPS and by_group[0] == 0 and by_group[7] == 1 and np.isnan(by_group[1:7]).all()


def test_repeatability_is_the_area_under_recall_over_iou():
    rng = np.random.default_rng(0)
    overlaps = rng.random(40)
    repeated = Repeated(Blur(1.0), overlaps, np.full(40, 3))
    steps = np.linspace(0, 1, 10_001)
    recall = [(overlaps >= step).mean() for step in steps]
    assert repeated.repeatability == pytest.approx(np.trapezoid(recall, steps), abs=1e-3)


def test_nothing_proposed_has_no_repeatability():
    dark = torch.zeros(3, 20, 20, dtype=torch.uint8)
    found = repeatability(Blobs(), [dark], 10)
    assert math.isnan(found.mean)
    document = found.to_dict()
    assert document["mean"] is None and set(document["by_kind"]) == set(KINDS)
