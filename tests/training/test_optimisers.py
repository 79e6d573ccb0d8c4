import pytest
import torch
from tiny_system import make_system
from torch import nn
from torchvision.ops.misc import FrozenBatchNorm2d

from sightline.errors import ConfigError
from sightline.recipes import Optimiser, ParameterGroup
from sightline.training.batch_norm import describe_batch_norm
from sightline.training.optimisers import (
    build_optimiser,
    load_optimiser_tensors,
    optimiser_tensors,
    set_learning_rate,
)


def test_groups_by_first_match_and_no_decay_on_vectors() -> None:
    system = make_system()
    groups = (ParameterGroup("norm", 0.0), ParameterGroup("trunk", 0.1), ParameterGroup("weight", 9.0))
    optimiser = build_optimiser(system, Optimiser(lr=2.0, weight_decay=0.5), groups)
    found = {
        name: (group["peak_lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for name, parameter in system.named_parameters()
        if any(parameter is member for member in group["params"])
    }
    assert found == {
        "trunk.weight": (0.2, 0.5),
        "trunk.bias": (0.2, 0.0),
        "head.weight": (18.0, 0.5),
        "head.bias": (2.0, 0.0),
    }
    assert not system.norm.weight.requires_grad
    assert set_learning_rate(optimiser, 0.5) == 9.0
    assert [group["lr"] for group in optimiser.param_groups] == [0.5 * g["peak_lr"] for g in optimiser.param_groups]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ((ParameterGroup("tronk"),), "finds no parameter"),
        (
            (
                ParameterGroup(
                    "(",
                ),
            ),
            "no regular expression",
        ),
        ((ParameterGroup(".", 0.0),), "nothing is left"),
    ],
)
def test_groups_that_cannot_be_meant(groups: tuple[ParameterGroup, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_optimiser(make_system(), Optimiser(), groups)


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_memory_goes_out_and_in_bit_for_bit(kind: str) -> None:
    systems = [make_system().to(memory_format=torch.channels_last) for _ in range(2)]
    optimisers = [build_optimiser(system, Optimiser(kind), ()) for system in systems]

    def step(index: int, seed: int) -> None:
        torch.manual_seed(seed)
        for parameter in systems[index].parameters():
            parameter.grad = torch.randn(parameter.shape)
        optimisers[index].step()

    for seed in range(3):
        step(0, seed)
    systems[1].load_state_dict(systems[0].state_dict())
    load_optimiser_tensors(optimisers[1], systems[1], optimiser_tensors(optimisers[0], systems[0]))
    for index in range(2):
        step(index, 7)
    for mine, other in zip(systems[0].parameters(), systems[1].parameters(), strict=True):
        assert torch.equal(mine, other)


def test_batch_norms_are_told_by_policy() -> None:
    frozen, fixed = nn.BatchNorm2d(2).eval().requires_grad_(False), nn.BatchNorm2d(2).eval()
    network = nn.Sequential(nn.BatchNorm2d(2), frozen, fixed, FrozenBatchNorm2d(2), nn.GroupNorm(1, 2))
    assert describe_batch_norm(network) == (
        "norm layers: 2 frozen, 1 fixed statistics, learning scale, 1 live, 1 without batch statistics"
    )
    assert describe_batch_norm(nn.Linear(1, 1)) == "norm layers: none"
