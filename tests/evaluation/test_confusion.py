import numpy as np
import pytest
from splits_fabricated import covered, found_from, iou, split_from, truth_from

from sightline.evaluation.confusion import confusion
from sightline.evaluation.matching import match_columns

NAMES = ("cat", "dog", "emu")


def slow_matrix(truth, found, threshold, least):
    """By plain loops; the matrix and how many detections are left out."""
    matrix, left_out = np.zeros((len(NAMES) + 1, len(NAMES) + 1), int), 0
    for image in range(truth.count):
        objects = [g for g in range(len(truth)) if truth.images[g] == image]
        free = [g for g in objects if not truth.ignore[g]]
        rows = [d for d in range(len(found)) if found.images[d] == image and found.scores[d] >= threshold]
        for d in rows:
            overlaps = {g: iou(found.boxes[d], truth.boxes[g]) for g in free}
            near = [g for g in free if overlaps[g] >= least]
            own = [g for g in near if truth.labels[g] == found.labels[d]]
            regions = [g for g in objects if truth.ignore[g] and truth.labels[g] == found.labels[d]]
            if not own and any(covered(found.boxes[d], truth.boxes[g]) >= least for g in regions):
                left_out += 1
                continue
            best = max(own or near, key=lambda g: (overlaps[g], g), default=None)
            if best is None:
                matrix[-1, found.labels[d]] += 1
            else:
                free.remove(best)
                matrix[truth.labels[best], found.labels[d]] += 1
        for g in free:
            matrix[truth.labels[g], -1] += 1
    return matrix, left_out


@pytest.mark.parametrize("seed", range(25))
@pytest.mark.parametrize(("threshold", "least"), [(0.0, 0.5), (0.6, 0.5), (0.3, 0.75)])
def test_the_matrix_is_that_of_a_plain_loop(seed, threshold, least):
    truth, found = split_from(seed, near=0.5)
    ours = confusion(truth, found, NAMES, threshold, least)
    matrix, left_out = slow_matrix(truth, found, threshold, least)
    assert ours.counts.tolist() == matrix.tolist()
    assert ours.left_out == left_out


@pytest.mark.parametrize("seed", range(10))
def test_with_one_class_it_is_the_matching_of_average_precision(seed):
    truth, found = split_from(seed, classes=1)
    matches = match_columns(truth, found)
    counts = confusion(truth, found, ("cat",), 0.0).counts
    missed = (~matches.found & ~truth.ignore).sum()
    wrong = (matches.counted & ~matches.correct).sum()
    assert counts.tolist() == [[matches.correct.sum(), missed], [wrong, 0]]


def test_a_rider_is_not_confused_with_the_horse():
    truth = truth_from(1, [(0, 0, (0, 0, 100, 100), False), (0, 1, (0, 0, 100, 120), False)])
    # Each box lies closer to the other's object.
    found = found_from(1, [(0, (0, 0, 100, 118), 0, 0.9), (0, (0, 0, 100, 102), 1, 0.8)])
    assert confusion(truth, found, NAMES, 0.5).counts[:2, :2].tolist() == [[1, 0], [0, 1]]


def test_what_is_said_of_a_class():
    boxes = [(100 * k, 0, 100 * k + 50, 50) for k in range(6)]
    truth = truth_from(1, [(0, 0, box, False) for box in boxes[:5]])
    labels = [0, 1, 1, 2, 0]
    rows = [(0, box, label, 0.9) for box, label in zip([*boxes[:4], boxes[5]], labels, strict=True)]
    ours = confusion(truth, found_from(1, [*rows, (0, boxes[4], 0, 0.1)]), NAMES, 0.5)
    cat, dog, _ = ours.per_class
    assert (cat.objects, cat.found, cat.missed, cat.false_alarms) == (5, 1, 1, 1)
    assert cat.confused_with == (("dog", 2), ("emu", 1))
    assert (dog.objects, dog.confused_with) == (0, ())
    assert ours.most_confused == (("cat", "dog", 2), ("cat", "emu", 1))


def test_what_is_said_of_a_size():
    small, medium, large = (0, 0, 31, 33), (100, 0, 132, 32), (200, 0, 296, 96)  # 1023, 32² and 96² pixels
    truth = truth_from(1, [(0, 0, box, False) for box in (small, medium, large)])
    rows = [(0, medium, 0, 0.9), (0, large, 1, 0.9), (0, (300, 300, 310, 310), 0, 0.9), (0, (0, 100, 99, 199), 2, 0.9)]
    found = [vars(size) for size in confusion(truth, found_from(1, rows), NAMES, 0.5).by_size]
    names = ("name", "objects", "found", "missed", "confused", "false_alarms")
    assert [tuple(size[name] for name in names) for size in found] == [
        ("small", 1, 0, 1, 0, 1),
        ("medium", 1, 1, 0, 0, 0),
        ("large", 1, 0, 0, 1, 1),
    ]


@pytest.mark.parametrize("seed", range(10))
def test_sizes_add_up_to_the_matrix(seed):
    ours = confusion(*split_from(seed, near=0.5), NAMES, 0.3)
    inner = ours.counts[:-1, :-1]
    for name, count in (
        ("found", inner.trace()),
        ("confused", inner.sum() - inner.trace()),
        ("missed", ours.counts[:, -1].sum()),
        ("false_alarms", ours.counts[-1].sum()),
        ("objects", ours.counts[:-1].sum()),
    ):
        assert sum(getattr(size, name) for size in ours.by_size) == count


def test_more_detections_than_count_for_average_precision():
    truth = truth_from(1, [(0, 0, (0, 0, 50, 50), False)])
    alarms = [(0, (100, 100, 150, 150), 1, 0.9)] * 150
    ours = confusion(truth, found_from(1, [*alarms, (0, (0, 0, 50, 50), 0, 0.5)]), NAMES, 0.0)
    assert ours.counts[0, 0] == 1
    assert ours.counts[-1].tolist() == [0, 150, 0, 0]


@pytest.mark.parametrize(("images", "names"), [(0, ()), (0, NAMES), (3, NAMES)])
def test_nothing_is_legal(images, names):
    ours = confusion(truth_from(images, []), found_from(images, []), names, 0.5)
    assert ours.counts.sum() == 0
    assert len(ours.per_class) == len(names)
    assert ours.most_confused == ()
    with pytest.raises(ValueError, match="targets but detections"):
        confusion(truth_from(images, []), found_from(images + 1, []), names, 0.5)
