"""Networks of our own: the CIFAR ResNet family, eight plain layers for small images, and a multilayer perceptron."""

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


class Flat(nn.Module):
    """`[N, C, H, W]` to `[N, C H W]`, whatever the memory format."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def convnet8(size: int = 32, width: int = 16) -> Net:
    """AlexNet's eight layers for small images: five convolutions, two dense layers, and the classifier, which is the head.

    size   side of the input in pixels, a multiple of 4 from 8 on; the first convolution's stride grows with it, so that the
           second sees 8 x 8 to 16 x 16 places. At 32 px the forward pass takes 2.4 million multiply-accumulates
    width  channels of the first two convolutions; the others have twice, the dense layers six times as many

    One block per layer, so that the net can be cut after each. As in Krizhevsky et al. 2012 large filters with a stride come
    first, pooling after the second and fifth convolution; batch normalisation stands in for their response normalisation
    and dropout, because a study trains dozens of these for a few epochs.
    """
    if size < 8 or size % 4 or width < 1:
        raise ValueError(f"size={size}, width={width}: the side must be a multiple of 4 from 8 on, the width positive")
    stride = max(1, min(size // 8, max(2, size // 16)))
    plan = [("conv1", 3, width, 2 * stride + 1, stride), ("conv2", width, width, 3, 1), ("conv3", width, 2 * width, 3, 1)]
    plan += [("conv4", 2 * width, 2 * width, 3, 1), ("conv5", 2 * width, 2 * width, 3, 1)]
    blocks: dict[str, nn.Module] = {}
    info: dict[str, BlockInfo] = {}
    side = -(-size // stride)
    for name, before, after, kernel, step in plan:
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        layers |= {"conv": nn.Conv2d(before, after, kernel, step, kernel // 2, bias=False)}
        layers |= {"bn": nn.BatchNorm2d(after), "relu": nn.ReLU()}
        if name in ("conv2", "conv5"):
            layers["pool"], side = nn.MaxPool2d(2), side // 2
        blocks[name], info[name] = nn.Sequential(layers), BlockInfo("nchw", after)
    flat = 2 * width * side * side
    for name, features in (("fc6", flat), ("fc7", 6 * width)):
        dense: OrderedDict[str, nn.Module] = OrderedDict({"flat": Flat()} if name == "fc6" else {})
        dense |= {"linear": nn.Linear(features, 6 * width, bias=False), "bn": nn.BatchNorm1d(6 * width), "relu": nn.ReLU()}
        blocks[name], info[name] = nn.Sequential(dense), BlockInfo("nc", 6 * width)
    spec = {"builder": "convnet8", "args": {"size": size, "width": width}}
    net = Net(blocks, InputSpec(size, CIFAR_MEAN, CIFAR_STD), info, spec)
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
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
