"""Too little data is said before the first epoch, with what is needed, what there is, and the cure."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_system import TinySystem, make_samples, negative_error, stage

from sightline.contract import DataNeeds
from sightline.data.dataset import open_dataset
from sightline.errors import DataError
from sightline.recipes import Recipe
from sightline.structures import Classes, Sample, Target
from sightline.training.guards.data_needs import check_data, count_examples
from sightline.training.job import TrainData
from sightline.training.options import TrainOptions
from sightline.training.progress import SilentProgress
from sightline.training.run_folder import RunFolder
from sightline.training.runner import train


class Greedy(TinySystem):
    """Needs as much as DETR does."""

    def data_needs(self) -> DataNeeds:
        return DataNeeds(1000, 10_000, 100, "a table of DETR's")


def greedy(origin: str = "random weights") -> Greedy:
    system = Greedy()
    system.classes = Classes(("square", "round", "rare"))
    system.origin = origin
    return system


def labelled(labels: Sequence[int], ignored: int = 0) -> list[Sample]:
    """One image with these labels, and more of the first label that are ignored."""
    (base,) = make_samples(1)
    count = len(labels) + ignored
    target = Target(
        base.target.boxes.repeat(count, 1),
        torch.tensor([*labels, *[0] * ignored], dtype=torch.int64),
        base.target.size,
        torch.tensor([False] * len(labels) + [True] * ignored, dtype=torch.bool),
    )
    return [Sample(base.image, target, 0)]


def test_classes_that_the_validation_split_lacks_are_named() -> None:
    check = check_data(greedy(), labelled([0, 1, 2]), labelled([0, 0], ignored=1))
    assert "the validation split has no object of round, rare" in " ".join(check.warnings)
    assert "validation" not in " ".join(check_data(greedy(), labelled([0, 1]), labelled([1, 0])).warnings)


def test_few_images_from_random_weights_are_named_with_both_needs() -> None:
    check = check_data(greedy(), make_samples(4), None)
    assert check.told == (
        "data: 4 images, 3 classes with 0 to 4 objects each; tiny needs about 10,000 images from random weights "
        "(a table of DETR's)"
    )
    images, classes = check.warnings
    assert "tiny needs about 10,000 images from random weights (from given ones about 1,000)" in images
    assert "the training split has 4: expect poor results" in images and "--backbone-weights" in images
    assert "label more images, or choose a system that needs fewer" in images
    assert classes.startswith("few examples: rare 0, round 0, square 4, where about 100 objects of a class are needed")


def test_given_weights_need_less() -> None:
    (images,) = check_data(greedy("ImageNet"), labelled([0, 1, 2] * 100) * 999, None).warnings
    assert "needs about 1,000 images from given weights, the training split has 999" in images
    assert check_data(greedy("ImageNet"), labelled([0, 1, 2] * 100) * 1000, None).warnings == ()
    (random,) = check_data(greedy(), labelled([0, 1, 2] * 100) * 1000, None).warnings
    assert random.endswith("(--weights or --backbone-weights), which is enough for this set")


def test_ignored_objects_are_no_examples() -> None:
    assert count_examples(labelled([0, 2, 2], ignored=5), Classes(("a", "b", "c"))).tolist() == [1, 0, 2]


def test_nothing_to_learn_is_refused_and_nothing_to_judge_is_said() -> None:
    with pytest.raises(DataError, match="training split has no object in any of its images: there is nothing to learn"):
        check_data(TinySystem(), labelled([], ignored=3), None)
    (said,) = check_data(TinySystem(), make_samples(2), labelled([])).warnings
    assert "validation split has no object" in said and "the loss decides which weights are best" in said


def test_system_that_does_not_say_is_no_reason_to_warn() -> None:
    check = check_data(TinySystem(), make_samples(2), make_samples(1))
    assert check.warnings == () and "tiny does not say what it needs" in check.told


def test_parts_of_an_opened_set_are_counted_as_they_are_labelled(data_root: Path) -> None:
    data = open_dataset(data_root / "datasets" / "bccd", "train")
    assert dict(zip(data.classes.names, count_examples(data, data.classes).tolist(), strict=True)) == {
        "Platelets": 209, "RBC": 2382, "WBC": 214,
    }  # fmt: skip
    crowded = open_dataset(data_root / "datasets" / "coco_tiny", "train")
    for part in (replace(data, records=data.records[10:30]), crowded):
        slow = torch.cat([part.target(i).labels[~part.target(i).ignore] for i in range(len(part))])
        counted = count_examples(part, part.classes)
        assert counted.tolist() == torch.bincount(slow, minlength=len(part.classes)).tolist()


def test_runner_says_it_before_the_first_step_and_in_its_result(tmp_path: Path) -> None:
    lines: list[str] = []

    class Lines(SilentProgress):
        def log(self, text: str) -> None:
            lines.append(text)

    options = TrainOptions(workers=0, device="cpu", precision="32")
    data = TrainData(make_samples(4), make_samples(2, seed=9))
    with RunFolder.create(tmp_path, resume=False) as run:
        result = train(
            greedy(), Recipe((stage(epochs=1),)), data, options, run,
            evaluate=negative_error, progress=Lines(),
        )  # fmt: skip
    assert len(result.warnings) == 2
    warned = [i for i, line in enumerate(lines) if line.startswith("warning: ")]
    assert [lines[i].removeprefix("warning: ") for i in warned] == list(result.warnings)
    assert max(warned) < next(i for i, line in enumerate(lines) if "epoch 1" in line)
    assert "warning: too little data" in (tmp_path / "log.txt").read_text()
