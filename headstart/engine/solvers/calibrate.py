"""How much a margin is worth: the scale of logits that makes out-of-fold probabilities honest."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.engine.solvers.linear import ABSENT

_LIMITS = (1e-3, 1e3)


def calibration_scale(logits: Tensor, labels: Tensor, sample_weight: Tensor | None = None) -> float:
    """The scale s that minimises the negative log-likelihood of softmax(s * logits) (temperature 1 / s).

    logits  `[N, C]` of images that the classifier did not learn from; rows with NaN (never held out) are left out, as are
            images of a class their fold did not know

    Targets are smoothed as Platt (1999) does, by 2 / (N + 2) spread over the classes: a small set without a mistake would
    otherwise ask for infinite certainty. A common shift of all logits cancels in the softmax, so none is learned.
    """
    own = logits.gather(1, labels.long()[:, None])[:, 0]
    usable = torch.isfinite(logits).all(1) & (own > ABSENT / 2)
    if sample_weight is not None:
        usable &= sample_weight > 0
    if not usable.any():
        return 1.0
    scores, truth = logits[usable].double(), labels[usable].long()
    weights = torch.ones(len(truth), dtype=torch.float64) if sample_weight is None else sample_weight[usable].double()
    smoothing = 2 / (len(truth) + 2)
    # a class some fold did not know has no margin there: it takes no part in the smoothing either
    known = scores > ABSENT / 2
    spread = smoothing * known.double() / known.sum(1, keepdim=True)
    target = spread.scatter_add(1, truth[:, None], torch.full_like(own[usable], 1 - smoothing)[:, None].double())
    return _newton(torch.where(known, scores, -torch.inf), target, weights / weights.sum())


def _newton(scores: Tensor, target: Tensor, weights: Tensor) -> float:
    """Root of the slope of the negative log-likelihood, which is convex in the scale: Newton, fenced in by bisection."""
    finite = torch.where(torch.isfinite(scores), scores, 0.0)
    wanted = (target * finite).sum(1)

    def slope(scale: float) -> tuple[float, float]:
        chance = (scale * scores).softmax(1)
        mean = (chance * finite).sum(1)
        spread = (chance * finite.square()).sum(1) - mean.square()
        return float(weights @ (mean - wanted)), float(weights @ spread)

    low, high = _LIMITS
    if slope(low)[0] >= 0 or slope(high)[0] <= 0:
        return low if slope(low)[0] >= 0 else high
    scale = 1.0
    for _ in range(100):
        down, bend = slope(scale)
        low, high = (scale, high) if down < 0 else (low, scale)
        guess = scale - down / bend if bend > 0 else low
        # the fence is geometric: the scale of margins is unknown by orders of magnitude
        following = guess if low < guess < high else (low * high) ** 0.5
        if abs(following - scale) <= 1e-10 * scale:
            return following
        scale = following
    return scale
