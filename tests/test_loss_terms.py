import pytest
import torch

from sightline.structures import LossTerm


def test_the_value_is_the_mean_and_nothing_divides_as_one() -> None:
    assert LossTerm(torch.tensor(6.0), 4).value == 1.5
    assert LossTerm(torch.tensor(6.0), torch.tensor(4)).value == 1.5
    assert LossTerm(torch.tensor(0.5), torch.tensor(0.25)).value == 2
    assert LossTerm(torch.tensor(0.0), 0).value == 0
    assert LossTerm(torch.tensor(3.0), torch.tensor(0)).value == 3


def test_the_gradient_is_that_of_the_mean() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    LossTerm(weight * 6, torch.tensor(4.0)).value.backward()
    assert weight.grad == 1.5


@pytest.mark.parametrize(
    ("total", "count"), [(torch.zeros(1), 1), (torch.tensor(0.0), torch.ones(2)), (torch.tensor(0.0), -1)]
)
def test_anything_but_two_scalars_is_refused(total: torch.Tensor, count: torch.Tensor | float) -> None:
    with pytest.raises(ValueError, match=r"LossTerm\."):
        LossTerm(total, count)
