"""AMDIM: what an image is as a whole, or at one place, should tell the places of another copy of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

import torch
from torch import Tensor, nn

from headstart.data.views import uniform
from headstart.losses.amdim import map_nce, map_scores, raw_penalty
from headstart.losses.precision import full
from headstart.nets.net import Net, single
from headstart.nets.rng import forked
from headstart.seeding import seed_for
from headstart.terms.base import StepLike, Term
from headstart.terms.gather import gathered_at

SIDES = (1, 5, 7)
"""Places on a side of the maps that are compared."""


class Embed(nn.Module):
    """`[M, C]` features of places to `[M, D]`: two linear maps with a rectifier between, beside a linear shortcut."""

    def __init__(self, channels: int, dimensions: int) -> None:
        super().__init__()
        self.first = nn.Linear(channels, dimensions, bias=False)
        self.first_norm = nn.BatchNorm1d(dimensions)
        self.second = nn.Linear(dimensions, dimensions, bias=False)
        self.shortcut = nn.Linear(channels, dimensions, bias=False)
        self.last_norm = nn.BatchNorm1d(dimensions)

    def forward(self, x: Tensor) -> Tensor:
        y = self.second(torch.relu(self.first_norm(self.first(x))))
        found: Tensor = self.last_norm(y + self.shortcut(x))
        return found


class Amdim(Term):
    """Mean over both directions between two copies of the losses 1 -> 5, 1 -> 7 and 5 -> 5 (Bachman et al. 2019, section
    3.3): of the whole image with every place of the other copy's 5x5 and 7x7 maps, and of one place, drawn for each image,
    of the 5x5 map with every place of the other copy's; each with the penalty on raw scores.

    blocks   the net's block with a map of each side in `SIDES`
    penalty  weight of the mean squared raw score of each of these
    images   of each step of an epoch, in all processes: the loss of guessing is the mean over them

    Both copies pass in one batch. One embedding network per side trains with the net and goes with the term. Places of all
    processes' other images are negatives.
    """

    steps: Tensor

    def __init__(
        self,
        net: Net,
        blocks: dict[int, str],
        *,
        dimensions: int,
        clip: float,
        penalty: float,
        images: Sequence[int],
        seed: int = 0,
        views: tuple[str, str] = ("one", "two"),
    ) -> None:
        super().__init__()
        self.blocks, self.clip, self.penalty, self.seed, self.views = dict(blocks), clip, penalty, seed, views
        self.reads = tuple(blocks[side] for side in SIDES)
        with forked(seed_for(seed, "terms", "amdim")):
            self.embed = nn.ModuleDict({str(side): Embed(net.info[blocks[side]].channels, dimensions) for side in SIDES})
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.chance = fmean(2 * math.log1p(25 * (count - 1)) + math.log1p(49 * (count - 1)) for count in images)

    def forward(self, step: StepLike) -> Tensor:
        taps = step.together(*self.views)
        one, five, seven = (self._embedded(single(taps, self.blocks[side]), side) for side in SIDES)
        drawn = five.take_along_dim(self._places(step)[:, :, None, None], 2)[:, :, 0]
        (every_five, first), (every_seven, _) = (gathered_at(x.transpose(0, 1)) for x in (five, seven))
        losses = []
        for here, there in ((0, 1), (1, 0)):
            targets = every_five[:, there], every_seven[:, there]
            pairs = ((one[here, :, 0], targets[0]), (one[here, :, 0], targets[1]), (drawn[here], targets[0]))
            losses += [self._loss(source, target, first) for source, target in pairs]
        return step.mean_all(torch.stack(losses).sum(0) / 2)

    def after_step(self, step: StepLike) -> None:
        """Other places are drawn in the next step."""
        self.steps += 1

    def _embedded(self, maps: Tensor, side: int) -> Tensor:
        """`[2, B, places, D]` of a block's maps `[2 B, C, side, side]` or `[2 B, C]`."""
        places = maps.flatten(2).transpose(1, 2) if maps.ndim == 4 else maps[:, None]
        found = full(self.embed[str(side)](places.flatten(0, 1)))
        return found.view(2, len(maps) // 2, side * side, found.shape[1])

    def _places(self, step: StepLike) -> Tensor:
        """`[2, B]` places of the 5x5 maps: of an image the same in whichever process it is."""
        numbers = uniform(seed_for(self.seed, "terms", "amdim", "places"), int(self.steps), step.ids, 2)
        return (numbers * 25).long().T.to(self.steps.device)

    def _loss(self, sources: Tensor, targets: Tensor, first: int) -> Tensor:
        raw = map_scores(sources, targets)
        own = torch.arange(first, first + len(sources), device=sources.device)
        return map_nce(raw, own, self.clip) + self.penalty * raw_penalty(raw)
