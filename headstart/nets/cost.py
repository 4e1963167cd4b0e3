"""Counting: multiply-adds, activations and parameters of each block. (The nets room's helper may extend this.)"""

from __future__ import annotations

import torch
from torch.utils.flop_counter import FlopCounterMode

from headstart.nets.net import Net


def _example(net: Net) -> torch.Tensor:
    side = net.input.size
    return torch.zeros((1, len(net.input.mean), side, side) if net.input.kind == "image" else (1, side), device=net.device)


@torch.no_grad()
def _walk(net: Net) -> tuple[dict[str, int], dict[str, int]]:
    flops: dict[str, int] = {}
    sizes: dict[str, int] = {}
    modes = [(m, m.training) for m in net.modules()]
    net.eval()
    x = _example(net)
    for name, block in net.blocks.items():
        with FlopCounterMode(display=False) as counter:
            x = block(x)
        flops[name] = int(counter.get_total_flops()) // 2
        sizes[name] = x.numel()
    for module, mode in modes:
        module.training = mode
    return flops, sizes


def block_flops(net: Net) -> dict[str, int]:
    """Multiply-adds of one sample's forward pass, per block."""
    return _walk(net)[0]


def activation_elements(net: Net, block: str) -> int:
    """Numbers in one sample's output of `block`."""
    return _walk(net)[1][block]
