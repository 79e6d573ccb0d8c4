"""SSD's crop: what it promises of each window, and that the vectorised search is the plain loop."""

import numpy as np
import pytest
import torch

from sightline.transforms.crop import IoUCrop, draw_windows, overlaps

BOXES = torch.tensor([[10.0, 20, 200, 150], [300, 100, 420, 380], [5, 5, 25, 30]])
SIZE = (400, 600)


def slow_overlap(window: np.ndarray, boxes: np.ndarray) -> float:
    best = -1.0
    for x1, y1, x2, y2 in boxes:
        if window[0] < (x1 + x2) / 2 < window[2] and window[1] < (y1 + y2) / 2 < window[3]:
            width = max(0.0, min(x2, window[2]) - max(x1, window[0]))
            height = max(0.0, min(y2, window[3]) - max(y1, window[1]))
            total = (x2 - x1) * (y2 - y1) + (window[2] - window[0]) * (window[3] - window[1])
            best = max(best, width * height / (total - width * height))
    return best


def test_overlaps_agree_with_a_slow_loop() -> None:
    windows = draw_windows(SIZE, (0.1, 1.0), 200, np.random.default_rng(0))
    expected = [slow_overlap(window, BOXES.numpy()) for window in windows]
    np.testing.assert_allclose(overlaps(windows, BOXES.numpy().astype(np.float64)), expected, atol=1e-12)
    assert -1.0 in expected and max(expected) > 0.5


@pytest.mark.parametrize("min_iou", [0.0, 0.1, 0.3, 0.5])
def test_windows_keep_the_promise(min_iou: float) -> None:
    crop = IoUCrop((min_iou,))
    found = 0
    for seed in range(30):
        window = crop.draw(BOXES, SIZE, np.random.default_rng(seed))
        if window is None:
            continue
        found += 1
        x1, y1, x2, y2 = window
        assert 0 <= x1 < x2 <= SIZE[1] and 0 <= y1 < y2 <= SIZE[0]
        assert 0.5 <= (x2 - x1) / (y2 - y1) <= 2.0
        assert x2 - x1 >= 0.3 * SIZE[1] - 1 and y2 - y1 >= 0.3 * SIZE[0] - 1
        assert slow_overlap(np.array(window), BOXES.numpy()) >= min_iou
    assert found > 20


def test_it_leaves_alone_what_it_cannot_crop() -> None:
    rng = np.random.default_rng(0)
    assert IoUCrop().draw(torch.zeros(0, 4), SIZE, rng) is None
    assert IoUCrop((1.0,)).draw(BOXES, SIZE, rng) is None
    assert IoUCrop((0.99,)).draw(BOXES, SIZE, rng) is None  # no window can, and the search ends
    assert IoUCrop().draw(torch.tensor([[0.0, 0, 1, 1]]), (20000, 20), rng) is None  # no window has the proportions


def test_the_option_to_leave_an_image_counts_like_the_others() -> None:
    rng = np.random.default_rng(0)
    left = sum(IoUCrop((0.0, 1.0)).draw(BOXES, SIZE, rng) is None for _ in range(400))
    assert 160 < left < 240


def test_windows_fill_the_ranges() -> None:
    windows = draw_windows((100, 100), (0.3, 1.0), 4000, np.random.default_rng(0))
    sides = windows[:, 2:] - windows[:, :2]
    assert sides.min() == 30 and sides.max() == 99 and abs(sides.mean() - 64.5) < 1
    assert windows.min() == 0 and (windows[:, 2:] <= 100).all()
    assert (draw_windows((1, 1), (0.3, 1.0), 5, np.random.default_rng(0)) == [0, 0, 1, 1]).all()
