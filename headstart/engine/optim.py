"""Optimisers and rates: a thin layer over PyTorch's, with state kept by parameter name."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from headstart.engine.trained import Trained
from headstart.stage import Optimizer

OptimizerState = dict[str, dict[str, Tensor]]
"""Parameter name -> kind of state (momentum, ...) -> tensor."""


@dataclass(frozen=True)
class Carried:
    """An optimiser's memory after a stage, and whose it is: what has been put in a parameter's place since starts fresh,
    though it has its name.

    owners  parameter name -> the parameter; None: whoever hands this over vouches for them
    """

    state: OptimizerState
    owners: Mapping[str, nn.Parameter] | None = None

    @classmethod
    def of(cls, state: OptimizerState, parameters: Mapping[str, nn.Parameter]) -> Carried:
        """The memory `state` of some of `parameters`, as they are now."""
        return cls(state, {name: parameters[name] for name in state if name in parameters})

    def still(self, parameters: Mapping[str, nn.Parameter]) -> OptimizerState:
        """The memory of those parameters that are the same ones as before."""
        if self.owners is None:
            return {name: state for name, state in self.state.items() if name in parameters}
        return {name: self.state[name] for name, one in self.owners.items() if parameters.get(name) is one}


def make_optimizer(rule: Optimizer, trained: Trained) -> torch.optim.Optimizer:
    """The optimiser of a stage. Weight decay acts on matrices and filters, not on biases and normalisation scales."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in trained.parameters.items():
        how = trained.rules[name]
        usual = rule.weight_decay if parameter.ndim > 1 else 0.0
        decay = usual if how.weight_decay is None else how.weight_decay
        groups.setdefault((how.scale, decay), []).append(parameter)
    if not groups:  # a stage that only adapts statistics
        groups[1.0, 0.0] = []
    lists = [{"params": group, "weight_decay": decay, "scale": scale} for (scale, decay), group in groups.items()]
    if rule.kind == "adamw":
        return torch.optim.AdamW(lists, lr=rule.lr, fused=True)
    return torch.optim.SGD(lists, lr=rule.lr, momentum=rule.momentum, nesterov=rule.momentum > 0, fused=True)


def factor(rule: Optimizer, step: int, total: int) -> float:
    """What multiplies the rate at step `step` (from 0) of `total`: linear warm-up, then the schedule."""
    rise = rule.warmup * total
    if step < rise:
        return (step + 1) / (math.floor(rise) + 1)
    past = (step - rise) / max(total - rise, 1)
    if rule.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * past))
    if rule.schedule == "steps":
        return 0.1 if step >= 0.75 * total else 1.0
    return 1 - past if rule.schedule == "linear" else 1.0


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def state_of(optimizer: torch.optim.Optimizer, parameters: Mapping[str, nn.Parameter]) -> OptimizerState:
    """The optimiser's memory by parameter name."""
    state: Mapping[Tensor, dict[str, Any]] = optimizer.state
    return {name: dict(state[parameter]) for name, parameter in parameters.items() if parameter in state}


def restore(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, nn.Parameter],
    saved: OptimizerState,
    *,
    all_at_once: bool = True,
) -> None:
    """Put memory back for the parameters that have some; the others start fresh, and so do those of another shape by now.

    all_at_once  every parameter gets a gradient from the first step on; not so where some tasks are absent from it,
                 or towers
    """
    known = {name: parameter for name, parameter in parameters.items() if _fits(saved.get(name), parameter)}
    for name, parameter in known.items():
        optimizer.state[parameter] = {kind: _like(value, parameter) for kind, value in saved[name].items()}
    if (known or not all_at_once) and isinstance(optimizer, torch.optim.SGD) and _momentum(optimizer):
        for name in parameters.keys() - known.keys():
            # The fused rule cannot mix old and new momentum in one group; zero momentum is what a fresh start means.
            fresh = torch.zeros_like(parameters[name], memory_format=torch.preserve_format).detach()
            optimizer.state[parameters[name]] = {"momentum_buffer": fresh}


def _fits(state: Mapping[str, Tensor] | None, parameter: nn.Parameter) -> bool:
    """Whether there is memory, and of a parameter of this shape: the fused rules would read beyond a smaller one's end."""
    return state is not None and all(value.ndim == 0 or value.shape == parameter.shape for value in state.values())


def _momentum(optimizer: torch.optim.SGD) -> float:
    return float(optimizer.param_groups[0]["momentum"])


def _like(value: Tensor, parameter: nn.Parameter) -> Tensor:
    """A copy in the parameter's own memory format and place (step counters stay scalars, on the device too)."""
    if value.shape != parameter.shape:
        return value.to(parameter.device, copy=True)
    return torch.empty_like(parameter, memory_format=torch.preserve_format).detach().copy_(value)


class WeightAverage:
    """Exponential moving average of the trained tensors and the statistics that move with them.

    The decay is warmed up as (1 + t) / (10 + t), so that a short stage is not dominated by its start.
    """

    def __init__(self, decay: float, tensors: Mapping[str, Tensor]) -> None:
        self.decay = decay
        self.count = 0
        self.average = {name: tensor.detach().clone() for name, tensor in tensors.items()}

    def update(self, tensors: Mapping[str, Tensor]) -> None:
        """Move a little towards the present values."""
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        self.count += 1
        for name, tensor in tensors.items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor.detach(), 1 - decay)
            else:
                self.average[name].copy_(tensor)
