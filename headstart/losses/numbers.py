"""Losses of numbers, and of yes/no questions asked several at once. Pure functions; float32 at least inside, also under
autocast."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import full


def squared_error(predictions: Tensor, targets: Tensor) -> Tensor:
    """`(p - y)^2` per sample `[N]` of predictions and targets `[N]` in the same unit."""
    return (full(predictions) - full(targets)).square()


def huber_error(predictions: Tensor, targets: Tensor, delta: float = 1.0) -> Tensor:
    """Per sample `[N]`: `d^2 / 2` where `d = |p - y|` is below `delta`, else `delta (d - delta / 2)` (Huber 1964).

    Grows like the distance for outliers, which a squared error would let rule the gradient. With `delta` 1 it is the smooth
    L1 loss; for small distances half the squared error. `delta` > 0, in the unit of the targets.
    """
    if delta <= 0:
        raise ValueError(f"delta={delta} must be positive")
    return F.huber_loss(full(predictions), full(targets), reduction="none", delta=delta)


def binary_cross_entropy(logits: Tensor, targets: Tensor, *, positive: Tensor | None = None) -> Tensor:
    """Cross-entropy of yes/no questions, per entry `[N, L]` (or `[N]`) of logits, against targets of the same shape.

    targets   1 yes, 0 no, or a probability between
    positive  `[L]` counts the loss of a yes this many times as much as that of a no

    From logits by log-sigmoid, which neither overflows nor loses the digits of a sure answer.
    """
    logits = full(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), pos_weight=positive, reduction="none")
