"""The temperature that ``predict`` applies: scores change, and nothing else does."""

from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from sightline.contract import NeuralSystem
from sightline.structures import Classes, Detections, scaled_scores
from sightline.transforms.preparation import Preparation


def numbers(kind: str) -> Tensor:
    """Float32 scores, rising, without equal ones."""
    everywhere = np.concatenate([[0.0, 1.0], np.random.default_rng(0).random(20_000), 10.0 ** -np.arange(1, 38.0)])
    near_one = 1 - np.arange(1, 2000) * 2.0**-24
    return torch.from_numpy(np.unique({"everywhere": everywhere, "near one": near_one}[kind].astype(np.float32)))


@pytest.mark.parametrize("kind", ["everywhere", "near one"])
@pytest.mark.parametrize("temperature", [0.5, 0.9, 1.0, 1.7, 10.0])
def test_the_order_of_scores_stays(kind: str, temperature: float) -> None:
    scores = numbers(kind)
    scaled = scaled_scores(scores, temperature)
    assert scaled.dtype == torch.float32
    assert ((scaled >= 0) & (scaled <= 1)).all()
    assert (scaled.diff() >= 0).all()
    # Apart by more than a few units of the last place, and away from where a low temperature runs into 0 and 1.
    thin = scores[(scores > 1e-10) & (scores < 0.999)]
    apart = thin.diff() > 1e-5 * thin[1:]
    assert (scaled_scores(thin, temperature).diff()[apart] > 0).all()


def test_scores_by_hand() -> None:
    # logit(0.8) = log 4: at temperature 2 the odds are 2 to 1, at 0.5 they are 16 to 1.
    assert scaled_scores(torch.tensor([0.8]), 2.0).item() == pytest.approx(2 / 3)
    assert scaled_scores(torch.tensor([0.8]), 0.5).item() == pytest.approx(16 / 17)
    assert scaled_scores(torch.tensor([0.0, 0.5, 1.0]), 3.0).tolist() == [0.0, 0.5, 1.0]
    assert len(scaled_scores(torch.zeros(0), 3.0)) == 0


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan"), float("inf")])
def test_temperatures_that_make_no_sense(temperature: float) -> None:
    with pytest.raises(ValueError, match="positive and finite"):
        scaled_scores(torch.tensor([0.5]), temperature)


class Fixed(NeuralSystem[Tensor, Detections]):
    """Answers every image with the same three detections."""

    name = "fixed"
    task = "detection"

    def __init__(self) -> None:
        super().__init__()
        self.config = None
        self.classes = Classes(("thing",))
        self.preparation = Preparation(short_side=8, long_side=8, divisor=1)
        self.scores = torch.nn.Parameter(torch.tensor([0.9, 0.8, 0.2]))

    def forward(self, batch):
        return self.scores

    def loss(self, batch, targets):
        raise NotImplementedError

    def decode(self, raw, batch):
        boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0]]).expand(3, 4)
        return [Detections(boxes, raw.detach(), torch.zeros(3, dtype=torch.int64), s) for s in batch.original_sizes]

    def recipe(self):
        raise NotImplementedError


IMAGE = torch.zeros(3, 8, 8)


def test_predict_applies_it_and_copies_keep_it() -> None:
    system = Fixed()
    plain = system.predict(IMAGE)[0]
    assert torch.equal(plain.scores, system.scores)
    system.temperature = 2.0
    for asked in (system, system.for_prediction(), deepcopy(system)):
        found = asked.predict(IMAGE)[0]
        assert found.scores.tolist() == pytest.approx([0.75, 2 / 3, 1 / 3])
        assert torch.equal(found.boxes, plain.boxes)
        assert torch.equal(found.labels, plain.labels)
    with torch.inference_mode():
        batch = system.prepare(IMAGE)
        assert torch.equal(system.decode(system(batch), batch)[0].scores, plain.scores)


class Unscored(Fixed):
    """Answers without scores."""

    def decode(self, raw, batch):
        return [raw for _ in batch.original_sizes]


def test_answers_without_scores_have_no_temperature() -> None:
    system = Unscored()
    assert torch.equal(system.predict(IMAGE)[0], system.scores)
    system.temperature = 2.0
    with pytest.raises(TypeError, match="scores of detections"):
        system.predict(IMAGE)
