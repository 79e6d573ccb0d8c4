"""A temperature fitted to a model's detections, kept in its file, and what the model then answers."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from splits_fabricated import found_from, split_from, truth_from
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.evaluation.evaluate import evaluate
from sightline.evaluation.evaluation import judge_columns
from sightline.evaluation.model_temperature import (
    calibration_on,
    describe_calibration,
    evaluation_at,
    keep_calibration,
)
from sightline.model_file import read_header, write_model
from sightline.structures import Classes, Detections, Sample, Target
from sightline.transforms.preparation import Preparation

NAMES = Classes(("cat", "dog", "emu"))


def too_sure(images=300, odds=3.0, seed=0):
    """One detection an image, whose log-odds are three times what they should be."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.2, images)
    right = rng.random(images) < 1 / (1 + np.exp(-logits))
    truth = truth_from(images, [(k, 0, (0, 0, 50, 50), False) for k in range(images)])
    boxes = [(0, 0, 50, 50) if hit else (90, 90, 99, 99) for hit in right]
    scores = 1 / (1 + np.exp(-odds * logits))
    found = found_from(images, [(k, boxes[k], 0, float(np.float32(scores[k]))) for k in range(images)])
    return judge_columns(truth, found, NAMES, tuple(range(images)))


def test_scores_that_are_too_sure_are_mended():
    evaluation = too_sure()
    calibration = calibration_on(evaluation, "made", "val")
    assert calibration.temperature == pytest.approx(3.0, rel=0.25)
    assert calibration.ece_after < 0.5 * calibration.ece_before
    assert (calibration.data, calibration.split, calibration.detections) == ("made", "val", 300)
    assert "temperature" in describe_calibration(calibration) and "made, split val" in describe_calibration(calibration)
    after = evaluation_at(evaluation, calibration.temperature)
    assert after.reliability.ece == calibration.ece_after
    assert after.reliability_before.ece == pytest.approx(calibration.ece_before, abs=1e-6)
    assert evaluation.reliability_before is None
    document = after.to_dict()["calibration"]
    assert document["temperature"] == calibration.temperature
    assert document["ECE_at_temperature_1"] == pytest.approx(calibration.ece_before, abs=1e-6)


@pytest.mark.parametrize("temperature", [0.5, 1.8, 10.0])
@pytest.mark.parametrize("seed", range(3))
def test_average_precision_and_all_orders_stay(temperature, seed):
    truth, found = split_from(seed, images=40, ties=seed == 0)
    found = replace(found, scores=found.scores.astype(np.float32).astype(np.float64))
    evaluation = judge_columns(truth, found, NAMES, tuple(range(truth.count)))
    after = evaluation_at(evaluation, temperature)
    assert after.result.metrics() == evaluation.result.metrics()
    assert after.errors.overall.costs == evaluation.errors.overall.costs
    assert np.argsort(-after.found.scores, kind="stable").tolist() == np.argsort(-found.scores, kind="stable").tolist()
    assert after.found.scores.max() <= 1


def test_nothing_to_fit_to_is_said():
    nothing = calibration_on(judge_columns(truth_from(2, []), found_from(2, []), NAMES, (0, 1)), "made", "val")
    assert (nothing.temperature, nothing.ece_before, nothing.ece_after) == (1.0, None, None)
    assert "too few" in describe_calibration(nothing)


@dataclass(frozen=True)
class LookupConfig:
    count: int = 300


class Lookup(NeuralSystem[Tensor, Detections]):
    """Knows its answers by the colour of the image."""

    name = "lookup"
    task = "detection"

    def __init__(self, evaluation):
        super().__init__()
        self.config = LookupConfig()
        self.classes = NAMES
        self.preparation = Preparation(short_side=1, long_side=1, divisor=1)
        self.scores = torch.nn.Parameter(torch.from_numpy(evaluation.found.scores).float())
        self.boxes = torch.from_numpy(evaluation.found.boxes).float()

    def forward(self, batch):
        mean, std = (torch.tensor(v).reshape(1, 3) for v in (self.preparation.mean, self.preparation.std))
        colours = ((batch.images.amax(dim=(2, 3)) * std + mean) * 255).round().long()
        return colours[:, 0] * 256 + colours[:, 1]

    def loss(self, batch, targets):
        raise NotImplementedError

    def decode(self, raw, batch):
        label = torch.zeros(1, dtype=torch.int64)
        return [
            Detections(self.boxes[i, None], self.scores.detach()[i, None], label, size)
            for i, size in zip(raw.tolist(), batch.original_sizes, strict=True)
        ]

    def recipe(self):
        raise NotImplementedError


@dataclass(frozen=True)
class Record:
    image_id: int
    size: tuple[int, int] = (100, 100)


class Pictures:
    """Images whose colour is their number."""

    classes = NAMES

    def __init__(self, count):
        self.records = [Record(k) for k in range(count)]

    def __len__(self):
        return len(self.records)

    def __getitem__(self, index):
        colour = torch.tensor([index // 256, index % 256, 0], dtype=torch.uint8).reshape(3, 1, 1)
        return Sample(colour.expand(3, 100, 100), self.target(index), index)

    def target(self, index):
        return Target(torch.tensor([[0.0, 0, 50, 50]]), torch.tensor([0]), (100, 100))


def test_a_model_answers_with_calibrated_scores_and_its_file_says_why(tmp_path):
    expected = too_sure()
    system, data = Lookup(expected), Pictures(300)
    raw = evaluate(system, data)
    assert np.array_equal(raw.found.scores, expected.found.scores)
    path = tmp_path / "m.safetensors"
    write_model(path, system, stage="train", metrics={"AP": 0.5}, provenance="a test")
    before = read_header(path)
    keep_calibration(path, system, calibration_on(raw, "made", "val"))
    assert replace(read_header(path), calibration=None, sha256="") == replace(before, sha256="")
    assert read_header(path).temperature == system.temperature == pytest.approx(3.0, rel=0.25)
    judged = evaluate(system, data)
    assert judged.temperature == system.temperature
    assert judged.result.metrics() == raw.result.metrics()
    # What predict gives is what scaling the scores gives, bit for bit.
    assert np.array_equal(judged.found.scores, evaluation_at(raw, system.temperature).found.scores)
    assert judged.reliability.ece == read_header(path).calibration.ece_after
