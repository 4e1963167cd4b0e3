"""What a network of towers is made of: copies of a block side by side, and how blocks of several networks become them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from headstart.errors import BackboneError
from headstart.nets.net import TOWERS, Activation, Net, TowerPlan
from headstart.nets.stitch import CrossStitch

UNIT = "_stitch"
"""What follows a block's name in that of the unit behind it."""


class Tower(nn.ModuleList):
    """One block of every tower: a tuple of K activations to a tuple of K; the first one gives every copy the same tensor."""

    def forward(self, x: Activation) -> tuple[Tensor, ...]:
        each = x if isinstance(x, tuple) else (x,) * len(self)
        return tuple(block(one) for block, one in zip(self, each, strict=True))


def side_by_side(nets: Sequence[Net], plan: TowerPlan) -> Net:
    """The network that `plan` describes, of the blocks of K networks built alike, one per task; no heads.

    The blocks themselves are taken, not copies; the shared ones are those of the first.
    Raises BackboneError for a plan that does not fit the networks.
    """
    first, count = nets[0], len(plan.tasks)
    names = first.block_names
    if len(nets) != count or not 0 <= plan.shared < len(names) or not set(plan.stitch) <= set(names[plan.shared :]):
        raise BackboneError(f"towers {plan.to_json()} do not fit {len(nets)} networks of the blocks {names}")
    some = next(first.parameters(), torch.empty(0))
    blocks: dict[str, nn.Module] = {name: first.blocks[name] for name in names[: plan.shared]}
    info = {name: first.info[name] for name in blocks}
    for name in names[plan.shared :]:
        blocks[name], info[name] = Tower([net.blocks[name] for net in nets]), replace(first.info[name], towers=count)
        if name in plan.stitch:
            one = info[name]
            unit = CrossStitch(count, one.channels, one.layout, plan.keep).to(some.device, some.dtype)
            blocks[name + UNIT], info[name + UNIT] = unit, one
    source = None if first.source is None else {"builder": TOWERS, "of": first.source, **plan.to_json()}
    net = Net(blocks, first.input, info, source)
    net.towers = plan
    return net.train(first.training)


def units_of(net: Net) -> list[str]:
    """Names of the blocks that are cross-stitch units, in order."""
    return [name for name, block in net.blocks.items() if isinstance(block, CrossStitch)]


def tower_blocks(net: Net) -> dict[str, Tower]:
    """The blocks of which there is one copy per tower, in order."""
    return {name: block for name, block in net.blocks.items() if isinstance(block, Tower)}


def tower_parameters(net: Net) -> list[list[nn.Parameter]]:
    """Parameters of every tower, corresponding ones at the same place; those that several of its blocks hold once."""
    blocks = list(tower_blocks(net).values())
    count = len(blocks[0]) if blocks else 0
    chains = [list(chain.from_iterable(block[k].parameters() for block in blocks)) for k in range(count)]
    places = {id(one): n for n, one in reversed(list(enumerate(chains[0] if chains else ())))}
    return [[parameters[n] for n in sorted(places.values())] for parameters in chains]
