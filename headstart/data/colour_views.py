"""Ops of views that change colours: jitter, grey, solarised, blurred. Each has parameters of its own per sample.

Images have three channels (red, green, blue) or one, for which hue, saturation and grey change nothing. Grey is
0.299 R + 0.587 G + 0.114 B, as in Pillow and torchvision (ITU-R 601).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional as F

from headstart.errors import ConfigError

_LUMA = (0.299, 0.587, 0.114)
_CHUNK = 1 << 17
"""Numbers worked on at once on a CPU, so that they stay in its cache."""
_NONE, _BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(5)


def _chosen(u: Tensor, p: float) -> Tensor:
    """Which samples an op of probability `p` is for, as `[B, 1, 1, 1]`."""
    return (u < p)[:, None, None, None]


def _channels(x: Tensor, name: str) -> int:
    """How many, which is 1 or 3. Raises ConfigError naming the op."""
    if x.shape[3] not in (1, 3):
        raise ConfigError(f"{name} knows images of 1 or 3 channels, these have {x.shape[3]}; leave it out of the view")
    return x.shape[3]


@dataclass(frozen=True)
class Grey:
    """Grey in all channels with probability `p`, rounded as Pillow does, to the bit."""

    p: float = 0.2
    params: int = 1

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        if _channels(x, "grey") == 1:
            return x
        wide = x.to(torch.int32)
        grey = (wide[..., 0] * 19595 + wide[..., 1] * 38470 + wide[..., 2] * 7471 + 32768) >> 16
        return torch.where(_chosen(u[:, 0], self.p), grey.to(torch.uint8)[..., None], x)


@dataclass(frozen=True)
class Solarise:
    """Pixels from `threshold` on turned negative with probability `p` (BYOL)."""

    p: float = 0.2
    threshold: int = 128
    params: int = 1

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        return torch.where(_chosen(u[:, 0], self.p) & (x >= self.threshold), 255 - x, x)


@dataclass(frozen=True)
class Blur:
    """Gaussian blur with probability `p`; the width in pixels is uniform in `sigma`, per sample.

    share  the kernel's side as a share of the image's, made odd: 0.1 in SimCLR (23 pixels at 224, 3 at 32)

    The kernel is cut off there and renormalised; beyond the border the image is reflected, as in torchvision (SimCLR's own
    code pads with zeros).
    """

    p: float = 0.5
    sigma: tuple[float, float] = (0.1, 2.0)
    share: float = 0.1
    params: int = 2

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        radius = min(int(min(x.shape[1:3]) * self.share) // 2, min(x.shape[1:3]) - 1)
        if radius < 1:
            return x
        width = self.sigma[0] + u[:, 1] * (self.sigma[1] - self.sigma[0])
        far = torch.arange(radius + 1, device=x.device) / width[:, None]
        weight = torch.exp(-0.5 * far * far)
        weight = weight / (weight[:, :1] + 2 * weight[:, 1:].sum(1, keepdim=True))
        blurred = torch.empty_like(x)
        for part in _parts(x):
            planes = x[part].permute(0, 3, 1, 2).float()
            for dim in (2, 3):
                planes = _smoothed(planes, weight[part], dim)
            blurred[part] = planes.round_().clamp_(0, 255).permute(0, 2, 3, 1)
        return torch.where(_chosen(u[:, 0], self.p), blurred, x)


def _smoothed(x: Tensor, weight: Tensor, dim: int) -> Tensor:
    """`[B, C, H, W]` averaged along `dim` with weights `[B, R + 1]` of distances 0 to R."""
    radius, side = weight.shape[1] - 1, x.shape[dim]
    padded = F.pad(x, (0, 0, radius, radius) if dim == 2 else (radius, radius, 0, 0), mode="reflect")
    total = x * weight[:, 0, None, None, None]
    for far in range(1, radius + 1):
        both = padded.narrow(dim, radius - far, side) + padded.narrow(dim, radius + far, side)
        total.addcmul_(both, weight[:, far, None, None, None])
    return total


def _parts(x: Tensor) -> list[slice]:
    """Samples taken together: as many as stay in a CPU's cache, or all."""
    step = len(x) if x.device.type != "cpu" else max(1, _CHUNK // x[0].numel())
    return [slice(first, first + step) for first in range(0, len(x), step)]


def _slots() -> list[list[int]]:
    """For each of the 24 orders, what is done in three slots before hue and three after it."""
    table = []
    for order in permutations((_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE)):
        hue = order.index(_HUE)
        before, after = list(order[:hue]), list(order[hue + 1 :])
        table.append(before + [_NONE] * (6 - len(before) - len(after)) + after)
    return table


_SLOTS = torch.tensor(_slots())


@dataclass(frozen=True)
class ColourJitter:
    """Brightness, contrast, saturation and hue, with probability `p`, in an order of its own per sample.

    brightness, contrast, saturation
         a factor uniform in [max(0, 1 - a), 1 + a] of the blend with black, with the image's mean grey, with its grey
    hue  turned by a share of the circle uniform in [-a, a]; a at most 0.5

    torchvision's ColorJitter on float images: clamped after each, rounded once at the end. SimCLR's strength s is
    (0.8 s, 0.8 s, 0.8 s, 0.2 s).
    """

    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    hue: float = 0.1
    p: float = 0.8
    params: int = 6

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        _channels(x, "jitter")
        reach = torch.tensor([self.brightness, self.contrast, self.saturation], dtype=u.dtype, device=x.device)
        factor = torch.lerp((1 - reach).clamp(min=0), 1 + reach, u[:, 1:4])
        turn = (u[:, 4] * 2 - 1) * self.hue
        order = _SLOTS.to(x.device)[(u[:, 5] * len(_SLOTS)).long()]
        # The others are changed by nothing: a factor of 1 is exact, and the hue's rounding is far below a grey level.
        chosen = u[:, 0] < self.p
        factor, turn = torch.where(chosen[:, None], factor, 1.0), torch.where(chosen, turn, 0.0)
        out = torch.empty_like(x)
        for part in _parts(x):
            out[part] = self._changed(x[part], factor[part], turn[part], order[part])
        return out

    def _changed(self, x: Tensor, factor: Tensor, turn: Tensor, order: Tensor) -> Tensor:
        """All of it for `[b, H, W, C]`; float32 of the same shape, whole numbers."""
        planes = x.permute(3, 0, 1, 2).to(torch.float32, memory_format=torch.contiguous_format).flatten(2)
        for slot in range(6):
            if slot == 3 and self.hue and len(planes) == 3:
                turn_hue(planes, turn)
            blend(planes, order[:, slot], factor)
        return planes.round_().view(x.shape[3], *x.shape[:3]).permute(1, 2, 3, 0)


def blend(planes: Tensor, kind: Tensor, factor: Tensor) -> None:
    """In place, `[C, b, P]` of 0 to 255: the blend that each sample's `kind` `[b]` names, by its factor of `[b, 3]`."""
    known = kind != _NONE
    own = torch.where(known, factor.gather(1, (kind - 1).clamp(min=0)[:, None])[:, 0], 1.0)[:, None]
    grey = _grey(planes)
    # In float64, where the order of summation, which may depend on the batch, is lost in the rounding to float32.
    mean = grey.mean(1, dtype=torch.float64, keepdim=True).float()
    away = 1 - own
    grey.mul_(away * (kind == _SATURATION)[:, None]).add_(mean * away * (kind == _CONTRAST)[:, None])
    torch.addcmul(grey, planes, own, out=planes).clamp_(0, 255)


def _grey(planes: Tensor) -> Tensor:
    """`[b, P]` from `[C, b, P]`, a new tensor."""
    if len(planes) == 1:
        return planes[0].clone()
    grey = planes[0] * _LUMA[0]
    return grey.add_(planes[1], alpha=_LUMA[1]).add_(planes[2], alpha=_LUMA[2])


def turn_hue(planes: Tensor, turn: Tensor) -> None:
    """In place, `[3, b, P]`: the hue of the HSV cone turned by `turn` `[b]` of a circle, value and saturation as they are.

    A channel of hue h (in sixths of the circle), value V and chroma C is V - C clamp(min(k, 4 - k), 0, 1) with
    k = n + h mod 6 and n = 5, 3, 1 for red, green, blue, which is the same as going to HSV and back.
    """
    red, green, blue = planes
    top = torch.maximum(red, green)
    low = torch.minimum(red, green)
    is_green = (green - red).gt_(0)
    top, low = torch.maximum(top, blue), torch.minimum(low, blue)
    chroma = top - low
    # Which channel is on top as numbers 0 and 1, and `lerp`, which is exact at both: `where` is many times slower.
    is_blue = top.clone().ne_(torch.maximum(red, green))
    sixths = torch.lerp(green - blue, (blue - red).add_(chroma, alpha=2), is_green)
    sixths = torch.lerp(sixths, (red - green).add_(chroma, alpha=4), is_blue)
    # Between -1 and 5 sixths, moved up by whole turns to stay positive.
    hue = sixths.div_(chroma.clamp(min=1e-6)).div_(6).add_(turn[:, None] + 2)
    shift = torch.tensor([5 / 6, 3 / 6, 1 / 6], device=planes.device)[:, None, None]
    share = (hue + shift).frac_().mul_(6).sub_(2).abs_().sub_(1).clamp_(0, 1)
    torch.addcmul(low, chroma, share, out=planes)
