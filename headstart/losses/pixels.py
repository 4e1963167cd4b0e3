"""Pixels that were hidden, against what a network believes them to be (He et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor

from headstart.losses.precision import full


def patches_of(images: Tensor, side: int) -> Tensor:
    """`[N, P, side * side * C]` squares of images `[N, C, H, W]`, row by row; in each square row, column, channel.

    Raises ValueError where `side` does not divide both sides of the images.
    """
    n, channels, height, width = images.shape
    if height % side or width % side:
        raise ValueError(f"patches of {side} px do not divide images of {height} x {width} px")
    cut = images.reshape(n, channels, height // side, side, width // side, side)
    return cut.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, side * side * channels)


def standard_patches(patches: Tensor, eps: float = 1e-6) -> Tensor:
    """`[N, P, V]` with mean 0 and unbiased variance 1 in every patch, but for `eps` (He et al. 2022, section 3)."""
    wide = full(patches)
    return (wide - wide.mean(2, keepdim=True)) * (wide.var(2, keepdim=True) + eps).rsqrt()


def masked_error(predicted: Tensor, target: Tensor, hidden: Tensor) -> Tensor:
    """`[N]` mean squared error of `[N, P, V]` over an image's hidden patches; `hidden` `[N, P]` bool, one at least.

    What could be seen does not count (equation in He et al. 2022, section 3).
    """
    error = (full(predicted) - full(target)).square().mean(2)
    return torch.where(hidden, error, 0.0).sum(1) / hidden.sum(1)
