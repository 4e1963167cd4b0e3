"""Hints: the student's activations should hold what the teacher's do."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from headstart.losses.hints import unexplained
from headstart.losses.places import averaged_down
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike
from headstart.terms.features import FeatureTerm, Pairs, mean_square
from headstart.terms.teacher import Live


class Hints(FeatureTerm):
    """weight * sum over pairs of the mean of |regressor(student) - teacher|^2 over the mean of |teacher|^2 (FitNets).

    Romero et al. 2015, eq. 3, as a term beside the others instead of a stage before them, and relative to the teacher's
    activation: with the plain square, students diverge at usual rates behind teachers of large activations. The regressor of
    a pair is a 1x1 convolution, which trains: name the term in `trains`. The finer of two maps is averaged down to the
    other's places first, for which the paper takes a larger kernel.

    seed  of the regressors' initial weights
    """

    def __init__(
        self, student: Net, teacher: Live, pairs: Pairs, *, weight: float = 3.0, seed: int = 0, view: str = "main"
    ) -> None:
        super().__init__(student, teacher, pairs, view, weight=weight)
        self.weight = weight
        with forked(seed_for(seed, "terms", "hints")):
            self.regressors = nn.ModuleList(
                nn.Conv2d(student.info[ours].channels, teacher.net.info[theirs].channels, 1) for ours, theirs in self.pairs
            )

    def forward(self, step: StepLike) -> Tensor:
        parts = []
        for pair, regressor in zip(self.pairs, self.regressors, strict=True):
            ours, theirs = self.maps(step, pair)
            places = [min(a, b) for a, b in zip(ours.shape[2:], theirs.shape[2:], strict=True)]
            wanted = averaged_down(theirs, places)
            parts.append(unexplained(regressor(averaged_down(ours, places)), wanted, mean_square(wanted)))
        return self.weight * step.mean_all(torch.stack(parts).sum(0))
