"""Two renderings of an image, and no other image: how far are two networks' words for it apart?

Pure functions, float32 at least inside, also under autocast.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.losses.precision import full


def negative_cosine(predicted: Tensor, target: Tensor) -> Tensor:
    """`[N]` minus the cosine between rows of `[N, D]` (Chen & He 2021, eq. 1): -1 where they point the same way.

    Gradients flow into both; a method that stops one says so by handing over a detached tensor.
    """
    return -F.cosine_similarity(full(predicted), full(target), dim=1)


def normalised_error(predicted: Tensor, target: Tensor) -> Tensor:
    """`[N]` squared distance of rows of `[N, D]` once each has length 1, 2 - 2 cos (Grill et al. 2020, eq. 2)."""
    return 2 + 2 * negative_cosine(predicted, target)


def soft_targets(logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
    """`[N]` cross-entropy of softmax(logits / T) against probabilities `targets`, both `[N, K]`."""
    return -(full(targets) * F.log_softmax(full(logits) / temperature, 1)).sum(1)


def sharpened(logits: Tensor, centre: Tensor, temperature: float) -> Tensor:
    """`[N, K]` softmax((logits - centre) / T): a teacher's probabilities (Caron et al. 2021, section 3.1).

    The centre `[K]`, a mean of logits, keeps one class from winning always; a low temperature keeps the answer from
    becoming even.
    """
    return torch.softmax((full(logits) - full(centre)) / temperature, 1)


def cosine_course(start: float, end: float, progress: float) -> float:
    """From `start` to `end` along half a cosine as `progress` goes from 0 to 1, and `end` from there on.

    With end = 1 the decay of Grill et al. 2020 (section 3.3): 1 - (1 - start) (cos(pi k / K) + 1) / 2.
    """
    return end - (end - start) * 0.5 * (1 + math.cos(math.pi * min(max(progress, 0.0), 1.0)))


def linear_course(start: float, end: float, progress: float) -> float:
    """From `start` to `end` in a straight line as `progress` goes from 0 to 1, and `end` from there on."""
    return start + (end - start) * min(max(progress, 0.0), 1.0)
