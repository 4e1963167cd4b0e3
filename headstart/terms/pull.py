"""Soft sharing: towers of their own, whose weights are drawn to one another."""

from __future__ import annotations

import math

from torch import Tensor

from headstart.errors import ConfigError, problems
from headstart.losses.sharing import apart
from headstart.nets.net import Net
from headstart.nets.parallel import tower_parameters
from headstart.terms.base import StepLike, Term


class Pull(Term):
    """`strength / 2 * sum_k ||theta_k - mean||^2` over the towers of a network, the mean being that of all towers.

    Duong et al. 2015 pull the weights of two parsers together by their squared distance; here there may be more than two,
    and each is drawn to their mean: `strength / (2 K) sum_{i<j} ||theta_i - theta_j||^2`, of two towers a quarter of their
    squared distance. The gradient is `strength (theta_k - mean)`, so that a plain step of rate `lr` takes the share
    `lr * strength` of what a tower is away from the mean, whatever the size of the network and the number of towers: the
    strength is a weight decay, towards the mean instead of nought, and compares with one. With AdamW it is part of the
    gradient that is scaled, as L2 regularisation is, and no such share is known.

    theta_k are the parameters of tower k, those of its normalisation layers included. Statistics of BatchNorm, heads,
    cross-stitch units and shared blocks are not pulled. It is zero while the towers are equal, and it counts once in any
    number of processes.

    net       one with towers (`nets.towers.towers`); its parameters stay its own, and nothing is kept with the term
    strength  0 or larger; see `overshoots` for what is too large

    Raises ConfigError for a network without towers, towers without weights, and a strength that is no such number.
    """

    def __init__(self, net: Net, strength: float) -> None:
        super().__init__()
        # A plain list registers nothing: the weights belong to the net.
        self.live = tower_parameters(net)
        faults = [] if 0 <= strength < math.inf else [f"strength={strength}: give a number that is 0 or larger"]
        if net.towers is None:
            faults.append("the network has no towers, so nothing can be drawn together; make some with nets.towers.towers")
        elif not self.live[0]:
            faults.append("its towers have no weights; share fewer blocks")
        problems(ConfigError, "towers cannot be pulled together as asked:", faults)
        self.strength = strength

    def forward(self, step: StepLike) -> Tensor:
        return step.once(self.strength * apart(self.live))


def overshoots(rate: float, momentum: float) -> float:
    """The strength from which a pull alone drives towers apart: SGD at this rate, with Nesterov momentum as PyTorch has it.

    With `a = rate * strength`, what a tower is away from the mean (x) and its velocity v follow `v' = momentum v +
    strength x`, `x' = x - rate (strength x + momentum v')`. The matrix of that step has determinant `momentum (1 - a)` and
    trace `1 + momentum - a (1 + momentum)`; both eigenvalues stay below one in size as long as
    `a < (2 + 2 momentum) / (1 + 2 momentum)`.
    """
    return (2 + 2 * momentum) / (1 + 2 * momentum) / rate
