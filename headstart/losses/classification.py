"""Losses of one question with one right answer per sample. Pure functions; float32 at least inside, also under autocast."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def cross_entropy(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy per sample `[N]` of logits `[N, C]` against class numbers `[N]` or probabilities `[N, C]`.

    smoothing  moves this share of the target's mass to the uniform distribution (Szegedy et al. 2016)
    weight     `[C]` multiplies each class's part of the target; with class numbers, sample i is multiplied by
               `weight[target_i]` (smoothed mass included, unlike torch's reduction, so that a sample counts as one thing)

    Linear in the target: mixed labels give the mix of their losses.
    """
    log_p = F.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), 1)
    if targets.ndim == 1:
        loss = F.nll_loss(log_p, targets, reduction="none")
        scale = weight[targets] if weight is not None else None
        loss = loss * scale if scale is not None else loss
    else:
        shares = targets.to(log_p.dtype) if weight is None else targets.to(log_p.dtype) * weight
        loss = -(shares * log_p).sum(1)
        scale = shares.sum(1)
    if smoothing:
        even = -log_p.mean(1)
        loss = (1 - smoothing) * loss + smoothing * (even if scale is None else even * scale)
    return loss
