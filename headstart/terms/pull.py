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
    """`strength * sum_{i<j} ||theta_i - theta_j||^2 / P` over the towers of a network.

    Duong et al. 2015 pull the weights of two parsers together by their squared distance; here there may be more than two,
    and the sum is divided by P, the number of parameters of one tower, so that a strength means the same for small and
    large networks. theta_i are the parameters of tower i, those of its normalisation layers included. Statistics of
    BatchNorm, heads, cross-stitch units and shared blocks are not pulled. It is zero while the towers are equal, its
    gradient is `2 strength (K theta_i - sum_j theta_j) / P`, and it counts once in any number of processes.

    net       one with towers (`nets.towers.towers`); its parameters stay its own, and nothing is kept with the term
    strength  0 or larger

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
