"""Features of a large batch, a chunk at a time: the memory of a chunk, and the gradient of the whole (Gao et al. 2021).

Each chunk's features are computed and its activations forgotten; the loss is that of all features together, so that no
negative is lost; in the backward pass a chunk is computed again and passes its part of the gradient on. That is gradient
caching, done here by `torch.utils.checkpoint`. The price is a second forward pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.terms.base import StepLike
from headstart.terms.gather import sizes_of


class Pooled:
    """The pooled output of one block on views of the batch.

    block  whose output it is
    chunk  renderings that pass at a time; None: all views in one pass

    Batch normalisation sees a pass, with or without chunks: a chunk then has statistics of its own, over all processes, and
    running statistics follow every chunk once. Without it the features and gradients are those of the whole batch.
    """

    def __init__(self, net: Net, block: str, chunk: int | None = None) -> None:
        self.block, self.chunk = block, chunk
        self.layout, self.channels = net.info[block].layout, net.info[block].channels
        self._norms = [part for part in net.modules() if isinstance(part, _BatchNorm)]

    def __call__(self, step: StepLike, *views: str) -> Tensor:
        """`[V B, C]`, one view after the other."""
        if self.chunk is None:
            taps = step.taps(views[0]) if len(views) == 1 else step.together(*views)
            return pool(single(taps, self.block), self.layout)
        (start, *_), below = zip(*(step.below(view) for view in views), strict=True)
        samples = torch.cat(below)
        # As many chunks in every process: batch normalisation waits for the others in each.
        count = max(1, -(-max(sizes_of(samples)) // self.chunk))
        parts = [self._cached(step, part, start) for part in samples.tensor_split(count)]
        return torch.cat(parts)

    def _cached(self, step: StepLike, samples: Tensor, start: str | None) -> Tensor:
        def run(part: Tensor) -> Tensor:
            return pool(single(step.run(part, taps=(self.block,), start=start), self.block), self.layout)

        def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
            return nullcontext(), _unmoved(self._norms)

        found: Tensor = checkpoint(run, samples, use_reentrant=False, context_fn=contexts)
        return found


@contextmanager
def _unmoved(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Running statistics stay as they are: what is computed a second time was counted the first time.

    Copies take their place meanwhile. They cannot be put back by value: autograd notices that a buffer was written to.
    """
    kept = [dict(norm._buffers) for norm in norms]
    try:
        for norm in norms:
            norm._buffers.update({name: None if x is None else x.clone() for name, x in norm._buffers.items()})
        yield
    finally:
        for norm, buffers in zip(norms, kept, strict=True):
            norm._buffers.update(buffers)


def normalises_batches(net: Net) -> list[str]:
    """Names of the blocks that hold batch normalisation."""
    return [name for name, block in net.blocks.items() if any(isinstance(part, _BatchNorm) for part in block.modules())]
