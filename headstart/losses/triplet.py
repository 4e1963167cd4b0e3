"""An anchor nearer to its positive than to its negatives, by a margin (Schroff et al. 2015; Hermans et al. 2017).

Distances are squared and Euclidean, between unit vectors unless said otherwise. Float32 at least inside.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import full
from headstart.losses.similarity import Similarity, laid

Mining = Literal["hard", "all"]
"""Of an anchor's negatives the nearest, or each of them."""


def triplet(
    anchor: Tensor, positive: Tensor, negative: Tensor, margin: float = 0.2, similarity: Similarity = "cosine"
) -> Tensor:
    """`[N]`: max(0, |a - p|^2 - |a - n|^2 + margin) of triples `[N, D]` (Schroff et al. 2015, eq. 2)."""
    a, p, n = (laid(x, similarity) for x in (anchor, positive, negative))
    return F.relu((a - p).square().sum(1) - (a - n).square().sum(1) + margin)


def mined(apart: Tensor, positive: Tensor, margin: float = 0.2, mining: Mining = "hard") -> Tensor:
    """`[A]`: the loss of an anchor's nearest negative, or the mean over all its negatives (Hermans et al. 2017, eqs. 5, 7).

    apart     `[A, M]` distances from candidates, infinite where one does not count (the anchor itself)
    positive  `[A]` int64: which candidate is the anchor's positive; all other columns are negatives

    0 where there is no negative. Of two views there is one positive, the hardest of which is itself.
    """
    apart = full(apart)
    near = apart.gather(1, positive[:, None])
    # In `scatter` and not in place: the distances of the positives are needed above.
    others = apart.scatter(1, positive[:, None], torch.inf)
    if mining == "hard":
        return F.relu(near - others.amin(1, keepdim=True) + margin)[:, 0]
    count = (others < torch.inf).sum(1).clamp(min=1)
    return F.relu(near - others + margin).sum(1) / count
