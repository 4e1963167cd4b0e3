"""Terms that make up a question about one image: how was it turned, where was this patch, in which order are these tiles."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from headstart.catalog.pretext import Colour
from headstart.data.views import uniform
from headstart.errors import ConfigError
from headstart.losses.classification import cross_entropy
from headstart.nets.heads import pool
from headstart.nets.net import Net, single
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike, Term
from headstart.terms.patches import NUMBERS, PLACES, Grid, cut, guarded

CENTRE = PLACES // 2
AROUND = tuple(place for place in range(PLACES) if place != CENTRE)
"""The eight neighbours' places, which are the answers 0 to 7: upper left, above, ..., lower right."""


class Question(Term):
    """Mean cross-entropy of a made-up question, answered from the last block's pooled output by a head of the term's own.

    answers  how many there are
    hidden   units of a layer between features and answers; None: a linear head
    parts    features of how many images or patches stand side by side in front of the head
    seed     of the head's first weights
    """

    def __init__(self, net: Net, answers: int, *, hidden: int | None, parts: int, seed: int, view: str) -> None:
        super().__init__()
        self.block, self.view, self.answers = net.last, view, answers
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

    def features(self, step: StepLike, samples: Tensor) -> Tensor:
        """`[M, C]` of `samples` `[M, H, W, C]`, which pass in one batch."""
        return pool(single(step.run(samples, (self.block,)), self.block), self.layout)


class Rotation(Question):
    """By which of 0, 90, 180, 270 degrees was the image turned? All four of every image in one batch (Gidaris et al. 2018).

    Raises ConfigError for images that are not square, which a turn would tell by their shape.
    """

    def __init__(self, net: Net, *, seed: int = 0, view: str = "main") -> None:
        super().__init__(net, 4, hidden=None, parts=1, seed=seed, view=view)

    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        x = step.samples(self.view)
        if x.shape[1] != x.shape[2]:
            raise ConfigError(f"rotation needs square images, these are {x.shape[1]} x {x.shape[2]} px; crop them")
        turned = torch.cat([torch.rot90(x, turns, (1, 2)) for turns in range(4)])
        logits = self.head(self.features(step, turned))
        return logits.view(4, len(x), 4).transpose(0, 1), torch.arange(4, device=x.device)[None]


class PatchQuestion(Question):
    """A question about nine patches of an image that pass the backbone one by one.

    grid     where they lie
    colour   how colours are kept from telling it
    mean, std  by which the net's input is normalised, which is undone here: patches are standardised one by one

    Where patches lie and what is hidden is a function of (view's seed, epoch, image), whatever the batch and process.
    """

    def __init__(
        self, net: Net, grid: Grid, colour: Colour, answers: int, *, hidden: int, parts: int, seed: int, view: str
    ) -> None:
        super().__init__(net, answers, hidden=hidden, parts=parts, seed=seed, view=view)
        self.grid, self.colour, self.seed = grid, colour, seed
        self.mean, self.std = net.input.mean, net.input.std

    def numbers(self, step: StepLike, what: str, count: int) -> Tensor:
        """`[B, count]` in [0, 1) of this step's images."""
        device = step.samples(self.view).device
        return uniform(seed_for(self._stream(step), what), step.epoch, step.ids.to(device), count)

    def patches(self, step: StepLike) -> Tensor:
        """`[B, 9, C]` features of the patches."""
        x = step.samples(self.view)
        u = self.numbers(step, "places", NUMBERS)
        ids = step.ids.to(x.device)
        with torch.autocast(x.device.type, enabled=False):
            found = guarded(cut(x, self.grid, u), self.colour, seed_for(self._stream(step), "colours"), step.epoch, ids)
            mean, std = (torch.tensor(values, device=x.device) for values in (self.mean, self.std))
            seen = ((found * std + mean) * 255).flatten(0, 1)
        return self.features(step, seen).view(len(x), PLACES, -1)

    def _stream(self, step: StepLike) -> int:
        return seed_for(self.seed, "patches", step.rendering(self.view).seed)


class RelativePosition(PatchQuestion):
    """In which of eight directions of the middle patch is this one? (Doersch et al. 2015)

    All eight neighbours in a 3 x 3 grid are asked for, each with the features of the middle one beside its own.
    """

    def __init__(
        self, net: Net, grid: Grid, *, colour: Colour = "drop", hidden: int = 128, seed: int = 0, view: str = "main"
    ) -> None:
        super().__init__(net, grid, colour, len(AROUND), hidden=hidden, parts=2, seed=seed, view=view)

    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        found = self.patches(step)
        around = found[:, AROUND]
        both = torch.cat([found[:, CENTRE, None].expand_as(around), around], 2)
        return self.head(both), torch.arange(len(AROUND), device=found.device)[None]


class Jigsaw(PatchQuestion):
    """In which of some orders do the nine tiles lie? (Noroozi & Favaro 2016)

    orders  `[P][9]`: which tile comes where

    Each tile passes the backbone alone, and order enters only where their features are put side by side.
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
        super().__init__(net, grid, colour, len(orders), hidden=hidden, parts=PLACES, seed=seed, view=view)
        self.register_buffer("orders", torch.tensor(orders, dtype=torch.int64))

    def answered(self, step: StepLike) -> tuple[Tensor, Tensor]:
        found = self.patches(step)
        which = (self.numbers(step, "orders", 1) * self.answers).long()
        mixed = found.gather(1, self.orders[which[:, 0]][..., None].expand_as(found))
        return self.head(mixed.flatten(1))[:, None], which
