"""Views: one augmented or plain rendering of a batch of samples, drawn on the device with parameters of its own per sample.

Random parameters come from a counter-based generator: a hash of (stream seed, draw, sample id, parameter number). A
sample's augmentation therefore does not depend on its batch, its process or on what was drawn before, which makes resume
exact, two processes equal to one, and a fixed number of draws cacheable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from headstart.data.crops import boxes, resampled

_MASK32 = 0xFFFFFFFF


def _mix(x: Tensor) -> Tensor:
    """A bijective 32-bit finaliser (murmur3's) on int64 tensors that hold 32-bit values."""
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) & _MASK32
    x = ((x ^ (x >> 13)) * 0xC2B2AE35) & _MASK32
    return x ^ (x >> 16)


def uniform(seed: int, draw: int, ids: Tensor, count: int) -> Tensor:
    """`[B, count]` numbers in [0, 1), a pure function of its arguments; `ids` `[B]` are sample ids.

    Three rounds of a 32-bit finaliser over (seed, draw, id, column); 24 bits are kept, so float32 holds them exactly.
    """
    column = torch.arange(count, device=ids.device, dtype=torch.int64)
    x = _mix((ids.to(torch.int64)[:, None] * 0x9E3779B1 + column * 0x7FEB352D + (seed & _MASK32)) & _MASK32)
    x = _mix((x + draw * 0x27D4EB2F + (seed >> 32)) & _MASK32)
    x = _mix((x ^ (column * 0x165667B1 + (ids.to(torch.int64)[:, None] >> 32))) & _MASK32)
    return (x >> 8).to(torch.float32) / (1 << 24)


class Op(Protocol):
    """One step of a view. `params` is how many uniform numbers it takes per sample."""

    @property
    def params(self) -> int: ...

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        """Map `[B, H, W, C]` uint8 to the same (a crop may have another size), with `u` `[B, params]` in [0, 1)."""
        ...


@dataclass(frozen=True)
class Flip:
    """Mirror left and right with probability `p`."""

    p: float = 0.5
    params: int = 1

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.where((u[:, 0] < self.p)[:, None, None, None], x.flip(2), x)


@dataclass(frozen=True)
class Shift:
    """Move the image by up to `fraction` of its side in both directions; what enters repeats the border's pixels.

    Gathered on uint8 by index, which is exact and faster than interpolating.
    """

    fraction: float = 0.125
    params: int = 2

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        rows, columns = (self._index(x.shape[d], u[:, i]) for i, d in enumerate((1, 2)))
        batch = torch.arange(len(x), device=x.device)[:, None, None]
        return x[batch, rows[:, :, None], columns[:, None, :]]

    def _index(self, side: int, u: Tensor) -> Tensor:
        reach = round(side * self.fraction)
        offset = (u * (2 * reach + 1)).floor().long() - reach
        return (torch.arange(side, device=u.device)[None] + offset[:, None]).clamp(0, side - 1)


