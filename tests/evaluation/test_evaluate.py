import json
import threading
from dataclasses import dataclass

import pytest
import torch

from sightline.contract import System
from sightline.data.segmentation import decode_segmentation
from sightline.errors import ConfigError, DataError
from sightline.evaluation.columns import found_of
from sightline.evaluation.evaluate import evaluate, judge, predict_dataset
from sightline.evaluation.results import save_results
from sightline.structures import Classes, Detections, Sample, Target

CLASSES = Classes(("cat", "dog"), ids=(17, 3))
SIZES = [(10, 20), (20, 10), (10, 20), (15, 15), (20, 10)]


@dataclass(frozen=True)
class Record:
    image_id: int
    size: tuple[int, int]


class Images:
    """A made set: the colour of each picture tells its number, its one object the picture's size."""

    classes = CLASSES

    def __init__(self, sizes=SIZES, broken=None):
        self.records = [Record(100 - index, size) for index, size in enumerate(sizes)]
        self.broken = broken
        self.threads = set()

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        self.threads.add(threading.current_thread().name)
        if index == self.broken:
            raise DataError("cannot be decoded", place=f"{index}.jpg")
        image = torch.full((3, *self.records[index].size), index, dtype=torch.uint8)
        return Sample(image, self.target(index), self.records[index].image_id)

    def target(self, index):
        height, width = self.records[index].size
        box = torch.tensor([[1.0, 1.0, width - 1, height - 1]])
        return Target(box, torch.tensor([index % 2]), (height, width), masks=torch.ones(1, height, width).bool())


class Oracle(System[Detections]):
    """Reads the label off the colour; notes which shapes came together."""

    name = "oracle"
    task = "detection"
    classes = CLASSES

    def __init__(self):
        self.batches = []

    def predict(self, images):
        self.batches.append([tuple(image.shape[1:]) for image in images])
        return [self.one(image) for image in images]

    def one(self, image):
        height, width = image.shape[1:]
        box = torch.tensor([[1.0, 1.0, width - 1, height - 1]])
        return Detections(box, torch.tensor([0.9]), image[0, 0, :1].long() % 2, (height, width))

    def recipe(self):
        raise NotImplementedError


@pytest.mark.parametrize("workers", [0, 1, 3])
@pytest.mark.parametrize("batch_size", [1, 2, 8])
def test_results_come_in_the_order_of_the_images(batch_size, workers):
    system, data, seen = Oracle(), Images(), []
    results = predict_dataset(
        system, data, batch_size=batch_size, workers=workers, progress=lambda done, total: seen.append((done, total))
    )
    assert [result.size for result in results] == SIZES
    assert [int(result.labels) for result in results] == [0, 1, 0, 1, 0]
    assert max(map(len, system.batches)) == min(batch_size, 5)
    assert seen[-1] == (5, 5)
    assert seen == sorted(seen)
    assert any(name.startswith("sightline-read") for name in data.threads) == (workers > 0)


def test_images_of_one_shape_are_batched_together():
    system = Oracle()
    predict_dataset(system, Images(), batch_size=2)
    assert system.batches == [[(10, 20), (10, 20)], [(15, 15), (20, 10)], [(20, 10)]]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_broken_image_is_told_and_no_thread_stays(workers):
    with pytest.raises(DataError, match=r"3\.jpg"):
        predict_dataset(Oracle(), Images(broken=3), batch_size=2, workers=workers)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("sightline-read")]


def test_evaluation_is_right_and_goes_into_json():
    evaluation = evaluate(Oracle(), Images(), batch_size=2)
    assert evaluation.result.ap == pytest.approx(1.0)
    assert evaluation.image_ids == (100, 99, 98, 97, 96)
    assert evaluation.seconds_per_image > 0
    assert [target.size for target in evaluation.targets] == SIZES
    assert [found.scores.tolist() for found in evaluation.detections] == [[pytest.approx(0.9)]] * 5
    assert [matches.object_of.tolist() for matches in evaluation.matches] == [[0]] * 5
    assert evaluation.operating_point.f1 == 1.0
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert content["metrics"]["AP"] == pytest.approx(1.0)
    assert (content["images"], content["objects"]) == (5, 5)
    assert [row["name"] for row in content["per_class"]] == ["cat", "dog"]
    assert content["per_class"][1]["operating_point"]["threshold"] == pytest.approx(0.9)


def test_no_images_are_legal():
    evaluation = evaluate(Oracle(), Images([]))
    content = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert evaluation.detections == ()
    assert (content["metrics"]["AP"], content["seconds_per_image"]) == (None, None)


def test_a_system_of_other_classes_is_refused():
    system = Oracle()
    system.classes = Classes(("dog", "cat"))
    with pytest.raises(ConfigError, match=r"2 classes \(dog, cat\).*2 classes \(cat, dog\).*cure"):
        evaluate(system, Images())


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"workers": -1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        predict_dataset(Oracle(), Images(), **options)


def test_predictions_are_written_as_coco_results(tmp_path):
    found = found_of(predict_dataset(Oracle(), Images()))
    save_results(tmp_path / "predictions.json", found, (100, 99, 98, 97, 96), CLASSES)
    rows = json.loads((tmp_path / "predictions.json").read_text())
    assert [row["image_id"] for row in rows] == [100, 99, 98, 97, 96]
    assert [row["category_id"] for row in rows] == [17, 3, 17, 3, 17]
    assert rows[0]["bbox"] == [1, 1, 18, 8]
    assert rows[0]["score"] == pytest.approx(0.9)
    with pytest.raises(ValueError, match="5 images, but 1"):
        save_results(tmp_path / "other.json", found, (100,), CLASSES)
    assert not (tmp_path / "other.json").exists()


def test_masks_and_keypoints_are_written_with_the_boxes(tmp_path):
    masks, points = torch.zeros(1, 10, 20).bool(), torch.tensor([[[3.0, 4, 0.5], [5, 6, 0.25]]])
    masks[0, 2:4, 5:9] = True
    box, image = torch.tensor([[5.0, 2, 9, 4]]), (torch.tensor([0.5]), torch.tensor([1]), (10, 20))
    save_results(tmp_path / "r.json", found_of([Detections(box, *image, masks, points)]), (7,), CLASSES)
    (row,) = json.loads((tmp_path / "r.json").read_text())
    assert row["keypoints"] == [3, 4, 0.5, 5, 6, 0.25]
    assert decode_segmentation(row["segmentation"], (10, 20)).equal(masks[0])


def test_detections_of_elsewhere_can_be_judged():
    data = Images()
    nothing = [Detections.empty(size) for size in SIZES]
    evaluation = judge(nothing, data)
    assert (evaluation.result.ap, evaluation.seconds_per_image) == (0.0, None)
    with pytest.raises(ValueError, match="5 targets"):
        judge(nothing[:1], data)
