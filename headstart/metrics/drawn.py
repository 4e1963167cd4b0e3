"""A number with images, and where there are several trained networks seeds, drawn anew: how far it could be from itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.errors import DataError
from headstart.metrics.intervals import normal_quantile, t_quantile
from headstart.seeding import generator

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """A number that is a mean over seeds, or about one, with images and seeds drawn anew.

    mean     as measured
    drawn    `[D]` redrawn
    freedom  Satterthwaite's degrees of freedom over seeds and images; infinite for one seed
    """

    mean: float
    drawn: Floats
    freedom: float

    @staticmethod
    def over_seeds(own: Floats, many: Floats, images: int, seed: int, purpose: str) -> Drawn:
        """From the value `[S]` of each seed and the same on images drawn anew, `[S, D]`; seeds are drawn here.

        Variances over seeds and over images add up, and each has its own degrees of freedom: two seeds that agree as well
        as their images let them do not make the whole as uncertain as two numbers are.
        """
        seeds = len(own)
        if seeds == 1:
            return Drawn(float(own[0]), many[0], math.inf)
        # Drawing S seeds from S understates their variance by (S - 1) / S; see `resample.spread_seeds`.
        moved = many + ((math.sqrt(seeds / (seeds - 1)) - 1) * (own - own.mean()))[:, None]
        stream = generator(seed, "bootstrap", purpose, "seeds")
        picked = stream.multinomial(seeds, np.full(seeds, 1 / seeds), many.shape[1])
        variances = [(own.var(ddof=1) / seeds, seeds - 1), (many.mean(0).var(), images - 1)]
        below = sum(variance**2 / dof for variance, dof in variances if dof)
        freedom = sum(variance for variance, _ in variances) ** 2 / below if below > 0 else math.inf
        return Drawn(float(own.mean()), (picked.T * moved).sum(0) / seeds, float(freedom))

    def ends(self, level: float) -> tuple[float, float]:
        """Percentile interval, widened from normal to Student's t around the mean where seeds were drawn."""
        if not 0 < level < 1:
            raise DataError(f"level = {level} must lie between 0 and 1, e.g. 0.95")
        upper = 0.5 + level / 2
        factor = t_quantile(upper, self.freedom) / normal_quantile(upper)
        low, high = np.quantile(self.drawn, [1 - upper, upper])
        return float(self.mean + factor * (low - self.mean)), float(self.mean + factor * (high - self.mean))


def defined(many: Floats, draws: int, images: int, what: str) -> Floats:
    """The draws `[S, D]` that gave every seed a number. Raises DataError where more than half of them did not."""
    found: Floats = many[:, np.isfinite(many).all(0)]
    if found.shape[1] < draws / 2:
        raise DataError(f"{what} is not defined in most draws of these {images} images: one answer is too rare")
    return found
