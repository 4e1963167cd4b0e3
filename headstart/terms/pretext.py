"""Terms that make up a question about one image: how was it turned, where was this patch, in which order are these tiles."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headstart.catalog.pretext import Colour
from headstart.data.views import Pieces
from headstart.errors import ConfigError
from headstart.losses.classification import cross_entropy
from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike, Term
from headstart.terms.patches import Grid, Patches

DIRECTIONS = tuple((down, right) for down in (-1, 0, 1) for right in (-1, 0, 1) if down or right)
"""Rows down and columns to the right of the answers 0 to 7: upper left, above, ..., lower right."""


def pairs_of(across: int) -> tuple[tuple[int, int, int], ...]:
    """From which patch, to which, and the answer, on a grid of so many patches across and down.

    Of nine: from the middle one to the others. Of four: from each to each, those along a diagonal twice, so that no
    direction is asked for more often than another and guessing is no better than one in eight.
    """
    places = [divmod(place, across) for place in range(across**2)]
    asked = [(4, other) for other in range(9) if other != 4]
    if across == 2:
        diagonal = [(0, 3), (3, 0), (1, 2), (2, 1)]
        asked = [(one, other) for one in range(4) for other in range(4) if one != other] + diagonal
    found = []
    for one, other in asked:
        (top, left), (below, right) = places[one], places[other]
        found.append((one, other, DIRECTIONS.index((below - top, right - left))))
    return tuple(found)


class Question(Term):
    """Mean cross-entropy of a made-up question, answered from the last block's pooled output by a head of the term's own.

    answers  how many there are
    hidden   units of a layer between features and answers; None: a linear head
    parts    features of how many images or patches stand side by side in front of the head
    seed     of the head's first weights
    """

    def __init__(self, net: Net, answers: int, *, hidden: int | None, parts: int, seed: int, view: str) -> None:
        super().__init__()
        self.block, self.view, self.answers, self.reads = net.last, view, answers, (net.last,)
        info = net.info[net.last]
        if info.towers is not None:
            raise ConfigError(f"block {net.last!r} gives {info.towers} towers; pretrain one network and not several")
        self.layout, width = info.layout, parts * info.channels
        with forked(seed_for(seed, "terms", type(self).__name__)):
            self.head: nn.Module = nn.Linear(width, answers)
            if hidden is not None:
                self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, answers))

    @property
    def chance(self) -> float:
        """The loss of guessing."""
        return math.log(self.answers)

    def forward(self, step: StepLike) -> Tensor:
        logits, truth = self.answered(step)
        loss = cross_entropy(logits.flatten(0, 1), truth.expand(logits.shape[:2]).flatten())
        return step.mean_all(loss.view(logits.shape[:2]).mean(1))

    @abstractmethod
    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        """`[B, Q, answers]` logits of the Q questions about each image, and the right answers, `[B, Q]` or `[1, Q]`."""

    @property
    @abstractmethod
    def pieces(self) -> Pieces:
        """What the term's view is to show of every image."""

    def features(self, step: StepLike, count: int) -> Tensor:
        """`[B, count, C]` of the pieces of every image; those of all images pass in one batch."""
        found = pool(single(step.taps(self.view), self.block), self.layout)
        return found.view(len(step.ids), count, found.shape[1])


@dataclass(frozen=True)
class Turns:
    """An image turned by 0, 90, 180 and 270 degrees, as pieces of a view.

    Raises ConfigError for images that are not square, which a turn would tell by their shape.
    """

    def __call__(self, x: Tensor, ids: Tensor, *, seed: int, draw: int) -> Tensor:
        if x.shape[1] != x.shape[2]:
            raise ConfigError(f"rotation needs square images, these are {x.shape[1]} x {x.shape[2]} px; crop them")
        return torch.stack([torch.rot90(x, turns, (1, 2)) for turns in range(4)], 1).flatten(0, 1)


class Rotation(Question):
    """By which of 0, 90, 180, 270 degrees was the image turned? All four of every image in one batch (Gidaris et al. 2018).

    The view shows `Turns`.
    """

    pieces = Turns()

    def __init__(self, net: Net, *, seed: int = 0, view: str = "main") -> None:
        super().__init__(net, 4, hidden=None, parts=1, seed=seed, view=view)

    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        logits = self.head(self.features(step, 4))
        return logits, torch.arange(4, device=logits.device)[None]


class PatchQuestion(Question):
    """A question about patches of an image that pass the backbone one by one; the view shows `Patches`.

    grid    where they lie
    colour  how colours are kept from telling it
    """

    def __init__(
        self, net: Net, grid: Grid, colour: Colour, answers: int, *, hidden: int, parts: int, seed: int, view: str
    ) -> None:
        super().__init__(net, answers, hidden=hidden, parts=parts, seed=seed, view=view)
        self._pieces = Patches(grid, colour, net.input.mean, net.input.std, seed)

    @property
    def pieces(self) -> Patches:
        return self._pieces


class RelativePosition(PatchQuestion):
    """In which of eight directions of one patch is another? (Doersch et al. 2015)

    All pairs of `pairs_of` are asked for, each with the features of the second patch beside those of the first.
    """

    def __init__(
        self, net: Net, grid: Grid, *, colour: Colour = "project", hidden: int = 128, seed: int = 0, view: str = "main"
    ) -> None:
        super().__init__(net, grid, colour, len(DIRECTIONS), hidden=hidden, parts=2, seed=seed, view=view)
        self.pairs = pairs_of(grid.across)

    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        found = self.features(step, self.pieces.grid.count)
        first, second, truth = (list(each) for each in zip(*self.pairs, strict=True))
        both = torch.cat([found[:, first], found[:, second]], 2)
        return self.head(both), torch.tensor(truth, device=found.device)[None]


class Jigsaw(PatchQuestion):
    """In which of some orders do the nine tiles lie? (Noroozi & Favaro 2016)

    orders  `[P][9]`: which tile comes where

    Each tile passes the backbone alone, and order enters only where their features are put side by side: it is drawn anew
    in every epoch, also where the tiles are not.
    """

    orders: Tensor

    def __init__(
        self,
        net: Net,
        grid: Grid,
        orders: Sequence[Sequence[int]],
        *,
        colour: Colour = "grey",
        hidden: int = 256,
        seed: int = 0,
        view: str = "main",
    ) -> None:
        super().__init__(net, grid, colour, len(orders), hidden=hidden, parts=grid.count, seed=seed, view=view)
        self.register_buffer("orders", torch.tensor(orders, dtype=torch.int64))

    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        found = self.features(step, self.pieces.grid.count)
        u = self.pieces.numbers("orders", step.ids.to(found.device), 1, seed=step.rendering(self.view).seed, draw=step.epoch)
        which = (u * self.answers).long()
        mixed = found.gather(1, self.orders[which[:, 0]][..., None].expand_as(found))
        return self.head(mixed.flatten(1))[:, None], which
