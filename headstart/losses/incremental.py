"""Losses over several heads whose logits stand side by side, as tasks learned one after the other leave them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import full


def heads_of(labels: Tensor, sizes: Sequence[int]) -> Tensor:
    """`[N]` int64: the head of each label, where labels count in one list over heads of `sizes` classes."""
    ends = torch.tensor(list(accumulate(sizes)), device=labels.device)
    return torch.bucketize(labels, ends, right=True)


def within_head(labels: Tensor, sizes: Sequence[int]) -> Tensor:
    """`[N, sum(sizes)]` bool: which classes of the list belong to the head of each label."""
    of_class = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(list(sizes))).to(labels.device)
    return of_class == heads_of(labels, sizes)[:, None]


def cross_entropy_within(logits: Tensor, labels: Tensor, sizes: Sequence[int], *, per_head: bool) -> Tensor:
    """Cross-entropy per sample `[N]` of the logits `[N, C]` of several heads side by side.

    labels    `[N]` int64, counting in one list over the heads: of the second head from `sizes[0]` on
    sizes     number of classes of each head, C together
    per_head  True: the softmax is over the classes of the label's own head, whose task is known (task-incremental);
              False: over the whole list (class-incremental)

    In float32 at least. With `per_head`, the logits of all other heads count for nothing, not even when they are not finite.

    Raises ValueError when the sizes do not add up to C.
    """
    if sum(sizes) != logits.shape[1]:
        raise ValueError(
            f"heads of {list(sizes)} classes have {sum(sizes)} together, and there are {logits.shape[1]} logits"
        )
    logits = full(logits)
    if per_head and len(sizes) > 1:
        logits = logits.masked_fill(~within_head(labels, sizes), -torch.inf)
    return F.nll_loss(F.log_softmax(logits, 1), labels, reduction="none")


def squared_error_where_known(logits: Tensor, stored: Tensor) -> Tensor:
    """Mean over classes `[N]` of (logits - stored)^2, both `[N, C]`, over the classes whose stored logit is not NaN.

    DER (Buzzega et al. 2020, eq. 5) has the sum; the mean is what the authors' code computes. A class that did not exist
    when the answer was stored takes no part, and a sample with no answer at all has the loss 0. In float32 at least.
    """
    logits = full(logits)
    known = ~stored.isnan()
    difference = torch.where(known, logits - stored, 0.0)
    return difference.square().sum(1) / known.sum(1).clamp(min=1)


def sigmoid_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Sum over classes `[N]` of the binary cross-entropy of sigmoid(logits) against targets in [0, 1], both `[N, C]`.

    iCaRL (Rebuffi et al. 2017, algorithm 3). In float32 at least.
    """
    logits = full(logits)
    return F.binary_cross_entropy_with_logits(logits, targets.to(logits.dtype), reduction="none").sum(1)
