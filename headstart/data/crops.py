"""Crops resampled to any size: one box per sample, a triangle filter that grows when pixels are merged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

_CHUNK = 1 << 18
"""Input and output pixels worked on at once on a CPU, so that they stay in its cache."""


def boxes(
    u: Tensor, scale: tuple[float, float], ratio: tuple[float, float]
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Random boxes from `[B, 4]` numbers: `(top, height), (left, width)`, each `[B]`, as shares of the image's sides.

    Area uniform in `scale`, logarithm of the aspect ratio uniform in that of `ratio` (Szegedy et al. 2015). A box that
    would be wider or higher than the image is made as wide or as high as it, where torchvision draws again.
    """
    area = scale[0] + u[:, 0] * (scale[1] - scale[0])
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(low + u[:, 1] * (high - low))
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    return (u[:, 3] * (1 - height), height), (u[:, 2] * (1 - width), width)


def resampled(
    x: Tensor, rows: tuple[Tensor, Tensor], columns: tuple[Tensor, Tensor], size: tuple[int, int] | None = None
) -> Tensor:
    """Each sample's box of `[B, H, W, C]` uint8 at another size: `[B, *size, C]` uint8 (None: at its own size).

    rows, columns  start and extent `[B]` of the boxes as shares of the sides

    Pillow's bilinear resampling with a box: output pixels are averages with a triangle of half width max(1, input pixels
    per output pixel), cut off and renormalised at the image's border. Unlike Pillow it rounds once, at the end.
    Gathered tap by tap, so that a sample's result does not depend on its batch.
    """
    height, width = size or (x.shape[1], x.shape[2])
    per_sample = x.shape[1] * x.shape[2] + height * width
    step = len(x) if x.device.type != "cpu" else max(1, _CHUNK // per_sample)
    out = x.new_empty(len(x), height, width, x.shape[3])
    for first in range(0, len(x), step):
        part = slice(first, first + step)
        tall = _along_rows(x[part], *_taps(rows[0][part], rows[1][part], x.shape[1], height))
        wide = _along_columns(tall, *_taps(columns[0][part], columns[1][part], x.shape[2], width))
        out[part] = wide.round_().clamp_(0, 255)
    return out


def _taps(start: Tensor, extent: Tensor, side: int, size: int) -> tuple[Tensor, Tensor]:
    """Per output place which inputs it averages, `[B, T, size]` int64, and with which weights, float32."""
    count = math.ceil(2 * max(1.0, side / size))
    scale = extent * (side / size)
    support = scale.clamp(min=1)[:, None, None]
    place = torch.arange(size, device=start.device) + 0.5
    centre = (start[:, None] * side + place * scale[:, None])[:, None]
    tap = torch.arange(count, device=start.device)[:, None]
    index = (centre - support + 0.5).floor() + tap
    weight = (1 - (index + 0.5 - centre).abs() / support).clamp_(min=0)
    weight = torch.where((index >= 0) & (index < side), weight, 0.0)
    return index.clamp_(0, side - 1).long(), weight / weight.sum(1, keepdim=True)


def _along_rows(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """`[B, H, W, C]` to float32 `[B, size, W, C]`."""
    count, side, width, channels = x.shape
    flat = x.reshape(count * side, width * channels)
    index = index + (torch.arange(count, device=x.device) * side)[:, None, None]
    return _gathered(flat, index, weight).view(count, -1, width, channels)


def _along_columns(x: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """`[B, H, W, C]` to float32 `[B, H, size, C]`."""
    count, height, side, channels = x.shape
    flat = x.reshape(count * height * side, channels)
    line = torch.arange(count * height, device=x.device).view(count, 1, height, 1) * side
    index, weight = index[:, :, None] + line, weight[:, :, None].expand(-1, -1, height, -1)
    return _gathered(flat, index, weight).view(count, height, -1, channels)


def _gathered(flat: Tensor, index: Tensor, weight: Tensor) -> Tensor:
    """Sum over taps (dimension 1 of both) of weight times the row of `flat` that index names."""
    total = flat.index_select(0, index[:, 0].reshape(-1)).float() * weight[:, 0].reshape(-1, 1)
    for tap in range(1, index.shape[1]):
        total.addcmul_(flat.index_select(0, index[:, tap].reshape(-1)).float(), weight[:, tap].reshape(-1, 1))
    return total


@dataclass(frozen=True)
class CropTo:
    """Random area and aspect ratio as `ResizedCrop`, at `size` x `size` pixels whatever the image's: multi-crop
    (Caron et al. 2020). Where pixels are merged the filter grows with them, as Pillow's does."""

    size: int
    scale: tuple[float, float] = (0.05, 0.4)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    params: int = 4

    def __call__(self, x: Tensor, u: Tensor) -> Tensor:
        return resampled(x, *boxes(u, self.scale, self.ratio), (self.size, self.size))
