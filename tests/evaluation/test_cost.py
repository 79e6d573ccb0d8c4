import json
import time
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from sightline.combination.ensemble import Ensemble
from sightline.contract import NeuralSystem
from sightline.evaluation.cost import count_flops, measure_cost
from sightline.proposals.proposer import ImageProposals, Proposer
from sightline.structures import Classes, Detections
from sightline.transforms.preparation import Preparation


class OneConvolution(NeuralSystem[Tensor, Detections]):
    """A network whose cost is known: one 3x3 convolution from 3 to 8 channels without bias."""

    name = "one_convolution"
    task = "detection"

    def __init__(self):
        super().__init__()
        self.config = None
        self.classes = Classes(("thing",))
        self.preparation = Preparation(short_side=32, long_side=64, divisor=1)
        self.layer = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.frozen = nn.Parameter(torch.zeros(5), requires_grad=False)
        self.megabytes = 0
        self.seen_training = set()

    def forward(self, batch):
        self.seen_training.add(self.training)
        torch.zeros(self.megabytes * 250_000).add_(1)
        return self.layer(batch.images)

    def loss(self, batch, targets):
        return {"loss": self(batch).sum()}

    def decode(self, raw, batch):
        return [Detections.empty(size) for size in batch.original_sizes]

    def recipe(self):
        raise NotImplementedError


def test_parameters_and_operations_are_those_counted_by_hand():
    system = OneConvolution()
    cost = measure_cost(system, torch.zeros(3, 64, 96, dtype=torch.uint8), repeats=3)
    assert (cost.parameters, cost.trainable) == (3 * 8 * 9 + 5, 3 * 8 * 9)
    # A multiply-add is 2: each of 8 x 32 x 48 outputs takes 27 of them.
    assert cost.flops == 2 * 27 * 8 * 32 * 48
    assert (cost.image_size, cost.prepared_size) == ((64, 96), (32, 48))
    assert (cost.device, cost.precision, cost.repeats) == ("cpu", "float32", 3)
    assert cost.threads == torch.get_num_threads()
    assert 0 < cost.quartiles[0] <= cost.milliseconds <= cost.quartiles[1]


def test_it_is_measured_in_evaluation_mode_and_the_mode_is_restored():
    system = OneConvolution().train()
    measure_cost(system, torch.zeros(3, 8, 8), repeats=1)
    count_flops(system, torch.zeros(3, 8, 8))
    assert system.seen_training == {False}
    assert system.training


def test_peak_memory_sees_what_a_prediction_takes_also_the_second_time():
    system = OneConvolution()
    image = torch.zeros(3, 8, 8)
    small = measure_cost(system, image, repeats=1).peak_memory_mb
    if small is None:
        pytest.skip("peak memory cannot be measured on this machine")
    assert 0 <= small < 20
    system.megabytes = 60
    for _ in range(2):
        large = measure_cost(system, image, repeats=1).peak_memory_mb
        assert 45 < large - small < 90


def test_bf16_is_named_and_the_cost_can_be_written_as_json():
    system = OneConvolution()
    system.layer = nn.Conv2d(3, 8, 3, padding=1, bias=False, dtype=torch.bfloat16)
    system.forward = lambda batch: system.layer(batch.images.to(torch.bfloat16))
    cost = measure_cost(system, torch.zeros(3, 8, 8), repeats=1)
    assert cost.precision == "bfloat16"
    assert json.loads(json.dumps(cost.to_dict()))["image_size"] == [8, 8]


@dataclass(frozen=True)
class Slow(Proposer):
    name = "slow"
    seconds: float = 0.03

    def propose(self, image, count):
        assert image.dtype == torch.uint8 and count == 7
        time.sleep(self.seconds)
        return ImageProposals(torch.tensor([[1.0, 2.0, 5.0, 6.0]]))


def test_time_of_proposals_is_told_apart_and_the_rest_gets_the_same_proposals():
    system, seen = OneConvolution(), []
    system.proposer, system.proposal_count = Slow(), 7
    forward = OneConvolution.forward
    system.forward = lambda batch: (seen.append(batch.proposals), forward(system, batch))[1]
    cost = measure_cost(system, torch.zeros(3, 8, 16), repeats=3)
    assert 30 <= cost.proposal_milliseconds < 60 and 0 < cost.given_milliseconds < 30
    assert cost.milliseconds >= cost.proposal_milliseconds + 0.5 * cost.given_milliseconds
    assert isinstance(system.proposer, Slow)
    (boxes,) = seen[0]
    assert boxes.tolist() == [[4.0, 8.0, 20.0, 24.0]]  # the batch is four times as large
    assert all(torch.equal(each[0], boxes) for each in seen)


@dataclass(frozen=True)
class Multiplying(Proposer):
    """Stands for a network that proposes."""

    name = "multiplying"

    def propose(self, image, count):
        torch.ones(10, 10) @ torch.ones(10, 10)
        return ImageProposals(torch.tensor([[1.0, 2.0, 5.0, 6.0]]))


@pytest.mark.parametrize("combine", [lambda system: system, lambda system: Ensemble((system, system))])
def test_operations_of_a_proposer_are_not_the_networks(combine):
    system, image = OneConvolution(), torch.zeros(3, 8, 16)
    alone = count_flops(combine(system), image)
    system.proposer = Multiplying()
    assert count_flops(combine(system), image) == alone > 0


def test_without_a_proposer_there_is_one_time_only():
    cost = measure_cost(OneConvolution(), torch.zeros(3, 8, 8), repeats=1, warm_up=0)
    assert cost.proposal_milliseconds is None and cost.given_milliseconds is None


def test_no_repeats_are_refused():
    with pytest.raises(ValueError, match="repeats"):
        measure_cost(OneConvolution(), torch.zeros(3, 8, 8), repeats=0)