@dataclass(frozen=True)
class ResizedCrop:
    """Random area and aspect ratio, resampled bilinearly to the full size (Szegedy et al. 2015; torchvision's defaults)."""

    scale: tuple[float, float] = (0.35, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    params: int = 4

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        return resampled(x, *boxes(u, self.scale, self.ratio))


@dataclass(frozen=True)
class Erase:
    """Grey out a square of `fraction` of the side at a random place with probability `p` (DeVries & Taylor 2017, cutout)."""

    fraction: float = 0.4
    p: float = 0.5
    params: int = 3

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        inside = [self._band(x.shape[d], u[:, i]) for i, d in enumerate((1, 2))]
        hole = inside[0][:, :, None] & inside[1][:, None, :] & (u[:, 2] < self.p)[:, None, None]
        return torch.where(hole[..., None], torch.full_like(x, 128), x)

    def _band(self, side: int, u: Tensor) -> Tensor:
        centre, half = u * side, side * self.fraction / 2
        place = torch.arange(side, device=u.device)[None] + 0.5
        return (place - centre[:, None]).abs() < half


class Pieces(Protocol):
    """What a network is shown of a rendered image in its place: several images, such as turns or patches of it."""

    def __call__(self, x: Tensor, ids: Tensor, *, seed: int, draw: int) -> Tensor:
        """`[B P, h, w, C]`, the P pieces of an image one after the other, of images `[B, H, W, C]` uint8 with sample ids
        `[B]`: a function of these, the view's seed and the number of the rendering. Grey levels, uint8 or float32."""
        ...


@dataclass(frozen=True)
class View:
    """A named way of rendering samples.

    ops     applied in order; none means plain
    draws   None: drawn anew every epoch. K: the same K renderings for ever, epoch e showing number e mod K, which makes
            the frozen part of a network cacheable
    pieces  made of every rendering at last; None: it is shown whole
    """

    ops: tuple[Op, ...] = ()
    draws: int | None = None
    pieces: Pieces | None = None

    @property
    def is_plain(self) -> bool:
        return not self.ops and self.pieces is None

    @property
    def whole(self) -> View:
        """The same view of images that are not cut into pieces."""
        return replace(self, pieces=None)

    @property
    def fixed_draws(self) -> int | None:
        """How many distinct renderings of a sample exist: 1 when plain, K when fixed, None when unlimited."""
        return 1 if self.is_plain else self.draws

    def draw_at(self, epoch: int) -> int:
        """Which rendering epoch number `epoch` shows."""
        return epoch if self.fixed_draws is None else epoch % self.fixed_draws

    def render(self, x: Tensor, ids: Tensor, *, seed: int, draw: int) -> Tensor:
        """Render `[B, H, W, C]` uint8 samples with sample ids `[B]`; the result has their type and, but for crops, shape.

        Of pieces `[B P, h, w, C]`, see `Pieces`.
        """
        if len(x):  # with more processes than samples in a batch, some have none
            for place, op in enumerate(self.ops):
                x = op(x, uniform(seed + 0x5851F42D * (place + 1), draw, ids, op.params))
        return x if self.pieces is None else self.pieces(x, ids, seed=seed, draw=draw)

    def shape(self, sample: tuple[int, ...]) -> tuple[int, ...]:
        """`[P, C, h, w]` that a network is shown for one image of shape `sample` `[H, W, C]`; `[1, D]` for vectors."""
        if len(sample) != 3:
            return (1, *sample)
        one, none = torch.zeros(1, *sample, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64)
        pieces, height, width, channels = self.render(one, none, seed=0, draw=0).shape
        return (pieces, channels, height, width)


@dataclass(frozen=True)
class Rendering:
    """Which pixels of its samples a step shows: equal renderings of a sample are equal to the bit.

    seed   of the view's random numbers; 0 for the plain view, which has none
    draw   number of the rendering
    mixed  samples are blended with others besides (mixup), which no rendering tells
    data   fingerprint of the store they are from; "" where nobody said
    """

    view: View
    seed: int
    draw: int
    mixed: bool = False
    data: str = ""


PLAIN = View()


def standard_view(size: int, *, mirror: bool = True, draws: int | None = None) -> View:
    """The usual augmentation for training: shifts up to 40 px, resized crops above, and mirroring when allowed."""
    move: Op = Shift() if size <= 40 else ResizedCrop()
    return View((move, Flip()) if mirror else (move,), draws)


def normalise(x: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """`[B, H, W, C]` uint8 to float32 `[B, C, H, W]` in channels-last memory, `(x / 255 - mean) / std` per channel."""
    shift = torch.tensor(mean, device=x.device, dtype=torch.float32) * 255
    scale = 1 / (torch.tensor(std, device=x.device, dtype=torch.float32) * 255)
    return x.to(torch.float32, copy=True).sub_(shift).mul_(scale).permute(0, 3, 1, 2)
