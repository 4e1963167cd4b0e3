"""Averaged Gradient Episodic Memory: the gradient never points against that of stored samples."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from headstart.balance.base import Balance, Groups
from headstart.balance.gradients import Gradient, add_to, gradient_of, summed


class AGem(Balance):
    """g, or g - (g . r / r . r) r where g . r < 0 (Chaudhry et al. 2019, eq. 11).

    g is the gradient of all losses but the one called `memory`, r that one's, over all trained parameters together. The
    gradient r itself is never added: stored samples only forbid, they do not teach. Without that loss in a step, or with
    r = 0, the gradient is g. Products are taken in float64.

    Under several processes, each of which holds its share of both gradients, g . r and r . r are those of the sums over
    processes; as the projection is linear, the projected shares sum to the projected sum.
    """

    def __init__(self, memory: str = "memory") -> None:
        super().__init__()
        self.memory = memory

    def backward(self, losses: Mapping[str, Tensor], groups: Groups, step: int) -> dict[str, float]:
        weights = {name: 1.0 for name in losses if name != self.memory}
        parameters = [parameter for group in groups.values() for parameter in group]
        new = torch.stack([losses[name] for name in weights]).sum()
        reference = losses.get(self.memory)
        if reference is not None and not reference.requires_grad:
            reference = None  # nothing that trains answers for stored samples
        gradient = gradient_of(new, parameters, keep=reference is not None)
        if reference is not None:
            against = gradient_of(reference, parameters)
            weight = _weight(gradient, against)
            weights[self.memory] = weight
            if weight:
                gradient = [_added(g, r, weight) for g, r in zip(gradient, against, strict=True)]
        add_to(parameters, gradient)
        return weights


def _added(g: Tensor | None, r: Tensor | None, weight: float) -> Tensor | None:
    if r is None:
        return g
    return weight * r if g is None else g + weight * r


def _weight(gradient: Gradient, against: Gradient) -> float:
    """-(g . r) / (r . r) where g . r < 0, else 0."""
    gradient, against = summed((gradient, against))
    both = [(g, r.double()) for g, r in zip(gradient, against, strict=True) if r is not None]
    squared = [(r * r).sum() for _, r in both]
    product = [(g.double() * r).sum() for g, r in both if g is not None]
    if not product:
        return 0.0
    # One message from the device for all parameters.
    dot, norm = torch.stack([torch.stack(product).sum(), torch.stack(squared).sum()]).tolist()
    return -dot / norm if dot < 0 < norm else 0.0
