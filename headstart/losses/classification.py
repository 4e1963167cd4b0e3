"""Losses of one question with one right answer per sample. Pure functions; float32 inside, also under autocast."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy per sample `[N]` of logits `[N, C]` against class numbers `[N]` or probabilities `[N, C]`.

    smoothing  moves this share of the target's mass to the uniform distribution (Szegedy et al. 2016)
    weight     `[C]` multiplies each class's contribution; with class numbers, sample i is multiplied by `weight[target_i]`
               (smoothed mass included, unlike torch's reduction, so that a sample counts as one thing)
    """
    log_p = F.log_softmax(logits.float(), 1)
    if targets.ndim == 1:
        loss = -log_p.gather(1, targets[:, None])[:, 0]
        scale = weight[targets] if weight is not None else None
    else:
        loss = -(targets * log_p).sum(1)
        scale = targets @ weight if weight is not None else None
    if smoothing:
        loss = (1 - smoothing) * loss - smoothing * log_p.mean(1)
    return loss * scale if scale is not None else loss
