import torch
from torch import nn

from sightline.training.ema import Ema


def test_average_is_the_slow_loops() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    expected = {name: p.detach().double().clone() for name, p in network.named_parameters()}
    ema = Ema(network, 0.7)
    for n in range(30):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(torch.randn_like(parameter))
        network(torch.randn(5, 3))
        ema.update(network)
        decay = min(0.7, (1 + n) / (10 + n))
        for name, parameter in network.named_parameters():
            for at in range(parameter.numel()):
                old = expected[name].view(-1)[at]
                expected[name].view(-1)[at] = decay * old + (1 - decay) * parameter.detach().view(-1)[at].double()
    for name, average in ema.network.named_parameters():
        torch.testing.assert_close(average.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not average.requires_grad
    assert torch.equal(ema.network[1].running_mean, network[1].running_mean)
    assert not ema.network.training and ema.updates == 30
