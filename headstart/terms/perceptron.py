"""The small networks that stand between a backbone and a pretraining loss, and go when it ends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from headstart.nets.rng import forked


def perceptron(widths: Sequence[int], seed: int, *, norm: bool = True, last_norm: bool = False) -> nn.Sequential:
    """Linear layers `widths[0] -> widths[1] -> ...` with ReLU between, weights drawn from `seed`: `[N, widths[0]]` to
    `[N, widths[-1]]`.

    norm       batch normalisation before every ReLU, whose linear layers then have no bias
    last_norm  and of the output, without scale and shift (SimSiam's projection)
    """
    layers: list[nn.Module] = []
    last = len(widths) - 2
    with forked(seed):
        for place, (before, after) in enumerate(pairwise(widths)):
            normed = last_norm if place == last else norm
            layers.append(nn.Linear(before, after, bias=not normed))
            if normed:
                layers.append(nn.BatchNorm1d(after, affine=place < last))
            if place < last:
                layers.append(nn.ReLU())
    return nn.Sequential(*layers)
