"""Codes of one view predicted from another: SwAV (Caron et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.losses.agreement import soft_targets
from headstart.losses.precision import exact, full
from headstart.losses.sinkhorn import sinkhorn
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike
from headstart.terms.bootstrap import PAIR
from headstart.terms.crops import Cropped
from headstart.terms.gather import gathered, gathered_at
from headstart.terms.perceptron import perceptron


class Swapped(Cropped):
    """Cross-entropy of every view's prototypes against the code of each other global view (Caron et al. 2020, eqs. 1-2).

    A code shares the images of a step, of all processes, evenly among the prototypes (`losses/sinkhorn.py`). Prototypes
    have length 1, again after every step.

    dimensions, hidden  of the projection
    prototypes          how many
    temperature, eps, iterations  of the prediction; of the code
    frozen              share of the steps in which prototypes stay as they were drawn (the paper's first epoch)
    queue               embeddings of earlier images, of all processes, that share in the codes where a step has few images;
                        from the share `queue_from` of the steps on, and once it is full
    """

    queue: Tensor

    def __init__(
        self,
        net: Net,
        *,
        prototypes: int,
        dimensions: int,
        hidden: int,
        temperature: float = 0.1,
        eps: float = 0.05,
        iterations: int = 3,
        frozen: float = 0.0,
        queue: int = 0,
        queue_from: float = 0.0,
        steps: int,
        seed: int,
        small: Sequence[str] = (),
        block: str | None = None,
    ) -> None:
        super().__init__(net, small=small, steps=steps, block=block)
        self.temperature, self.eps, self.iterations = temperature, eps, iterations
        self.frozen, self.queue_from, self.filled = frozen, queue_from, 0
        self.projection = perceptron((self.width, hidden, dimensions), seed_for(seed, "swapped", "projection"))
        with forked(seed_for(seed, "swapped", "prototypes")):
            self.prototypes = nn.Linear(dimensions, prototypes, bias=False)
        self.register_buffer("queue", torch.zeros(len(PAIR), queue, dimensions))
        self._fresh: Tensor | None = None
        self._unit_length()

    @property
    def chance(self) -> float:
        """The loss where every prototype is as likely as another."""
        return math.log(len(self.prototypes.weight))

    def forward(self, step: StepLike) -> Tensor:
        z = [F.normalize(full(self.projection(features)), dim=1) for features in self.every(step)]
        scores = [self._scores(one) for one in z]
        codes = [self._codes(place, scores[place].detach()) for place in range(len(PAIR))]
        each = torch.stack([soft_targets(scores[said], codes[aim], self.temperature) for aim, said in self.pairs])
        self._fresh = torch.stack([one.detach() for one in z[: len(PAIR)]], 1) if self.queue.shape[1] else None
        return step.mean_all(each.mean(0))

    def _scores(self, z: Tensor) -> Tensor:
        with exact(z):
            return F.linear(z, full(self.prototypes.weight))

    @torch.no_grad()
    def _codes(self, place: int, scores: Tensor) -> Tensor:
        """`[B, prototypes]` of one global view, shared out among the images of all processes and the queue's."""
        every, first = gathered_at(scores)
        if self.filled and self.filled == self.queue.shape[1] and self.progress >= self.queue_from:
            every = torch.cat([every, self._scores(self.queue[place])])
        return sinkhorn(every, self.eps, self.iterations)[first : first + len(scores)]

    def after_backward(self, step: StepLike) -> None:
        # Weight decay, which may still act, changes lengths, and those are made 1 again.
        if self.progress < self.frozen and self.prototypes.weight.grad is not None:
            self.prototypes.weight.grad.zero_()

    @torch.no_grad()
    def after_step(self, step: StepLike) -> None:
        """Prototypes get length 1 again, and the queue takes this step's embeddings, its newest first."""
        self._unit_length()
        if self._fresh is not None:
            size = self.queue.shape[1]
            fresh = gathered(self._fresh).transpose(0, 1).to(self.queue.dtype)[:, :size]
            self.queue.copy_(torch.cat([fresh, self.queue[:, : size - fresh.shape[1]]], 1))
            self.filled, self._fresh = min(size, self.filled + fresh.shape[1]), None
        super().after_step(step)

    @torch.no_grad()
    def _unit_length(self) -> None:
        self.prototypes.weight.copy_(F.normalize(self.prototypes.weight, dim=1))

    def get_extra_state(self) -> dict[str, int]:
        """What a checkpoint keeps besides tensors: the steps done, and how much of the queue is filled."""
        return {"done": self.done, "filled": self.filled}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on with the next step."""
        super().set_extra_state(state)
        self.filled = int(state["filled"])
