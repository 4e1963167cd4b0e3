"""NT-Xent, the loss of SimCLR (Chen et al. 2020, eq. 1), and the scores of two views that other losses can take instead."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.info_nce import info_nce
from headstart.losses.similarity import Similarity, similarities


def nt_xent(
    one: Tensor,
    two: Tensor,
    temperature: float = 0.5,
    similarity: Similarity = "cosine",
    *,
    every: tuple[Tensor, Tensor] | None = None,
    first: int = 0,
) -> Tensor:
    """`[B]`: for each image the mean of the losses of its two views, so that the mean over images is over all 2N anchors.

    one, two  `[B, D]` embeddings of two views of the same images
    every     `[N, D]` each: those of the whole batch, where this is a part of it; None: these are the batch
    first     place of this part's first image in the batch

    An anchor's candidates are all views of the batch but itself, its positive is the other view of its image; logits are
    float32 at least. ln(2N - 1) where all embeddings are equal. Memory is that of `[2B, 2N]` numbers.
    """
    return info_nce(*both_ways(one, two, temperature, similarity, every=every, first=first)).view(2, -1).mean(0)


def both_ways(
    one: Tensor,
    two: Tensor,
    temperature: float,
    similarity: Similarity = "cosine",
    *,
    every: tuple[Tensor, Tensor] | None = None,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """Scores `[2B, 2N]` of all anchors, views one before views two, minus infinity with themselves; positives `[2B]`."""
    every = every or (one, two)
    total = len(every[0])
    scores = similarities(torch.cat([one, two]), torch.cat(every), similarity, temperature)
    places = torch.arange(first, first + len(one), device=one.device)
    itself, positive = torch.cat([places, places + total]), torch.cat([places + total, places])
    # In place: nothing else needs these scores, and a copy would be as large again.
    return scores.scatter_(1, itself[:, None], -torch.inf), positive


def across(
    one: Tensor,
    two: Tensor,
    temperature: float,
    similarity: Similarity = "cosine",
    *,
    every: tuple[Tensor, Tensor] | None = None,
    first: int = 0,
) -> tuple[Tensor, Tensor]:
    """Scores `[2B, N]` of view one with all views two, and of view two with all views one; positives `[2B]`, the diagonal.

    The N candidates of InfoNCE, where views of the same kind are no negatives: ln N where all embeddings are equal.
    """
    ones, twos = every or (one, two)
    scores = [similarities(a, b, similarity, temperature) for a, b in ((one, twos), (two, ones))]
    places = torch.arange(first, first + len(one), device=one.device)
    return torch.cat(scores), places.repeat(2)
