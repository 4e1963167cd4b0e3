"""Small encoders that contrastive methods need: one of patches without batch normalisation, one with maps of 7, 5 and 1."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.nets.net import BlockInfo, InputSpec, Net
from headstart.nets.small import CIFAR_MEAN, CIFAR_STD


class Mix(nn.Module):
    """Two 1x1 convolutions beside a shortcut, after a rectifier: what each place makes of itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.wide = nn.Conv2d(width, 2 * width, 1)
        self.back = nn.Conv2d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = x + self.back(F.relu(self.wide(F.relu(x))))
        return found


def cpc_encoder(size: int = 32, width: int = 128, depth: int = 3) -> Net:
    """An encoder of patches a quarter of the image's side, half of which overlap, for contrastive predictive coding.

    size   side of the input in pixels: 16, 32, 64, 128 or 256
    width  channels of all but the first convolution, which has half
    depth  blocks of 1x1 convolutions after those with a stride

    A 4x4 convolution, then 3x3 ones, all with stride 2 and without padding: each of the 7x7 places of the last map sees
    exactly one patch (8 px at 32 px, every 4 px), so that the map of an image is what its patches give one by one. There is
    no normalisation, through which patches would know of each other. At 32 px 0.27 million weights and 14 million
    multiply-accumulates.
    """
    steps = {16: 1, 32: 2, 64: 3, 128: 4, 256: 5}.get(size, 0)
    if not steps or width < 2 or depth < 0:
        raise ValueError(f"size={size}, width={width}, depth={depth}: a side of 16, 32, 64, 128 or 256, a width from 2 on")
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    info: dict[str, BlockInfo] = {}
    before = 3
    for place in range(steps):
        after = width // 2 if place == 0 and steps > 1 else width
        layers = OrderedDict(conv=nn.Conv2d(before, after, 3 if place else 4, 2), relu=nn.ReLU())
        blocks[f"conv{place + 1}"], info[f"conv{place + 1}"] = nn.Sequential(layers), BlockInfo("nchw", after)
        before = after
    for place in range(depth):
        blocks[f"mix{place + 1}"], info[f"mix{place + 1}"] = Mix(width), BlockInfo("nchw", width)
    source = {"builder": "cpc_encoder", "args": {"size": size, "width": width, "depth": depth}}
    net = Net(blocks, InputSpec(size, CIFAR_MEAN, CIFAR_STD), info, source)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    for module in net.modules():
        if isinstance(module, Mix):
            # Without normalisation a deep sum grows; a small last step keeps it as large as it came in.
            module.back.weight.data.mul_(0.1)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


class Shrink(nn.Module):
    """A convolution without padding and a 1x1 one, beside a shortcut that averages the same window (Bachman et al. 2019)."""

    def __init__(self, before: int, after: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, kernel, stride, bias=False)
        self.norm = nn.BatchNorm2d(after)
        self.mix = nn.Conv2d(after, after, 1, bias=False)
        self.last = nn.BatchNorm2d(after)
        self.kernel, self.stride, self.extra = kernel, stride, after - before

    def forward(self, x: Tensor) -> Tensor:
        y = self.mix(F.relu(self.norm(self.conv(x))))
        short = F.avg_pool2d(x, self.kernel, self.stride)
        if self.extra:
            short = F.pad(short, (0, 0, 0, 0, 0, self.extra))
        return F.relu(self.last(y + short))


def amdim_encoder(size: int = 32, width: int = 32) -> Net:
    """An encoder whose last maps have 7x7, 5x5, 3x3 and 1x1 places, for AMDIM: a small relative of its own for small images.

    size   side of the input in pixels: 32, 64 or 128
    width  channels of the first block; maps have four times as many

    As in Bachman et al. 2019 no convolution is padded, so that no place knows of the border, and residual blocks average
    their window in the shortcut. Deviations: a fraction of their width and depth, and batch normalisation after every
    block. At 32 px 0.58 million weights and 16 million multiply-accumulates.
    """
    blocks: OrderedDict[str, nn.Module] = OrderedDict()
    info: dict[str, BlockInfo] = {}
    first = OrderedDict(conv=nn.Conv2d(3, width, 3, bias=False), norm=nn.BatchNorm2d(width), relu=nn.ReLU())
    blocks["conv1"], info["conv1"] = nn.Sequential(first), BlockInfo("nchw", width)
    wide, side = 4 * width, size - 2
    plan = [("down1", 2 * width, 4, 2)]
    left = (side - 4) // 2 + 1
    while left > 7:
        plan.append((f"down{len(plan) + 1}", wide, 2 if left % 2 == 0 else 3, 2))
        left = (left - plan[-1][2]) // 2 + 1
    if left != 7 or size not in (32, 64, 128) or width < 1:
        raise ValueError(f"size={size}, width={width}: a side of 32, 64 or 128, so that a map of 7x7 places is met")
    plan += [(f"map{now}", wide, 3, 1) for now in (5, 3, 1)]
    before = width
    for name, after, kernel, stride in plan:
        blocks[name], info[name] = Shrink(before, after, kernel, stride), BlockInfo("nchw", after)
        before = after
    source = {"builder": "amdim_encoder", "args": {"size": size, "width": width}}
    net = Net(blocks, InputSpec(size, CIFAR_MEAN, CIFAR_STD), info, source)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
