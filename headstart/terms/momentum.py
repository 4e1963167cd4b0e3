"""A copy of a module that follows it slowly: the key encoder of MoCo, the target of BYOL, the teacher of DINO."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from headstart.data.views import normalise
from headstart.errors import ConfigError
from headstart.nets.net import Activation, Net


class MomentumCopy(nn.Module):
    """A deep copy whose parameters are an exponential moving average of the module's: m * own + (1 - m) * the module's.

    module  copied as it is now; of a `Net` the heads are left out
    decay   m, from 0 (always equal to the module) to 1 (never moves)

    The copy is always in train mode, whatever its parent does, and its batch normalisation keeps statistics of its own: only
    what were parameters follows. It has no gradient, and its weights are buffers, so that no optimiser, weight decay or name
    prefix reaches them while they are saved and moved between devices with the term that holds the copy.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        if not 0 <= decay <= 1:
            raise ConfigError(f"momentum {decay}: the share of the old weights that stays at every step, from 0 to 1")
        self.decay = decay
        self.copy = copy.deepcopy(module)
        if isinstance(self.copy, Net):
            self.copy.heads.clear()
        self._follows = _as_buffers(self.copy)
        self.train()

    def train(self, mode: bool = True) -> MomentumCopy:
        """Train mode, always."""
        super().train(True)
        return self

    @torch.no_grad()
    def forward(self, *inputs: Any, **more: Any) -> Any:
        """What the copy gives, without gradient."""
        return self.copy(*inputs, **more)

    @torch.no_grad()
    def taps(self, samples: Tensor, *blocks: str, start: str | None = None) -> dict[str, Activation]:
        """Outputs of these blocks of a copied `Net`, without gradient.

        samples  `[M, H, W, C]` uint8 or `[M, D]`, or outputs of block `start`, which with those below it is the same in the
                 copy as in the network it follows: see `StepLike.below`
        """
        net = self._net()
        x = normalise(samples, net.input.mean, net.input.std) if net.input.kind == "image" and start is None else samples
        until = max(blocks, key=net.block_names.index)
        return net.run(x, start=start, until=until, taps=blocks)

    def features(self, samples: Tensor, block: str, start: str | None = None) -> Tensor:
        """`[M, C]` pooled output of a block of a copied `Net`, see `taps`."""
        return self._net().pooled(block, self.taps(samples, block, start=start)[block])

    @torch.no_grad()
    def follow(self, source: nn.Module, decay: float | None = None) -> None:
        """One step of the average. For `after_step`: the optimiser has moved `source`.

        decay  another m than the copy's own, where it changes with time

        Raises ValueError for a module that lacks a parameter the copy has.
        """
        share = 1 - (self.decay if decay is None else decay)
        for own, theirs in self._pairs(source):
            own.lerp_(theirs.detach(), share)

    def _pairs(self, source: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
        """The copy's tensors and the module's. One that goes by several names comes once: it may move only once."""
        theirs = dict(source.named_parameters(remove_duplicate=False))
        missing = [name for name in self._follows if name not in theirs]
        if missing:
            raise ValueError(f"the module to follow has no {', '.join(missing[:5])}; it is another than was copied")
        pairs = {id(own := self.copy.get_buffer(name)): (own, theirs[name]) for name in self._follows}
        return iter(pairs.values())

    def _net(self) -> Net:
        if not isinstance(self.copy, Net):
            raise TypeError(f"blocks are those of a Net; this is a copy of {type(self.copy).__name__}")
        return self.copy


def _as_buffers(module: nn.Module) -> list[str]:
    """Turn every parameter, in place, into a buffer of the same name; returns the names, those of shared ones all."""
    names = [name for name, _ in module.named_parameters(remove_duplicate=False)]
    values: dict[int, Tensor] = {}
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False, remove_duplicate=False)):
            del part._parameters[name]
            part.register_buffer(name, values.setdefault(id(parameter), parameter.detach()))
    return names
