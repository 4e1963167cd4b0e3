"""Importances one image at a time, by autograd alone and straight from the definitions; and a network of odd layers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from headstart.data.task import Task
from headstart.engine.step import present
from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.rng import forked


def naive(net: Net, task: Task, heads: Sequence[str], kind: str) -> dict[str, Tensor]:
    """`kind`: exact (over all classes, each as likely as the model says), empirical, or mas."""
    net.eval()
    parts = ("blocks.", *(f"heads.{head}." for head in heads))
    named = {name: one for name, one in net.named_parameters() if name.startswith(parts)}
    total = {name: torch.zeros_like(one, dtype=torch.float64) for name, one in named.items()}
    before = sum(net.head(head).num_classes for head in heads[:-1])
    for place in range(len(task)):
        x = present(task.store.gather(task.rows[place : place + 1]), net.input).to(next(net.parameters()).dtype)
        taps = net.run(x, taps=net.block_names)
        logits = torch.cat([net.answer(taps, head) for head in heads], 1)[0]
        told = logits.log_softmax(0)
        if kind == "mas":
            parts_of = [(1.0, logits.square().sum())]
        elif kind == "exact":
            parts_of = [(one.exp().item(), one) for one in told.unbind()]
        else:
            parts_of = [(1.0, told[int(task.targets[place]) + before])]
        for share, value in parts_of:
            found = torch.autograd.grad(value, list(named.values()), retain_graph=True, allow_unused=True)
            for name, gradient in zip(named, found, strict=True):
                if gradient is not None:
                    total[name] += gradient.double().abs() if kind == "mas" else share * gradient.double().square()
    return {name: value / len(task) for name, value in total.items()}


def stirred(net: Net) -> Net:
    """Heads, biases and statistics as no initialiser leaves them."""
    with forked(3), torch.no_grad():
        for name, one in net.named_parameters():
            if one.ndim < 2 or name.startswith("heads."):
                nn.init.normal_(one, 0.3, 0.3)
        for name, buffer in net.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 1.5)
    return net


class Twice(nn.Module):
    """One layer used twice."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(x)))


class Odd(nn.Module):
    """Tokens, attention by matrices that no module is called for, two layers that share a weight, a normalised weight, a
    parameter of its own, one that nothing uses, and a subclass that computes otherwise than its base."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.norm = nn.LayerNorm(width)
        self.one, self.other = nn.Linear(width, width), nn.Linear(width, width)
        self.other.weight = self.one.weight
        self.normed = weight_norm(nn.Linear(width, width))
        self.scaled = Scaled(width, width)
        self.shift = nn.Parameter(torch.ones(width))
        self.unused = nn.Parameter(torch.ones(2))

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(2).transpose(1, 2)
        tokens = tokens + self.attention(tokens, tokens, tokens, need_weights=False)[0]
        tokens = torch.tanh(self.other(torch.tanh(self.one(self.norm(tokens)))))
        return self.scaled(self.normed(tokens) * self.shift)


class Scaled(nn.Linear):
    """Twice what its base would give."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * F.linear(x, self.weight, self.bias)


def odd_net() -> Net:
    """Layers of every kind with a rule, in every setting, and of kinds without."""
    with forked(1):
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers["strided"] = nn.Conv2d(3, 8, 3, 2, (1, 0))
        layers["relu"] = nn.ReLU(inplace=True)
        layers["grouped"] = nn.Conv2d(8, 12, (3, 2), padding="same", dilation=(1, 2), groups=4)
        layers["norm"] = nn.BatchNorm2d(12)
        layers["again"] = nn.ReLU(inplace=True)
        layers["mirrored"] = nn.Conv2d(12, 8, 3, padding=2, padding_mode="reflect", bias=False)
        layers["groups"] = nn.GroupNorm(2, 8)
        layers["each"] = nn.Conv2d(8, 8, 3, groups=8)
        blocks = {"plain": nn.Sequential(layers), "twice": Twice(8), "odd": Odd(8)}
    info = {"plain": BlockInfo("nchw", 8), "twice": BlockInfo("nchw", 8), "odd": BlockInfo("nlc", 8)}
    return Net(blocks, InputSpec(12), info, None)


class Undecided(nn.Module):
    """What it does depends on what it sees, which cannot be vectorised."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((width,), 0.7))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale if x.sum().item() > 0 else x * self.scale.square()
