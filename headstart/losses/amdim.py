"""Which image's map is it? The scores of AMDIM (Bachman, Hjelm & Buchwalter 2019). Float32 at least inside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from headstart.losses.precision import exact, full


def soft_clip(scores: Tensor, clip: float) -> Tensor:
    """c tanh(s / c): as it is near 0, never beyond `clip`."""
    return clip * torch.tanh(scores / clip)


def map_scores(sources: Tensor, targets: Tensor) -> Tensor:
    """`[A, N, L]` raw scores of sources `[A, D]` with the L places of targets `[N, L, D]`: products over sqrt(D)."""
    with exact(sources):
        flat = full(targets).flatten(0, 1)
        scores = (full(sources) / math.sqrt(sources.shape[1])) @ flat.mT
        return scores.view(len(sources), *targets.shape[:2])


def map_nce(raw: Tensor, own: Tensor, clip: float) -> Tensor:
    """`[A]`: mean over the places of a source's own map of -log softmax of its score (section 3.2 of the paper).

    raw  `[A, N, L]` scores, see `map_scores`; they are clipped softly first
    own  `[A]` int64: which of the N images is the source's. All places of the others are the negatives; places of its own
         map are no negatives of each other

    ln(1 + (N - 1) L) where all scores are equal; 0 where there is no other image.
    """
    with exact(raw):
        scores = soft_clip(full(raw), clip)
        at = torch.arange(len(scores), device=scores.device)
        positive = scores[at, own]
        # A large finite number: of minus infinities alone there is no gradient.
        others = scores.index_put((at, own), scores.new_full((), torch.finfo(scores.dtype).min / 4))
        negative = torch.logsumexp(others.flatten(1), 1, keepdim=True)
        return (torch.logaddexp(positive, negative) - positive).mean(1)


def raw_penalty(raw: Tensor) -> Tensor:
    """`[A]` mean squared raw score: before the clip, where scores that grew too large still have a gradient."""
    return full(raw).square().mean((1, 2))
