"""Embeddings of all processes, with gradient: each process's loss reaches what the others computed.

Losses that compare samples with each other need the whole batch, of which every process holds a part, and each process's
loss is its share of a sum. So a gathered embedding has to collect, in the backward pass, what the losses of all processes
say about it: without that sum, or with a gradient for one's own part alone, losses are the same and gradients are not.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch import distributed as dist


def gathered(z: Tensor) -> Tensor:
    """`[N, ...]` of all processes, in their order, from `[B, ...]` of this one, whatever the B of each; alone, `z` itself.

    The gradient of a row is the sum of what all processes' losses say about it. Every process must call it, and all or none
    must go backward through it.
    """
    return gathered_at(z)[0]


def gathered_at(z: Tensor) -> tuple[Tensor, int]:
    """The same, and the place in it of this process's first row."""
    if not _many():
        return z, 0
    sizes = sizes_of(z)
    every: Tensor = _Gather.apply(z, sizes)  # type: ignore[no-untyped-call]
    return every, sum(sizes[: dist.get_rank()])


def sizes_of(z: Tensor) -> list[int]:
    """The number of rows that each process has."""
    if not _many():
        return [len(z)]
    sizes = [torch.zeros(1, dtype=torch.int64, device=z.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor([len(z)], device=z.device))
    return torch.cat(sizes).tolist()


def place_of(z: Tensor) -> tuple[int, int]:
    """The place of this process's first row among the rows of all, and the number of all."""
    sizes = sizes_of(z)
    return sum(sizes[: dist.get_rank()]) if _many() else 0, sum(sizes)


class _Gather(torch.autograd.Function):
    """Rows of all processes; `sizes` says how many each has."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, sizes: list[int]) -> Tensor:
        # Messages have one length, so the shorter parts are padded.
        padded = z.new_zeros(max(sizes), *z.shape[1:])
        padded[: len(z)] = z
        parts = [torch.empty_like(padded) for _ in sizes]
        dist.all_gather(parts, padded)
        first = sum(sizes[: dist.get_rank()])
        ctx.mine = slice(first, first + len(z))
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        total = grads[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.mine], None


def _many() -> bool:
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
