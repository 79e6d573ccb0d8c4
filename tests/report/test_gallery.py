from dataclasses import replace
from io import BytesIO

import pytest
import torch
from PIL import Image
from report_fabricated import Images, judged

from sightline.evaluation.evaluate import judge
from sightline.evaluation.evaluation import DEFAULT_THRESHOLD
from sightline.report import gallery as gallery_module
from sightline.report.gallery import LARGEST_FILE, gallery
from sightline.structures import Detections, Target


def test_best_worst_and_random_pictures_without_repetition():
    data = Images(8)
    pictures = gallery(judged(data, [2, 1, 2, 2, 2, 1, 0, 2]), data, count=2)
    by_kind = {kind: [p.image_id for p in pictures if p.kind == kind] for kind in ("best", "worst", "random")}
    assert sorted(by_kind["best"]) == [10, 12]
    assert sorted(by_kind["worst"]) == [15, 16]
    assert len(by_kind["random"]) == 2
    assert len({p.image_id for p in pictures}) == 6


def test_the_score_is_f1_at_the_best_threshold():
    data = Images(3)
    pictures = {p.image_id: p for p in gallery(judged(data, [2, 1, 0]), data, count=1)}
    # At the threshold 0.9 the first detection of each image is kept: one right of two objects, or one wrong.
    best, worst = pictures[10], pictures[12]
    assert (best.objects, best.found, best.wrong) == (2, 2, 0)
    assert (best.f1, best.overlap) == (1.0, 1.0)
    assert (worst.f1, worst.found, worst.overlap) == (0.0, 0, 0.0)


def test_the_random_choice_follows_the_seed():
    data = Images(30)
    evaluation = judged(data, [1] * 30)
    chosen = [[p.image_id for p in gallery(evaluation, data, count=1, seed=s) if p.kind == "random"] for s in (0, 0, 1)]
    assert chosen[0] == chosen[1] != chosen[2]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_images_are_shown_once(count):
    data = Images(count)
    assert len(gallery(judged(data, [1] * count), data)) == count


def test_pictures_are_small_files_with_two_halves():
    data = Images(1, height=700, width=900)
    picture = gallery(judged(data, [1]), data)[0]
    with Image.open(BytesIO(picture.jpeg)) as image:
        assert image.format == "JPEG"
        assert image.width > 2 * gallery_module.LARGEST_SIDE
    # Noise is the worst case of JPEG; photographs end far below.
    assert len(picture.jpeg) < 3 * LARGEST_FILE


def test_without_a_right_detection_the_threshold_is_a_default():
    data = Images(2)
    evaluation = judge([Detections.empty(record.size) for record in data.records], data)
    assert evaluation.shown_threshold == DEFAULT_THRESHOLD
    assert [p.wrong for p in gallery(evaluation, data)] == [0, 0]


def test_missed_objects_and_wrong_detections_have_broken_lines(monkeypatch):
    data, calls = Images(1), []
    monkeypatch.setattr(
        gallery_module, "draw", lambda image, boxes, names, scores, **o: calls.append((names, o["dashed"])) or image
    )
    gallery(judged(data, [1]), data)
    # The threshold is 0.9, so the wrong second detection is not shown.
    assert calls == [(["cat", "dog"], [False, True]), (["cat"], [False])]
    calls.clear()
    gallery(judged(data, [1], scores=(0.9, 0.9)), data)
    assert calls[1] == (["cat", "dog"], [False, True])


class Masked(Images):
    """The same pictures with masks of the objects, and two keypoints each."""

    def target(self, index):
        target = super().target(index)
        masks = torch.zeros(2, *target.size, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, target.boxes.long().tolist(), strict=True):
            mask[y1:y2, x1:x2] = True
        points = torch.cat([target.boxes.view(2, 2, 2), torch.full((2, 2, 1), 2.0)], dim=2)
        return replace(target, masks=masks, keypoints=points)


def test_masks_and_keypoints_are_drawn_at_the_size_of_the_picture(monkeypatch):
    data, shown = Masked(1), []
    target = data.target(0)
    found = Detections(
        target.boxes, torch.tensor([0.9, 0.8]), target.labels, target.size, target.masks, target.keypoints
    )

    def noted(image, boxes, *arguments, masks=None, keypoints=None, **options):
        shown.append((image.shape[1:], boxes, masks, keypoints))
        return image

    monkeypatch.setattr(gallery_module, "draw", noted)
    gallery(judge([found], data), data)
    assert len(shown) == 2
    for size, boxes, masks, keypoints in shown:
        assert masks.shape == (2, *size)
        x1, y1, x2, y2 = boxes[0].round().long().tolist()
        assert masks[0, y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all()
        assert int(masks[0].sum()) < 1.1 * (x2 - x1) * (y2 - y1)
        torch.testing.assert_close(keypoints[..., :2].flatten(1), boxes)


def test_an_image_without_objects_is_not_among_the_best():
    """It is right where nothing is found in it, but shows nothing of what the detector can."""

    class Half(Images):
        def target(self, index):
            target = super().target(index)
            return target if index % 2 else Target.empty(target.size)

    data = Half(6)
    # One of two objects: F1 is 0.67, less than the 1 of an empty image.
    firsts = [data.target(index).select(slice(0, 1)) for index in range(6)]
    found = [Detections(first.boxes, torch.full((len(first.boxes),), 0.9), first.labels, (60, 90)) for first in firsts]
    pictures = gallery(judge(found, data), data, count=2)
    by_kind = {kind: [p.image_id for p in pictures if p.kind == kind] for kind in ("best", "worst", "random")}
    assert by_kind["best"] == [11, 13] and 15 in by_kind["worst"]
    assert len({p.image_id for p in pictures}) == len(pictures)
