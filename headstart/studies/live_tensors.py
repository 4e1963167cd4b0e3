"""The most memory that tensors take at once while a network trains, counted and not measured: the same in any order."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter

from headstart.engine.fit import Machine
from headstart.engine.run import Drive
from headstart.nets.net import Net
from headstart.stage import Budget, Stage

_STEPS = 2
"""the second step has the optimiser's memory as well"""


class LiveTensors(TorchDispatchMode):
    """Inside, adds up the bytes of every tensor that an operation makes, for as long as it is held by anyone.

    peak  the most so far, in bytes; views of one memory count once. What a kernel needs for itself is not seen, nor is
          what was there before, apart from what `hold` is told of
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now: int = 0
        self.peak: int = 0
        self._held: dict[int, weakref.ref[torch.UntypedStorage]] = {}

    def hold(self, tensors: Iterable[Tensor]) -> None:
        """Count these too."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key not in self._held and storage.nbytes():
                self._held[key] = weakref.ref(storage, self._gone(key, storage.nbytes()))
                self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.hold(one for one in tree_iter(made) if type(one) is Tensor or type(one) is nn.Parameter)
        return made

    def _gone(self, key: int, size: int) -> Callable[[object], None]:
        def forget(_: object) -> None:
            del self._held[key]
            self.now -= size

        return forget


def training_peak(net: Net, stages: Callable[[Net], Iterable[Stage]]) -> int:
    """Bytes of all tensors alive at the fullest moment of two steps, on a copy of `net`, on the processor.

    Weights, buffers, gradients, what the backward pass keeps, the batch, the optimiser's and the balance's memory, at the
    stage's own batch size. `stages` are those that would train it; only the first is looked at. The images in their store
    are not counted, nor is what a kernel needs while it runs.
    """
    net = copy.deepcopy(net).cpu()
    stage = next(iter(stages(net)))
    live = LiveTensors()
    with live:
        live.hold([*net.parameters(), *net.buffers()])
        Drive(net, 0, Machine("cpu")).run([replace(stage, budget=Budget(steps=_STEPS))])
    return live.peak
