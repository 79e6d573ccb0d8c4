"""Optimisers by parameter group: who learns how fast, who decays, who is frozen.

SGD with momentum as in torch; AdamW is Loshchilov and Hutter 2019. Weight decay acts on matrices and filters only,
never on biases and norms (He et al. 2019, "Bag of Tricks", section 3.1).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from sightline.errors import ConfigError
from sightline.recipes import Optimiser, ParameterGroup
from sightline.training.sharding import like, whole_of


def build_optimiser(system: nn.Module, settings: Optimiser, groups: Sequence[ParameterGroup]) -> Optimizer:
    """The optimiser over all parameters that learn; those of a group with ``lr_scale`` 0 are frozen.

    Each of its groups carries ``peak_lr``, the learning rate that the schedule's share multiplies.

    Raises:
        ConfigError: a pattern is no regular expression or finds no parameter, or nothing is left to learn.
    """
    _require_found(system, groups)
    members: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in system.named_parameters():
        scale = next((group.lr_scale for group in groups if re.search(group.pattern, name)), 1.0)
        if scale == 0:
            parameter.requires_grad_(False)
        if parameter.requires_grad:
            decay = settings.weight_decay if parameter.ndim > 1 else 0.0
            members.setdefault((settings.lr * scale, decay), []).append(parameter)
    if not members:
        raise ConfigError("every parameter is frozen, nothing is left to learn", cure="loosen the parameter groups")
    described = [
        {"params": parameters, "lr": lr, "peak_lr": lr, "weight_decay": decay}
        for (lr, decay), parameters in members.items()
    ]
    if settings.kind == "sgd":
        return SGD(described, lr=settings.lr, momentum=settings.momentum, foreach=True)
    return AdamW(described, lr=settings.lr, betas=settings.betas, foreach=True)


def _require_found(system: nn.Module, groups: Sequence[ParameterGroup]) -> None:
    names = [name for name, _ in system.named_parameters()]
    for group in groups:
        try:
            found = any(re.search(group.pattern, name) for name in names)
        except re.error as error:
            raise ConfigError(f"parameter group {group.pattern!r} is no regular expression: {error}") from error
        if not found:
            raise ConfigError(
                f"parameter group {group.pattern!r} finds no parameter",
                cause=f"the parameters are called {', '.join(names[:3])} and so on",
            )


def set_learning_rate(optimiser: Optimizer, share: float) -> float:
    """Set every group to ``share`` of its peak; returns the largest learning rate now set."""
    for group in optimiser.param_groups:
        group["lr"] = group["peak_lr"] * share
    return float(max(group["lr"] for group in optimiser.param_groups))


def optimiser_tensors(optimiser: Optimizer, system: nn.Module) -> dict[str, Tensor]:
    """What the optimiser remembers of each parameter, as ``parameter name:quantity`` -> CPU tensor."""
    tensors: dict[str, Tensor] = {}
    for name, parameter in system.named_parameters():
        for quantity, value in optimiser.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"{name}:{quantity}"] = whole_of(value.detach()).to("cpu", copy=True).contiguous()
    return tensors


def load_optimiser_tensors(optimiser: Optimizer, system: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Give the optimiser back what :func:`optimiser_tensors` took; the other way round, bit for bit."""
    parameters: dict[str, nn.Parameter] = dict(system.named_parameters())
    optimiser.state.clear()
    for key, value in tensors.items():
        name, _, quantity = key.rpartition(":")
        parameter = parameters[name]
        memory: dict[str, Any] = optimiser.state[parameter]
        if value.shape == parameter.shape:
            memory[quantity] = like(parameter, value)
        else:
            memory[quantity] = value.clone()
