"""Patches of an image, guarded against what would tell their place without being seen in them."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from headstart.catalog.pretext import Colour
from headstart.data.views import uniform
from headstart.seeding import seed_for

NOISE = 0.01
"""Standard deviation of what stands where a channel was dropped; a patch's is 1 (Doersch et al. 2015, section 3.1)."""
_LUMA = (0.299, 0.587, 0.114)
_MAGENTA = (-1.0, 2.0, -1.0)
"""From magenta to green, the axis along which lenses err most (Doersch et al. 2015, section 3.1)."""


@dataclass(frozen=True)
class Grid:
    """Where patches lie, in pixels: `across` times as many, row by row, `side` of each, `step` from one to the next, `reach`
    that each moves at most to either side. The grid itself lies anywhere where all of that is within the image."""

    side: int
    step: int
    reach: int
    across: int = 3

    @property
    def count(self) -> int:
        """Patches of an image."""
        return self.across**2

    @property
    def numbers(self) -> int:
        """Random numbers per image that say where its patches lie."""
        return 2 + 2 * self.count

    @property
    def span(self) -> int:
        """Pixels that the grid needs."""
        return (self.across - 1) * self.step + self.side + 2 * self.reach

    def places(self, height: int, width: int, u: Tensor) -> tuple[Tensor, Tensor]:
        """Upper and left edge of each patch, `[B, count]` int64, from `[B, numbers]` in [0, 1)."""
        number = torch.arange(self.count, device=u.device)
        rows = self._edges(height, number // self.across, u[:, :1], u[:, 2 : 2 + self.count])
        return rows, self._edges(width, number % self.across, u[:, 1:2], u[:, 2 + self.count :])

    def _edges(self, side: int, place: Tensor, start: Tensor, moved: Tensor) -> Tensor:
        first = (start * (side - self.span + 1)).floor()
        move = (moved * (2 * self.reach + 1)).floor()
        return (first + move).long() + place * self.step


@dataclass(frozen=True)
class Patches:
    """The patches of an image, as pieces of a view: guarded, and standardised one by one.

    colour     how colours are kept from telling their place
    mean, std  by which the net's input is normalised, which is undone here
    seed       where they lie and what is hidden is a function of it, the view's, the rendering's number and the image
    """

    grid: Grid
    colour: Colour
    mean: tuple[float, ...]
    std: tuple[float, ...]
    seed: int = 0

    def __call__(self, x: Tensor, ids: Tensor, *, seed: int, draw: int) -> Tensor:
        u = self.numbers("places", ids, self.grid.numbers, seed=seed, draw=draw)
        found = guarded(cut(x, self.grid, u), self.colour, self._stream("colours", seed), draw, ids)
        mean, std = (torch.tensor(values, device=x.device) for values in (self.mean, self.std))
        return ((found * std + mean) * 255).flatten(0, 1)

    def numbers(self, what: str, ids: Tensor, count: int, *, seed: int, draw: int) -> Tensor:
        """`[B, count]` in [0, 1) of the images `ids`."""
        return uniform(self._stream(what, seed), draw, ids, count)

    def _stream(self, what: str, seed: int) -> int:
        return seed_for(seed_for(self.seed, "patches", seed), what)


def cut(x: Tensor, grid: Grid, u: Tensor) -> Tensor:
    """The patches of images `[B, H, W, C]`, `[B, count, side, side, C]`, where `u` `[B, numbers]` places them."""
    count, height, width, channels = x.shape
    top, left = grid.places(height, width, u)
    along = torch.arange(grid.side, device=x.device)
    rows = (top + torch.arange(count, device=x.device)[:, None] * height)[..., None] + along
    pixels = rows[..., :, None] * width + (left[..., None] + along)[..., None, :]
    found = x.reshape(-1, channels).index_select(0, pixels.reshape(-1))
    return found.view(count, grid.count, grid.side, grid.side, channels)


def standardised(patches: Tensor) -> Tensor:
    """Mean 0 and standard deviation 1 over each patch's pixels and channels, `[..., S, S, C]` float32.

    One grey level is the smallest deviation divided by, so that flat patches are not blown up to noise.
    """
    x = patches.float()
    x = x - x.mean((-3, -2, -1), keepdim=True)
    return x / x.square().mean((-3, -2, -1), keepdim=True).sqrt().clamp(min=1.0)


def guarded(patches: Tensor, colour: Colour, seed: int, draw: int, ids: Tensor) -> Tensor:
    """Standardised patches `[B, P, S, S, C]` float32, in which colours tell no place (`colour`: see `catalog.pretext`).

    `drop` shows one channel of each patch and noise in the others, from a stream of (seed, draw, sample id).
    """
    channels = patches.shape[-1]
    if channels == 1 or colour == "keep":
        return standardised(patches)
    if colour == "project":
        return standardised(projected(patches))
    if colour == "grey":
        grey = (patches.float() * torch.tensor(_LUMA, device=patches.device)).sum(-1, keepdim=True)
        return standardised(grey).expand(*grey.shape[:-1], channels)
    count, places, side = patches.shape[:3]
    kept = (uniform(seed, draw, ids, places) * channels).long()[:, :, None, None, None]
    shape = (*patches.shape[:-1], 1)
    one = standardised(patches.gather(-1, kept.expand(shape)))
    noise = _normal(seed + 1, draw, ids, places * side * side * channels).view(count, places, side, side, channels)
    return torch.where(torch.arange(channels, device=patches.device) == kept, one, NOISE * noise)


def projected(pixels: Tensor) -> Tensor:
    """Colours `[..., 3]` less their share along green against magenta, float32: I - a a^T / a^T a (Doersch et al. 2015,
    section 3.1). Brightness is kept up to the shares of its channels, red against blue wholly."""
    axis = torch.tensor(_MAGENTA, device=pixels.device)
    x = pixels.float()
    return x - (x @ axis)[..., None] * axis / axis.square().sum()


def _normal(seed: int, draw: int, ids: Tensor, count: int) -> Tensor:
    """`[B, count]` normal numbers by Box and Muller, a function of the arguments alone."""
    u = uniform(seed, draw, ids, count + count % 2)
    radius, angle = (-2 * (1 - u[:, ::2]).log()).sqrt(), 2 * math.pi * u[:, 1::2]
    return torch.cat([radius * angle.cos(), radius * angle.sin()], 1)[:, :count]
