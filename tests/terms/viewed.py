"""A step that shows given samples in several views, on a network in train mode, for tests of terms about views."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from headstart.data.views import normalise
from headstart.nets.net import Activation, Net


class Viewed:
    """`given`: name of a view -> samples `[B, H, W, 3]` uint8; pieces of so many `images`, where it is said of how many."""

    def __init__(self, net: Net, given: Mapping[str, Tensor], images: int | None = None) -> None:
        self.net, self.given, self.images = net, given, images
        self.asked: list[tuple[str, ...]] = []
        self._found: dict[tuple[str, ...], Mapping[str, Activation]] = {}

    @property
    def ids(self) -> Tensor:
        return torch.arange(self.images or len(next(iter(self.given.values()))))

    def samples(self, view: str = "main") -> Tensor:
        return self.given[view]

    def below(self, view: str = "main") -> tuple[str | None, Tensor]:
        return None, self.given[view]

    def taps(self, view: str = "main") -> Mapping[str, Activation]:
        return self.together(view)

    def together(self, *views: str) -> Mapping[str, Activation]:
        if views not in self._found:
            self.asked.append(views)
            spec = self.net.input
            x = normalise(torch.cat([self.given[view] for view in views]), spec.mean, spec.std)
            dtype = next(self.net.parameters()).dtype
            self._found[views] = self.net.run(x.to(dtype), taps=self.net.block_names)
        return self._found[views]

    def mean_all(self, per_sample: Tensor) -> Tensor:
        return per_sample.sum() / len(self.ids)

    def once(self, value: Tensor) -> Tensor:
        return value


def noise(count: int = 6, size: int = 12, seed: int = 0) -> Tensor:
    """`[N, S, S, 3]` uint8."""
    return torch.from_numpy(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3)).astype(np.uint8))


def two_views(net: Net, count: int = 6, small: int = 0) -> Viewed:
    """Two views of a batch of noise, and `small` ones of half the side."""
    given = {"one": noise(count, seed=1), "two": noise(count, seed=2)}
    given |= {f"small{place + 1}": noise(count, 6, seed=3 + place) for place in range(small)}
    return Viewed(net, given)
