"""Views that agree while the dimensions of their embedding differ: Barlow Twins and VICReg.

Their statistics are over the images of a step in all processes.
"""

from __future__ import annotations

from torch import Tensor

from headstart.losses.redundancy import (
    barlow_twins,
    covariance_penalty,
    cross_correlation,
    invariance,
    variance_hinge,
)
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.terms.base import StepLike
from headstart.terms.bootstrap import PAIR
from headstart.terms.embedded import Embedded
from headstart.terms.gather import gathered
from headstart.terms.perceptron import perceptron


class Expanded(Embedded):
    """Both views' embeddings through three layers as wide as the embedding, batch normalisation in the first two.

    dimensions  of the embedding, usually more than the features have
    """

    def __init__(self, net: Net, *, dimensions: int, seed: int, block: str | None = None) -> None:
        super().__init__(net, block=block)
        widths = (self.width, dimensions, dimensions, dimensions)
        self.projection = perceptron(widths, seed_for(seed, "expanded", "projection"))

    def embedded(self, step: StepLike) -> list[Tensor]:
        """`[N, dimensions]` of each view, of all processes; the views pass apart."""
        return [gathered(self.projection(self.features(step, view))) for view in PAIR]


class Decorrelated(Expanded):
    """scale * (sum of (1 - C_ii)^2 + weight * sum over i != j of C_ij^2), C the correlation between the embeddings of two
    views over a batch (Zbontar et al. 2021, eq. 1).

    weight  their lambda
    scale   of the whole, a rate by another name: the sum grows with the dimensions (their code: 0.024)
    """

    def __init__(
        self, net: Net, *, dimensions: int, weight: float, scale: float, seed: int, block: str | None = None
    ) -> None:
        super().__init__(net, dimensions=dimensions, seed=seed, block=block)
        self.weight, self.scale, self.dimensions = weight, scale, dimensions

    @property
    def chance(self) -> float:
        """The loss where nothing correlates with anything."""
        return self.scale * self.dimensions

    def forward(self, step: StepLike) -> Tensor:
        one, other = self.embedded(step)
        # Every process computes the loss of the whole batch, so each has its share of it.
        return step.once(self.scale * barlow_twins(cross_correlation(one, other), self.weight))


class Regularised(Expanded):
    """lambda * s(Z, Z') + mu * (v(Z) + v(Z')) / 2 + nu * (c(Z) + c(Z')) (Bardes et al. 2022, eq. 6): views alike, every
    dimension spread, no two the same.

    weights  (lambda, mu, nu). s is the mean over dimensions and v is halved, as in the authors' code, for which their
             weights (25, 25, 1) were found; the paper's equations have the sum and no half
    """

    def __init__(
        self, net: Net, *, dimensions: int, weights: tuple[float, float, float], seed: int, block: str | None = None
    ) -> None:
        super().__init__(net, dimensions=dimensions, seed=seed, block=block)
        self.weights = weights

    def forward(self, step: StepLike) -> Tensor:
        one, other = self.embedded(step)
        alike, spread, apart = self.weights
        loss = alike * invariance(one, other).mean()
        loss = loss + spread * (variance_hinge(one) + variance_hinge(other)) / 2
        return step.once(loss + apart * (covariance_penalty(one) + covariance_penalty(other)))
