"""Folding BatchNorm changes nothing but rounding, and never the original."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.errors import ConfigError
from headstart.nets.build import build
from headstart.nets.fold import TOLERANCE, fold, folded
from headstart.nets.small import cifar_resnet
from tests.nets.toys import Plain, scramble

CASES: list[tuple[str, dict[str, Any], int, int]] = [  # the last number: BatchNorm layers that no convolution precedes
    ("headstart:cifar_resnet8", {}, 32, 0),
    ("timm:resnet10t", {}, 32, 0),
    ("timm:mobilenetv3_small_050", {"pad_type": "same"}, 32, 0),
    ("timm:densenet121", {"block_config": (2, 2)}, 32, 6),
]


def _norms(*modules: nn.Module) -> int:
    return sum(isinstance(part, nn.modules.batchnorm._BatchNorm) for module in modules for part in module.modules())


@pytest.mark.parametrize(("name", "args", "size", "left"), CASES, ids=[case[0] for case in CASES])
def test_values_differ_by_rounding_only(name: str, args: dict[str, Any], size: int, left: int) -> None:
    net = build(name, args=args, size=size, pretrained=False)
    scramble(net)
    before = {key: value.clone() for key, value in net.state_dict().items()}
    blocks = folded(net, net.block_names)
    assert _norms(*blocks.values()) == left
    x = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = net.run(x, taps=net.block_names)
    with torch.no_grad():
        for key, block in blocks.items():
            x = block(x)
            assert (x - expected[key]).abs().max() <= TOLERANCE * expected[key].abs().max()
    assert _norms(net) > 0
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert not any(weight.requires_grad or block.training for block in blocks.values() for weight in block.parameters())
    ours = {weight.data_ptr() for weight in net.parameters()}
    assert not ours & {weight.data_ptr() for block in blocks.values() for weight in block.parameters()}


def test_closed_form() -> None:
    """conv -> BN is w * g / sqrt(v + eps), (b - m) * g / sqrt(v + eps) + beta."""
    pair = scramble(nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))).eval()
    conv, norm = pair[0], pair[1]
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    weight, bias = conv.weight * scale[:, None, None, None], (conv.bias - norm.running_mean) * scale + norm.bias
    fused = fold(pair)
    torch.testing.assert_close(fused[0].weight, weight)
    torch.testing.assert_close(fused[0].bias, bias)


class _ReadByTwo(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return self.bn(y) + y


class _LooksAtItsWeight(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn(self.conv(x)) * self.bn.weight.sum()


@pytest.mark.parametrize("kind", [_ReadByTwo, _LooksAtItsWeight])
def test_what_cannot_be_folded_is_left(kind: type[nn.Module]) -> None:
    module = scramble(kind()).eval()
    x = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = module(x)
        assert torch.equal(fold(module)(x), expected)
    assert _norms(module) == 1


def test_a_training_net_is_folded_by_its_running_statistics() -> None:
    net = build(scramble(Plain()), size=16, mean=(0.5,) * 3, std=(0.5,) * 3)
    x = torch.randn(4, 3, 16, 16)
    expected = net.run(x)[net.last]
    net.train()
    blocks = folded(net, net.block_names)
    assert net.training
    assert net.blocks["stem"].training
    for block in blocks.values():
        x = block(x)
    torch.testing.assert_close(x, expected)


def test_unknown_blocks() -> None:
    with pytest.raises(ConfigError, match="nonsense"):
        folded(cifar_resnet(8, 4), ["nonsense"])
