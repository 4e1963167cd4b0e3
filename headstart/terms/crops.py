"""Many crops of an image: two global ones, which say what is to be predicted, and small ones, which only predict."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from headstart.nets.net import Net
from headstart.terms.base import StepLike
from headstart.terms.bootstrap import PAIR
from headstart.terms.embedded import Embedded


class Cropped(Embedded):
    """Features of the two global views, which pass the network in one batch, and of the `small` ones in another.

    small  names of the views that show a part of the image at fewer pixels; none: only the two
    """

    def __init__(self, net: Net, *, small: Sequence[str] = (), steps: int = 1, block: str | None = None) -> None:
        super().__init__(net, block=block, steps=steps)
        self.small = tuple(small)

    def every(self, step: StepLike) -> list[Tensor]:
        """`[B, width]` of every view, the two global ones first."""
        found = self.features_together(step, PAIR)
        return found + self.features_together(step, self.small) if self.small else found

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(global view that is predicted, other view that predicts it), as places in `every`."""
        views = len(PAIR) + len(self.small)
        return [(aim, said) for aim in range(len(PAIR)) for said in range(views) if said != aim]
