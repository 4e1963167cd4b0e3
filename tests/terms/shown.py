"""A step that shows views of noise and runs further samples, on a network in train mode and in double precision."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

from headstart.data.views import normalise
from headstart.nets.net import Activation, Net
from tests.terms.viewed import Viewed, noise


class Shown(Viewed):
    """`Viewed` with a network of doubles that counts the samples of each of its passes."""

    def __init__(self, net: Net, given: Mapping[str, Tensor], images: int | None = None) -> None:
        super().__init__(net.double().train(), given, images)
        self.passed: list[int] = []

    def run(self, samples: Tensor, taps: Iterable[str] = (), start: str | None = None) -> Mapping[str, Activation]:
        assert start is None, "nothing of this network is frozen"
        self.passed.append(len(samples))
        spec = self.net.input
        return self.net.run(normalise(samples, spec.mean, spec.std).double(), taps=taps)


def pair_shown(net: Net, count: int = 6, size: int = 12) -> Shown:
    """Two views of a batch of noise."""
    return Shown(net, {"one": noise(count, size, 1), "two": noise(count, size, 2)})
