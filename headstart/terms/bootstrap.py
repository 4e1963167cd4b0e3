"""Views that predict each other, without negatives: BYOL (Grill et al. 2020) and SimSiam (Chen & He 2021)."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.agreement import cosine_course, negative_cosine, normalised_error
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.terms.base import StepLike
from headstart.terms.embedded import Embedded
from headstart.terms.momentum import MomentumCopy
from headstart.terms.perceptron import perceptron

PAIR = ("one", "two")
"""Names of the two views."""


class Bootstrap(Embedded):
    """Predict, from one view, the projection that a slowly moving copy makes of the other; both ways (Grill et al. 2020).

    The loss of an image is ||q(z1) - z2'||^2 + ||q(z2) - z1'||^2 between vectors of length 1 (eqs. 2-3), where z' is the
    copy's. Backbone and projection have a copy, the predictor q has none. The copy's decay rises along a cosine from
    `momentum` to 1 (section 3.3). The views pass apart, so that batch normalisation never sees both.

    net         its last block is embedded, and it is followed; kept by reference, not as a part of the term
    dimensions  of the projection; `hidden` units in projection and predictor, with batch normalisation
    steps       of the whole training
    """

    net: Net

    def __init__(
        self, net: Net, *, dimensions: int, hidden: int, momentum: float, steps: int, seed: int, block: str | None = None
    ) -> None:
        super().__init__(net, block=block, steps=steps)
        # Past nn.Module's own bookkeeping: the net's weights are trained as its own, and must not be this term's too.
        object.__setattr__(self, "net", net)
        self.momentum = momentum
        self.projection = perceptron((self.width, hidden, dimensions), seed_for(seed, "bootstrap", "projection"))
        self.predictor = perceptron((dimensions, hidden, dimensions), seed_for(seed, "bootstrap", "predictor"))
        self.slow = MomentumCopy(net, momentum)
        self.slow_projection = MomentumCopy(self.projection, momentum)

    @property
    def chance(self) -> float:
        """The loss where what is predicted is at right angles to the prediction, both ways."""
        return 4.0

    @property
    def decay(self) -> float:
        """The copy's decay now."""
        return cosine_course(self.momentum, 1.0, self.progress)

    def forward(self, step: StepLike) -> Tensor:
        said = [self.predictor(self.projection(self.features(step, view))) for view in PAIR]
        with torch.no_grad():
            aims = [self.slow_projection(self._followed(step, view)) for view in PAIR]
        return step.mean_all(normalised_error(said[0], aims[1]) + normalised_error(said[1], aims[0]))

    def _followed(self, step: StepLike, view: str) -> Tensor:
        """`[B, C]` features by the copy."""
        start, below = step.below(view)
        return self.slow.features(below, self.block, start)

    def after_step(self, step: StepLike) -> None:
        self.slow.follow(self.net, self.decay)
        self.slow_projection.follow(self.projection, self.decay)
        super().after_step(step)


class Siamese(Embedded):
    """Predict, from one view, the projection of the other, through which no gradient flows; both ways (Chen & He 2021).

    An image loses -cos(q(z1), z2) / 2 - cos(q(z2), z1) / 2 (eq. 4). No copy and no negatives: the gradient stopped at the
    z that is predicted keeps the embedding from becoming one point (their section 4.1). The views pass apart.

    dimensions  of the projection, three layers, the output normalised too; `hidden` units in the predictor, a bottleneck
    """

    def __init__(
        self, net: Net, *, dimensions: int, hidden: int, steps: int = 1, seed: int, block: str | None = None
    ) -> None:
        super().__init__(net, block=block, steps=steps)
        widths = (self.width, dimensions, dimensions, dimensions)
        self.projection = perceptron(widths, seed_for(seed, "siamese", "projection"), last_norm=True)
        self.predictor = perceptron((dimensions, hidden, dimensions), seed_for(seed, "siamese", "predictor"))

    def forward(self, step: StepLike) -> Tensor:
        z = [self.projection(self.features(step, view)) for view in PAIR]
        p = [self.predictor(one) for one in z]
        each = negative_cosine(p[0], z[1].detach()) + negative_cosine(p[1], z[0].detach())
        return step.mean_all(0.5 * each)
