"""Made results of one image for the tests of fusion."""

import torch

from sightline.structures import Detections

SIZE = (100, 120)


def result(*rows: tuple[float, ...], **more: object) -> Detections:
    """A result from rows of x1, y1, x2, y2, score, label, best first."""
    table = torch.tensor(rows, dtype=torch.float64).reshape(-1, 6)
    return Detections(table[:, :4].float(), table[:, 4].float(), table[:, 5].long(), SIZE, **more)


def random_result(seed: int, count: int = 30, classes: int = 2) -> Detections:
    """Boxes in heaps, so that many overlap, with scores in twentieths, so that some are equal."""
    generator = torch.Generator().manual_seed(seed)
    heap = torch.randint(0, 4, (count, 1), generator=generator) * 20.0
    low = heap + torch.rand(count, 2, generator=generator) * 8
    boxes = torch.cat([low, low + 15 + torch.rand(count, 2, generator=generator) * 8], dim=1)
    scores = (torch.randint(1, 21, (count,), generator=generator) / 20).sort(descending=True).values
    return Detections(boxes, scores, torch.randint(0, classes, (count,), generator=generator), SIZE)


def rows_of(found: Detections, digits: int = 4) -> list[tuple[float, ...]]:
    """What was found as a sorted list of rounded rows."""
    table = torch.cat([found.boxes, found.scores[:, None], found.labels[:, None].float()], dim=1)
    return sorted(tuple(round(value, digits) for value in row) for row in table.tolist())


def assert_same(first: Detections, second: Detections, tolerance: float = 1e-4) -> None:
    """Two results hold the same detections, whatever the order of equal scores."""
    a, b = (torch.tensor(rows_of(each, 3)).reshape(-1, 6) for each in (first, second))
    assert a.shape == b.shape
    assert torch.allclose(a, b, atol=max(tolerance, 2e-3))
