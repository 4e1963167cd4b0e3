"""How much each weight contributed to learning, added up while it learns."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headstart.errors import ConfigError
from headstart.terms.base import StepLike, Term
from headstart.terms.penalty import Penalty


class PathIntegral(Term):
    """The surrogate loss of synaptic intelligence (Zenke, Poole & Ganguli 2017, eq. 3): a penalty, and omega beside it.

    In every step omega_i -= g_i * (theta_i(t+1) - theta_i(t)), where g is the gradient of the task's loss alone: what the
    steps' gradient is before clipping and weight decay, summed over processes, less the penalty's own, which is known in
    closed form. The sum approximates how far each weight brought the loss down along the path it took.

    live     weights by full name, all of which train in the stage
    penalty  what holds them to earlier tasks, `forward` gives its value; None: the first task, and zero

    omega is state: it is saved with the term. Raises ConfigError for no weights.
    """

    def __init__(self, live: Mapping[str, nn.Parameter], penalty: Penalty | None = None) -> None:
        super().__init__()
        if not live:
            raise ConfigError("no weights are named for a path integral; name some of those that train")
        self.live, self.penalty = dict(live), penalty
        for name, parameter in self.live.items():
            self.register_buffer(_called(name), torch.zeros_like(parameter, requires_grad=False))
        self._before: list[Tensor] = []
        self._gradient: list[Tensor] = []

    def omega(self) -> dict[str, Tensor]:
        """The running sums by weight; copies."""
        return {name: self.get_buffer(_called(name)).clone() for name in self.live}

    def forward(self, step: StepLike) -> Tensor:
        if self.penalty is None:
            return next(iter(self.live.values())).new_zeros(())
        value: Tensor = self.penalty(step)
        return value

    @torch.no_grad()
    def after_backward(self, step: StepLike) -> None:
        extra = self.penalty.gradient() if self.penalty is not None else {}
        self._before = [weight.detach().clone() for weight in self.live.values()]
        self._gradient = []
        for name, weight in self.live.items():
            own = torch.zeros_like(weight) if weight.grad is None else weight.grad.clone()
            self._gradient.append(own.sub_(extra[name]) if name in extra else own)

    @torch.no_grad()
    def after_step(self, step: StepLike) -> None:
        for name, before, gradient in zip(self.live, self._before, self._gradient, strict=True):
            self.get_buffer(_called(name)).sub_(gradient * (self.live[name].detach() - before))
        self._before, self._gradient = [], []


def _called(name: str) -> str:
    """Name of a buffer; dots are not allowed there."""
    return f"omega:{name.replace('.', ':')}"
