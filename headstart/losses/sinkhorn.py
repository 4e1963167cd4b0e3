"""Images shared out evenly among prototypes (Caron et al. 2020): Sinkhorn and Knopp's algorithm, in logarithms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headstart.losses.precision import full


def sinkhorn(scores: Tensor, eps: float = 0.05, iterations: int = 3) -> Tensor:
    """`[N, K]` codes: the share of each image that goes to each prototype, rows summing to 1 (Caron et al. 2020, eqs. 3-5).

    scores      `[N, K]` of all images of a step (over several processes: of all)
    eps         entropy: small makes a code nearly one prototype, large an even mix
    iterations  each lets every prototype take N / K images and then every image be given away once; in the limit both hold.
                After a few, columns hold approximately and rows exactly

    In logarithms, so that no score is too large for e^(score / eps). A constant: nothing flows back.
    """
    with torch.no_grad():
        log_q = full(scores) / eps
        share = math.log(len(scores) / scores.shape[1])
        for _ in range(iterations):
            log_q = log_q - torch.logsumexp(log_q, 0, keepdim=True) + share
            log_q = log_q - torch.logsumexp(log_q, 1, keepdim=True)
        return log_q.exp()
