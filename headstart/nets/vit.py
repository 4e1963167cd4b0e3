"""A small vision transformer for small images, with a class token and a distillation token."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.small import CIFAR_MEAN, CIFAR_STD

LEAST = 4
"""Patches a side at least, where a size can be divided so."""


class Embed(nn.Module):
    """Patches as tokens, the two special tokens before them, and where each is: `[N, 3, S, S]` to `[N, 2 + P, width]`."""

    def __init__(self, size: int, patch: int, width: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(3, width, patch, patch)
        self.special = nn.Parameter(torch.zeros(1, 2, width))
        self.position = nn.Parameter(torch.zeros(1, 2 + (size // patch) ** 2, width))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.project(x).flatten(2).transpose(1, 2)
        return torch.cat([self.special.expand(tokens.shape[0], -1, -1), tokens], 1) + self.position


class Attention(nn.Module):
    """Every token looks at every token (Vaswani et al. 2017). Written out: the fused kernels of some devices round anew in
    every run, and a few dozen tokens gain nothing by them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        query, key, value = self.qkv(x).reshape(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = ((query * self.scale) @ key.transpose(-2, -1)).softmax(-1)
        mixed: Tensor = self.out((weights @ value).transpose(1, 2).reshape(batch, length, width))
        return mixed


class Layer(nn.Module):
    """Attention and a perceptron, normalised before each, added to what came in: `[N, L, width]` to the same."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        after: Tensor = x + self.mlp(self.norm2(x))
        return after


class TwoTokens(nn.Module):
    """Class token and distillation token, normalised, side by side: `[N, L, width]` to `[N, 2 width]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.norm(x[:, :2]).flatten(1)
        return found


def has_two_tokens(net: Net) -> bool:
    """Whether the last block's channels are a class token's, then as many of a distillation token."""
    return isinstance(net.blocks[net.last], TwoTokens)


def patch_for(size: int) -> int:
    """The divisor of `size` that makes about 8 patches a side, 14 from 160 px on."""
    wanted = 8 if size < 160 else 14
    divisors = [patch for patch in range(1, size + 1) if size % patch == 0 and size // patch >= min(LEAST, size)]
    return min(divisors, key=lambda patch: (abs(size // patch - wanted), patch))


def _draw(module: nn.Module) -> None:
    """Draw a layer's weights; see `vit`."""
    if isinstance(module, Attention):
        for matrix in module.qkv.weight.data.chunk(3):
            nn.init.xavier_uniform_(matrix)
        nn.init.xavier_uniform_(module.out.weight)
    elif isinstance(module, Layer):
        for linear in module.mlp:
            if isinstance(linear, nn.Linear):
                nn.init.xavier_uniform_(linear.weight)
    elif isinstance(module, Embed):
        nn.init.normal_(module.project.weight, std=module.project.weight[0].numel() ** -0.5)
        nn.init.normal_(module.special, std=0.02)
        module.position.data[0, 2:] = waves(round((module.position.shape[1] - 2) ** 0.5), module.position.shape[2])
    if isinstance(module, (nn.Linear, nn.Conv2d)) and module.bias is not None:
        nn.init.zeros_(module.bias)


def waves(side: int, width: int) -> Tensor:
    """Sines and cosines of row and column `[side * side, width]`, in wavelengths from 2 pi to 20 000 pi places."""
    rates = 10_000 ** -(torch.arange(width // 4) / max(width // 4 - 1, 1))
    place = torch.arange(side * side)
    rows, columns = (which[:, None] * rates for which in (place // side, place % side))
    return torch.cat([rows.sin(), rows.cos(), columns.sin(), columns.cos()], 1)


def vit(size: int = 32, patch: int | None = None, width: int = 96, depth: int = 4, heads: int = 3) -> Net:
    """A vision transformer (Dosovitskiy et al. 2021) with DeiT's distillation token (Touvron et al. 2021), pre-norm.

    size   side of the input in pixels; patch: side of a patch, a divisor of it; None: see `patch_for`
    width  of a token, a multiple of 4; heads: of attention, a divisor of it; depth: number of layers

    One block per layer; the last gives both tokens, `[N, 2 width]`, for a head on each or one on both. At 32 px 0.46 million
    weights and 33 million multiply-accumulates. Weights are drawn evenly by fan (Glorot & Bengio 2010), and places
    start as waves (Beyer et al. 2022), which then train. With DeiT's deviation of 0.02 for all, so narrow a network starts
    late: on digits it learned nothing in 140 steps, where this one had begun after 60.
    """
    patch = patch or (patch_for(size) if size > 0 else 1)
    if size < 1 or patch < 1 or size % patch or width < 4 or width % 4 or heads < 1 or width % heads or depth < 1:
        raise ValueError(
            f"size={size}, patch={patch}, width={width}, heads={heads}, depth={depth}: the patch must divide the size, "
            "heads and 4 the width, and all be positive"
        )
    blocks: OrderedDict[str, nn.Module] = OrderedDict(embed=Embed(size, patch, width))
    blocks |= {f"layer{place}": Layer(width, heads) for place in range(depth)}
    info = {name: BlockInfo("nlc", width) for name in blocks}
    blocks["tokens"], info["tokens"] = TwoTokens(width), BlockInfo("nc", 2 * width)
    args = {"size": size, "patch": patch, "width": width, "depth": depth, "heads": heads}
    net = Net(blocks, InputSpec(size, CIFAR_MEAN, CIFAR_STD), info, {"builder": "vit", "args": args})
    for module in net.modules():
        _draw(module)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
