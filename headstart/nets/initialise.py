"""Weights drawn anew, and weights moved from one network to another, block by block."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from headstart.errors import BackboneError, ConfigError
from headstart.nets.net import Net
from headstart.nets.rng import forked
from headstart.nets.sources import from_source
from headstart.seeding import seed_for


def reinitialise(net: Net, block_names: Iterable[str], seed: int) -> None:
    """Draw the weights of these blocks anew, buffers (BatchNorm statistics) included, in place.

    A network with a source is built again from `seed` and the blocks' values copied, so that they are distributed exactly
    as the library that made it initialises them. For one given as a module every layer's own `reset_parameters` is called.
    The same seed gives the same weights; the global random generators are left as they were.

    Raises BackboneError naming the parameters that no `reset_parameters` covers; nothing is changed then.
    """
    names = _known(net, block_names)
    if net.source is not None:
        copy_weights(from_source(net.source, seed), net, names)
        return
    if net.device.type != "cpu":  # drawn on the CPU, so that the seed alone decides and no device's generator moves
        drawn = copy.deepcopy(net).cpu()
        reinitialise(drawn, names, seed)
        copy_weights(drawn, net, names)
        return
    resets = _resets(net, names)
    with forked(seed_for(seed, "nets", "reinitialise")):
        for reset in resets:
            reset()


def copy_weights(source: Net, target: Net, block_names: Iterable[str]) -> None:
    """Transplant: copy the weights and buffers of these blocks from `source` into `target`, in place.

    Raises BackboneError listing every tensor that is not in both or has another shape; nothing is changed then.
    """
    pairs: list[tuple[Tensor, Tensor]] = []
    problems: list[str] = []
    for name in _known(target, block_names):
        if name not in source.blocks:
            problems.append(f"block {name}: the source network has none of that name")
            continue
        ours = target.blocks[name].state_dict(keep_vars=True)
        theirs = source.blocks[name].state_dict(keep_vars=True)
        problems += [f"{name}.{key}: in one network only" for key in sorted(set(ours) ^ set(theirs))]
        for key in [key for key in ours if key in theirs]:
            if ours[key].shape != theirs[key].shape:
                problems.append(f"{name}.{key}: {list(theirs[key].shape)} does not fit {list(ours[key].shape)}")
            pairs.append((ours[key], theirs[key]))
    if problems:
        raise BackboneError(
            "weights cannot be copied between these networks:\n" + "\n".join(f"  - {p}" for p in problems[:20])
        )
    with torch.no_grad():
        for ours_, theirs_ in pairs:
            ours_.copy_(theirs_)


def _known(net: Net, block_names: Iterable[str]) -> list[str]:
    names = list(block_names)
    unknown = [name for name in names if name not in net.blocks]
    if unknown:
        raise ConfigError(f"no blocks are called {unknown}; there are {net.block_names}")
    return names


def _resets(net: Net, names: list[str]) -> list[Callable[[], None]]:
    """The reset functions of these blocks' layers; BackboneError when they do not cover every parameter."""
    resets: list[Callable[[], None]] = []
    uncovered: list[str] = []
    for name in names:
        for path, module in net.blocks[name].named_modules():
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                resets.append(reset)
            elif own := [key for key, _ in module.named_parameters(recurse=False)]:
                uncovered += [".".join(part for part in (name, path, key) if part) for key in own]
    if uncovered:
        raise BackboneError(
            f"these weights cannot be drawn anew, because the module that owns them has no reset_parameters(): "
            f"{', '.join(uncovered)}. Give the module one, or name the network by its library"
        )
    return resets
