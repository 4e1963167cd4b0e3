"""Attention transfer: the student should look where the teacher looks."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.attention import attention_map, attention_transfer
from headstart.nets.net import Net
from headstart.terms.base import StepLike
from headstart.terms.features import FeatureTerm, Pairs
from headstart.terms.teacher import Live


class AttentionTransfer(FeatureTerm):
    """weight * sum over pairs of the mean squared difference of unit attention maps (Zagoruyko & Komodakis 2017, eq. 2).

    weight  beta of the authors' code (where the paper's equation has beta / 2). They take 1000, for maps of 8 x 8 places at
            least and hundreds of epochs; beside the soft term 1000 drowned everything else in 12 epochs on digits (18 %
            right), where 100 helped (76 %, the soft term alone 56 %)
    power   p of the sum over channels of |a|^p that makes the map
    """

    def __init__(
        self, student: Net, teacher: Live, pairs: Pairs, *, weight: float = 100.0, power: float = 2.0, view: str = "main"
    ) -> None:
        super().__init__(student, teacher, pairs, view, weight=weight, power=power)
        self.weight, self.power = weight, power

    def forward(self, step: StepLike) -> Tensor:
        both = [[attention_map(maps, self.power) for maps in self.maps(step, pair)] for pair in self.pairs]
        return self.weight * step.mean_all(torch.stack([attention_transfer(ours, theirs) for ours, theirs in both]).sum(0))
