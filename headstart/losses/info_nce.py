"""Which of many is the right one? Noise-contrastive losses on scores, one row per anchor (van den Oord et al. 2018).

A column that does not count for an anchor (the anchor itself, a negative that is none) has the score minus infinity.
Pure functions, float32 at least inside.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import exact, full


def info_nce(scores: Tensor, positive: Tensor) -> Tensor:
    """`[A]`: minus the log-probability of the positive under a softmax over all candidates (eq. 4 of the paper).

    scores    `[A, M]` logits; the similarity over its temperature, say
    positive  `[A]` int64: which column is the anchor's positive

    ln M where all scores are equal; 0 where nothing but the positive counts.
    """
    with exact(scores):
        return F.cross_entropy(full(scores), positive, reduction="none")


def nce(scores: Tensor, positive: Tensor) -> Tensor:
    """`[A]`: is it the positive or one of the K negatives? Binary, each candidate by itself.

    -log s(f+ - log K) - sum over negatives of log(1 - s(f - log K)), s the logistic function: noise-contrastive estimation
    (Gutmann & Hyvarinen 2010, eqs. 2-3; Mnih & Teh 2012) with K noise samples per observation, whose score f is the log of
    the ratio of the two densities and is not normalised. Arguments as of `info_nce`; log(1 + K) + K log(1 + 1 / K) where
    all scores are 0, 0 where there is no negative.
    """
    with exact(scores):
        scores = full(scores)
        count = (scores > -torch.inf).sum(1, keepdim=True) - 1
        shifted = scores - count.clamp(min=1).to(scores.dtype).log()
        right = shifted.gather(1, positive[:, None])
        away = F.softplus(shifted.scatter(1, positive[:, None], -torch.inf)).sum(1, keepdim=True)
        return torch.where(count > 0, F.softplus(-right) + away, 0 * right)[:, 0]


def against(positive: Tensor, negatives: Tensor) -> tuple[Tensor, Tensor]:
    """Scores `[A, 1 + K]` and positives for the two above, from `[A]` scores of positives and `[A, K]` of negatives."""
    scores = torch.cat([full(positive)[:, None], full(negatives)], 1)
    return scores, torch.zeros(len(scores), dtype=torch.int64, device=scores.device)
