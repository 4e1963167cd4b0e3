"""A frozen, faster copy of blocks: BatchNorm folded into the convolution before it, channels-last memory.

In eval mode BatchNorm is a fixed scale and shift per channel, which the convolution can do itself. Values differ from the
unfolded ones by rounding: at most `TOLERANCE` of the largest activation, over a whole network.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable

import torch
from torch import fx, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from headstart.errors import ConfigError
from headstart.nets.net import Net
from headstart.nets.parallel import Tower
from headstart.nets.trace import Call, trace_eval

TOLERANCE = 1e-5


def folded(net: Net, block_names: Iterable[str]) -> dict[str, nn.Module]:
    """Copies of these blocks with BatchNorm folded where a convolution or linear layer precedes it.

    The copies are in eval mode and without gradients, and stay right only as long as the weights of `net` do not change.
    `net` is not touched. What cannot be folded (BatchNorm after an activation, code that cannot be traced) is copied as is.
    """
    names = list(block_names)
    unknown = [name for name in names if name not in net.blocks]
    if unknown:
        raise ConfigError(f"no blocks are called {unknown}; there are {net.block_names}")
    blocks = {name: fold(copy.deepcopy(net.blocks[name]).eval()) for name in names}
    for block in blocks.values():
        block.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return blocks


def fold(module: nn.Module) -> nn.Module:
    """Fold every BatchNorm of `module` (in eval mode) that directly follows a convolution or linear layer; in place."""
    if not any(_is_norm(part) for part in module.modules()):
        return module
    if isinstance(module, Tower):
        return Tower([fold(part) for part in module])
    found = trace_eval(module)
    for node in list(found.graph.nodes):
        if node.op == "call_module" and _is_norm(found.root.get_submodule(str(node.target))):
            _fold_one(found.root, node, found.calls)
    for call in found.calls:
        # Parts that a trace does not look into may have pairs inside.
        if call.leaf and not _is_norm(call.module) and call.path != "net":
            fold(call.module)
    return found.root.net


def _is_norm(module: nn.Module) -> bool:
    return isinstance(module, nn.modules.batchnorm._BatchNorm) and module.track_running_stats and not module.training


def _fold_one(root: nn.Module, node: fx.Node, calls: list[Call]) -> None:
    """Fold the BatchNorm of `node` into the layer that alone feeds it and feeds nothing else."""
    before = node.args[0]
    if not isinstance(before, fx.Node) or before.op != "call_module" or len(before.users) != 1:
        return
    layer, norm = root.get_submodule(str(before.target)), root.get_submodule(str(node.target))
    uses = [sum(call.module is part for call in calls) for part in (layer, norm)]
    assert isinstance(norm, nn.modules.batchnorm._BatchNorm)
    read = [str(other.target) for other in node.graph.nodes if other.op == "get_attr"]
    if any(name.startswith((f"{before.target}.", f"{node.target}.")) for name in read):
        return  # the network's own code looks at these weights
    if uses != [1, 1] or norm.running_mean is None or norm.running_var is None:
        return
    if type(layer) is nn.Linear:
        fused: nn.Module = fuse_linear_bn_eval(layer, norm)
    elif isinstance(layer, nn.Conv2d) and _plain_weight(layer):
        fused = fuse_conv_bn_eval(layer, norm)
    else:
        return
    _put(root, str(before.target), fused)
    _put(root, str(node.target), _rest_of(norm))


def _plain_weight(layer: nn.Conv2d) -> bool:
    """Whether the layer uses its weight as it is; weight-standardised convolutions compute another from it."""
    if type(layer) is nn.Conv2d:
        return True
    # timm's convolutions with computed padding differ from Conv2d in the input only.
    return type(layer).__name__ in ("Conv2dSame", "Conv2dSameExport")


def _rest_of(norm: nn.Module) -> nn.Module:
    """What a normalisation layer does besides: timm's also hold dropout and the activation."""
    rest = [part for part in norm.children() if not isinstance(part, nn.Identity)]
    return nn.Sequential(*rest) if rest else nn.Identity()


def _put(root: nn.Module, path: str, module: nn.Module) -> None:
    parent, _, name = path.rpartition(".")
    root.get_submodule(parent).add_module(name, module)
