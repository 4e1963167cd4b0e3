"""Vision transformers whose layers take any number of tokens, so that hidden patches need not pass through them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.vit import Layer


@dataclass(frozen=True)
class TokenPlan:
    """Where a transformer's tokens come from and go.

    embed    block that makes tokens `[N, special + grid^2, width]` of images; `patch` is the side of a patch in pixels
    special  tokens of no place (class, distillation, register), which come first
    layers   blocks that map tokens to tokens
    last     block that makes features of them, and has the last norm
    """

    embed: str
    patch: int
    grid: int
    special: int
    width: int
    layers: tuple[str, ...]
    last: str

    def norm(self, net: Net) -> nn.Module:
        """What normalises the tokens after the last layer; nothing, where a network does so after pooling."""
        found = getattr(net.blocks[self.last], "norm", None)
        return found if isinstance(found, nn.Module) else nn.Identity()


def tokens_of(net: Net) -> TokenPlan:
    """The plan of headstart's own `vit` and of timm's plain vision transformers (`vit_*`, `deit_*`).

    Raises ConfigError, saying what is in the way, for every other network.
    """
    if len(net.block_names) < 3 or net.input.kind != "image":
        raise _other("it has no blocks of a transformer")
    embed, *layers, last = net.block_names
    for name in layers:
        if not _takes_any_number(net.blocks[name]):
            raise _other(f"its block {name!r} ({type(net.blocks[name]).__name__}) is no transformer's layer on plain tokens")
    cuts = [part for part in net.blocks[embed].modules() if isinstance(part, nn.Conv2d)]
    sides = {side for cut in cuts for side in (*cut.kernel_size, *cut.stride)}
    if len(cuts) != 1 or len(sides) != 1 or net.info[embed].layout != "nlc":
        raise _other(f"its first block {embed!r} does not cut the image into patches by one convolution")
    patch = sides.pop()
    grid = net.input.size // patch
    special = _tokens(net, embed) - grid**2
    if special < 0 or grid < 2:
        raise _other(f"its first block {embed!r} does not keep a token for each of several patches")
    return TokenPlan(embed, patch, grid, special, net.info[embed].channels, tuple(layers), last)


def _takes_any_number(block: nn.Module) -> bool:
    kind = type(block)
    timms = kind.__module__ == "timm.models.vision_transformer" and kind.__name__ == "Block"
    return isinstance(block, Layer) or timms


def _tokens(net: Net, embed: str) -> int:
    """How many tokens the first block makes of an image."""
    block = net.blocks[embed]
    was = block.training
    block.eval()
    with torch.no_grad():
        tokens: torch.Tensor = block(torch.zeros(1, 3, net.input.size, net.input.size, device=net.device))
    block.train(was)
    return tokens.shape[1]


def _other(why: str) -> ConfigError:
    return ConfigError(
        f"hiding patches needs a vision transformer whose layers take any number of tokens: {why}. "
        "Use --backbone headstart:vit, or a plain one of timm's such as timm:vit_tiny_patch16_224"
    )
