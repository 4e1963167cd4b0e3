"""Activations of two networks seldom have equally many places; the finer one is averaged down to the coarser."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from headstart.losses.precision import exact, full


def averaged_down(maps: Tensor, places: Sequence[int]) -> Tensor:
    """`[..., H, W]` to `[..., h, w]`, h <= H and w <= W: every place becomes the mean of those it covers, in part or whole.

    What torch's adaptive average pooling computes, as two matrix products: its backward pass on CUDA adds up in no fixed
    order, and a resumed run must give the same bits.
    """
    x = full(maps)
    with exact(x):
        for axis, size in ((-2, places[0]), (-1, places[1])):
            if x.shape[axis] != size:
                window = _windows(x.shape[axis], size, x)
                x = window @ x if axis == -2 else x @ window.mT
    return x


def _windows(large: int, small: int, like: Tensor) -> Tensor:
    """`[small, large]`: row i averages the fine places from floor(i large / small) up to ceil((i + 1) large / small)."""
    row, place = torch.arange(small, device=like.device)[:, None], torch.arange(large, device=like.device)
    start, end = row * large // small, -(-(row + 1) * large // small)
    inside = (place >= start) & (place < end)
    return inside.to(like.dtype) / (end - start)
