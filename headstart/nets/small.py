"""Networks of our own: the CIFAR ResNet family and a multilayer perceptron."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from headstart.nets.net import BlockInfo, InputSpec, Net

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without weights (He et al. 2016, option A)."""

    def __init__(self, width_in: int, width_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width_out)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width_out)
        self.stride = stride
        self.extra = width_out - width_in

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        if self.stride != 1 or self.extra:
            x = x[:, :, :: self.stride, :: self.stride]
            x = F.pad(x, (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return F.relu(x + y)


class Pool(nn.Module):
    """Average over places: `[N, C, H, W]` to `[N, C]`."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


def cifar_resnet(depth: int = 20, width: int = 16, size: int = 32) -> Net:
    """ResNet-(6n+2) for small images (He et al. 2016, section 4.2); the classifier is a head, so `blocks` end pooled."""
    if depth < 8 or (depth - 2) % 6:
        raise ValueError(f"depth={depth}: a CIFAR ResNet has depth 6n+2 (8, 14, 20, 32, 44, 56, 110)")
    per_stage = (depth - 2) // 6
    stem = OrderedDict(conv1=nn.Conv2d(3, width, 3, 1, 1, bias=False), bn1=nn.BatchNorm2d(width), relu=nn.ReLU())
    blocks: dict[str, nn.Module] = {"stem": nn.Sequential(stem)}
    info = {"stem": BlockInfo("nchw", width)}
    before = width
    for stage in range(3):
        after = width * 2**stage
        for place in range(per_stage):
            name = f"layer{stage + 1}_{place}"
            blocks[name] = BasicBlock(before, after, 2 if stage and not place else 1)
            info[name] = BlockInfo("nchw", after)
            before = after
    blocks["pool"], info["pool"] = Pool(), BlockInfo("nc", before)
    spec = {"builder": "cifar_resnet", "args": {"depth": depth, "width": width, "size": size}}
    net = Net(blocks, InputSpec(size, CIFAR_MEAN, CIFAR_STD), info, spec)
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def mlp(features: int, widths: tuple[int, ...] = (64, 64)) -> Net:
    """A multilayer perceptron on vectors: one block per layer, ReLU after each."""
    blocks: dict[str, nn.Module] = {}
    info: dict[str, BlockInfo] = {}
    before = features
    for place, after in enumerate(widths):
        blocks[f"layer{place}"] = nn.Sequential(nn.Linear(before, after), nn.ReLU())
        info[f"layer{place}"] = BlockInfo("nc", after)
        before = after
    spec = {"builder": "mlp", "args": {"features": features, "widths": list(widths)}}
    return Net(blocks, InputSpec(features, (0.0,), (1.0,), "vector"), info, spec)
