"""Weights from the noise of each task, learned beside the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import processes
from headstart.catalog.kinds import Kind

_FARTHEST = 10.0
"""Bound of the log-variance: weights between exp(-10) and exp(10)."""


class Uncertainty(Balance):
    """`L_i / (2 s_i^2) + log s_i` for a number, `L_i / s_i^2 + log s_i` for classes (Kendall et al. 2018, eq. 7 and 10).

    tasks      names of the losses weighed; others count once
    kinds      kind of each task; all kinds but `number` are treated as classes
    variance   s_i^2 at the start

    Learned is the log-variance of each task, `log_variance.I` for the I-th, kept within -10 and 10. These parameters train
    with the stage: it names them as `trains={"balance": Train(scale, weight_decay=0.0), ...}`, where `scale` times the
    stage's learning rate is theirs; a weight decay would pull every variance towards 1. A task that is absent from a step
    leaves its own alone. The weights used, 1 / (2 s^2) and 1 / s^2, add up to no fixed number.
    """

    def __init__(self, tasks: Sequence[str], kinds: Mapping[str, Kind] | None = None, variance: float = 1.0) -> None:
        super().__init__()
        self.tasks = tuple(tasks)
        # One parameter each: the optimiser then leaves those alone whose task is absent. By number, because not every name
        # of a task can be one of a parameter.
        start = torch.tensor(float(variance)).log()
        self.log_variance = nn.ParameterList([nn.Parameter(start.clone()) for _ in self.tasks])
        self._factor = [0.5 if (kinds or {}).get(name) == "number" else 1.0 for name in self.tasks]

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        with torch.no_grad():
            for one in self.log_variance:
                one.clamp_(-_FARTHEST, _FARTHEST)
        parts = [loss for name, loss in losses.items() if name not in self.tasks]
        found: dict[str, Tensor] = {}
        for name, variance, factor in zip(self.tasks, self.log_variance, self._factor, strict=True):
            if name in losses:
                found[name] = factor * torch.exp(-variance)
                # The losses of all processes add up, and log s counts once among them.
                parts.append(found[name] * losses[name] + 0.5 * variance / processes())
        if not parts:
            return {}
        torch.stack(parts).sum().backward()  # type: ignore[no-untyped-call]
        used = torch.stack(list(found.values())).tolist() if found else []
        weights = dict(zip(found, used, strict=True))
        return {name: weights.get(name, 1.0) for name in losses}

    def report(self) -> dict[str, float]:
        """`log_variance/TASK`: log s^2 of every task."""
        found = torch.stack([one.detach() for one in self.log_variance]).tolist()
        return {f"log_variance/{name}": value for name, value in zip(self.tasks, found, strict=True)}
