"""Relational distillation: samples should lie to each other as they do for the teacher."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.errors import ConfigError
from headstart.losses.relational import angle, distance
from headstart.nets.net import Net
from headstart.terms.base import StepLike
from headstart.terms.features import FeatureTerm, Pairs
from headstart.terms.teacher import Live


class Relational(FeatureTerm):
    """weight * sum over pairs of blocks of distance and angle times their losses on pooled activations (Park et al. 2019).

    distance, angle  25 and 50 are the paper's for classification; 0 leaves one out. Angles take memory for
                     B^3 numbers in a batch of B

    Relations are those within a process's part of the batch.
    """

    def __init__(
        self,
        student: Net,
        teacher: Live,
        pairs: Pairs,
        *,
        distance: float = 25.0,
        angle: float = 50.0,
        weight: float = 1.0,
        view: str = "main",
    ) -> None:
        super().__init__(student, teacher, pairs, view, weight=weight, distance=distance, angle=angle)
        if not distance and not angle:
            raise ConfigError("distance=0 and angle=0 leave no relation to learn; give one of them a weight")
        self.weight, self.distance, self.angle = weight, distance, angle

    def forward(self, step: StepLike) -> Tensor:
        parts = []
        for pair in self.pairs:
            both = self.vectors(step, pair)
            parts += [self.distance * distance(*both)] if self.distance else []
            parts += [self.angle * angle(*both)] if self.angle else []
        return self.weight * step.mean_all(torch.stack(parts).sum(0))
