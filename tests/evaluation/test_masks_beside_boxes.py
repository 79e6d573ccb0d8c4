"""Masks and keypoints are judged beside boxes, on the same detections."""

from dataclasses import dataclass

import pytest
import torch

from sightline.contract import System
from sightline.evaluation.columns import found_of, truth_of
from sightline.evaluation.evaluate import evaluate, judge, predict_columns
from sightline.structures import Classes, Detections, Sample, Target

SIZE = (60, 80)


@dataclass(frozen=True)
class Record:
    image_id: int
    size: tuple[int, int] = SIZE


class Triangles:
    """Three pictures: one with two objects, one with one, one with none; masks are lower halves of boxes."""

    classes = Classes(("one", "other"))

    def __init__(self, *, masks=True, keypoints=True):
        self.records = [Record(index) for index in range(3)]
        self.masks, self.keypoints = masks, keypoints

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return Sample(torch.full((3, *SIZE), index, dtype=torch.uint8), self.target(index), index)

    def target(self, index):
        boxes = torch.tensor([[10.0, 10, 50, 50], [30, 20, 70, 56]])[: (2, 1, 0)[index]]
        masks = torch.zeros(len(boxes), *SIZE, dtype=torch.bool)
        for mask, (x1, y1, x2, y2) in zip(masks, boxes.long().tolist(), strict=True):
            mask[(y1 + y2) // 2 : y2, x1:x2] = True
        corners = torch.cat([boxes[:, None, :2], boxes[:, None, 2:]], dim=1)
        keypoints = torch.cat([corners, torch.full((len(boxes), 2, 1), 2.0)], dim=2)
        return Target(
            boxes,
            torch.arange(len(boxes)),
            SIZE,
            masks=masks if self.masks else None,
            keypoints=keypoints if self.keypoints else None,
        )


class Finder(System[Detections]):
    """Reads the truth off the colour; its masks are whole boxes, or its keypoints are 40 pixels off."""

    name = "finder"
    task = "detection"
    classes = Triangles.classes
    finds = ("boxes", "masks", "keypoints")

    def __init__(self, *, whole=False, off=0.0):
        self.whole, self.off = whole, off

    def predict(self, images):
        return [self._result(Triangles().target(int(image[0, 0, 0]))) for image in images]

    def _result(self, truth):
        masks = truth.masks.clone()
        for mask, (x1, y1, x2, y2) in zip(masks if self.whole else [], truth.boxes.long().tolist(), strict=self.whole):
            mask[y1:y2, x1:x2] = True
        shift = torch.tensor([self.off, 0, 0])
        scores = torch.full((len(truth),), 0.9)
        return Detections(truth.boxes, scores, truth.labels, SIZE, masks, truth.keypoints + shift)

    def recipe(self):
        raise NotImplementedError


def test_what_is_right_has_an_ap_of_one_by_every_kind():
    evaluation = evaluate(Finder(), Triangles())
    metrics = evaluation.metrics()
    assert [metrics[name] for name in ("AP", "masks_AP", "keypoints_AP")] == pytest.approx([1.0, 1.0, 1.0])
    document = evaluation.to_dict()
    assert document["also"]["masks"]["protocol"] != document["protocol"]
    assert "segm" in document["also"]["masks"]["protocol"]
    assert [row["AP"] for row in document["also"]["keypoints"]["per_class"]] == pytest.approx([1.0, 1.0])


def test_masks_and_keypoints_are_judged_by_themselves():
    wrong_masks = evaluate(Finder(whole=True), Triangles()).metrics()
    # A mask of which half is right overlaps by one half: right at the lowest of ten thresholds alone.
    assert wrong_masks["AP"] == pytest.approx(1.0)
    assert wrong_masks["masks_AP"] == pytest.approx(0.1)
    assert wrong_masks["keypoints_AP"] == pytest.approx(1.0)
    assert evaluate(Finder(off=40.0), Triangles()).metrics()["keypoints_AP"] == pytest.approx(0.0)


@pytest.mark.parametrize(("masks", "keypoints", "kinds"), [(False, True, ["keypoints"]), (True, False, ["masks"])])
def test_what_the_truth_does_not_have_is_not_judged(masks, keypoints, kinds):
    evaluation = evaluate(Finder(), Triangles(masks=masks, keypoints=keypoints))
    assert [result.kind for result in evaluation.also] == kinds
    assert evaluation.metrics()["AP"] == pytest.approx(1.0)


def test_boxes_alone_are_judged_where_nothing_else_is_asked_for():
    data = Triangles()
    found = predict_columns(Finder(), data)
    assert judge(found, data).also == ()


def test_columns_of_single_images_are_the_columns_of_all():
    data = Triangles()
    results = Finder().predict([data[index].image for index in range(3)])
    whole, joined = found_of(results), predict_columns(Finder(), data)
    assert (whole.images.tolist(), whole.segmentations) == (joined.images.tolist(), joined.segmentations)
    assert whole.images.tolist() == [0, 0, 1]
    assert whole.keypoints.shape == (3, 2, 3)


def test_an_image_without_objects_needs_no_masks():
    data = Triangles()
    truth = truth_of([data.target(0), Target.empty(SIZE)])
    assert len(truth.segmentations) == len(truth.keypoints) == 2
    bare = Target(torch.tensor([[1.0, 1, 5, 5]]), torch.tensor([0]), SIZE)
    assert truth_of([data.target(0), bare]).segmentations is None
