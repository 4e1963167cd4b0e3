"""Small networks with the habits that make cutting hard, and helpers to compare a cut network with the whole."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def through(blocks: Mapping[str, nn.Module], x: Tensor) -> Tensor:
    for block in blocks.values():
        x = block(x)
    return x


def scramble(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give normalisation layers statistics and weights that are not neutral."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, nn.modules.batchnorm._BatchNorm):
                assert part.running_mean is not None
                assert part.running_var is not None
                part.running_mean.uniform_(-0.5, 0.5, generator=draw)
                part.running_var.uniform_(0.5, 2, generator=draw)
                part.weight.uniform_(0.5, 1.5, generator=draw)
                part.bias.uniform_(-0.3, 0.3, generator=draw)
    return module


class Plain(nn.Module):
    """Convolutions, a classifier on pooled maps."""

    def __init__(self, classes: int = 5) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.bn2 = nn.Conv2d(8, 12, 3, 2, 1), nn.BatchNorm2d(12)
        self.fc = nn.Linear(12, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = F.relu(self.bn2(self.conv2(x)))
        return self.fc(F.dropout(x.mean((2, 3)), 0.5, training=self.training))


class WritesIntoInput(nn.Module):
    """Every unit begins by writing into the activation it was given: once by a module, once by a function."""

    class Unit(nn.Module):
        def __init__(self, width: int, by_function: bool) -> None:
            super().__init__()
            self.act, self.conv, self.by_function = nn.ReLU(inplace=True), nn.Conv2d(width, width, 3, padding=1), by_function

        def forward(self, x: Tensor) -> Tensor:
            x = x.mul_(2.0) if self.by_function else self.act(x)
            return self.conv(x) + x

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.units = nn.Sequential(self.Unit(4, False), self.Unit(4, True), self.Unit(4, False))
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.units(self.stem(x)).mean((2, 3)))


class CarriesBatchSize(nn.Module):
    """Reads the batch size and the map's sides at the start and uses them at the end; shares one ReLU everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.relu, self.fc = nn.ReLU(), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        batch, _, height, width = x.shape
        x = self.relu(self.conv1(x))
        x = self.relu(self.conv2(x))
        x = self.relu(self.conv3(x))
        return self.fc(x.reshape(batch, 6, height * width).sum(-1) / (height * width))


class SharesALayer(nn.Module):
    """One convolution used twice: no block may hold one use of it without the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.last = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Conv2d(4, 5, 3)
        self.fc = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.twice(self.twice(self.first(x)).relu())
        return self.fc(self.last(x).mean((2, 3)))


class LooksAtValues(nn.Module):
    """Control flow that no symbolic trace can follow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        if x.mean() > 1e6:
            x = x * 2
        return self.fc(x.mean((2, 3)))


class LooksAtShapes(nn.Module):
    """Padding that depends on the size, decided where it is needed; `by` may look at something else instead."""

    def __init__(self, by: str = "size") -> None:
        super().__init__()
        self.by = by
        self.layers = nn.ModuleList(nn.Sequential(nn.Conv2d(c, 4, 3, 2), nn.BatchNorm2d(4)) for c in (3, 4, 4))
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            lacking = max((-(-x.shape[-1] // 2) - 1) * 2 + 3 - x.shape[-1], 0)
            if lacking if self.by == "size" else x.shape[0] > 6:
                x = nn.functional.pad(x, (lacking // 2, lacking - lacking // 2) * 2)
            x = layer(x).relu()
        return self.fc(x.mean((2, 3)))


class Wrapped(nn.Module):
    """Holds an untraceable part between traceable ones."""

    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x) if float(x.detach().sum()) < 1e9 else x

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.odd, self.conv2, self.fc = nn.Conv2d(3, 4, 3), self.Odd(), nn.Conv2d(4, 4, 3), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv2(self.odd(self.conv(x)).relu()).mean((2, 3)))


class Tokens(nn.Module):
    """A transformer on patches whose output is all its tokens."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.position = nn.Parameter(torch.zeros(1, 16, width))
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(width, 2, 16, batch_first=True) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2) + self.position
        for layer in self.layers:
            x = layer(x)
        return x
