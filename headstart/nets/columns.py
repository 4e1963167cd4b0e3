"""Grown networks: copies of a network's upper blocks side by side on the same lower ones.

From one block on the network is a block `columns`: every column is a chain of blocks of the same names on the same input,
and what they give is pooled and put side by side, column 0 (the old network's) first. What reads only column 0 answers as
before to the bit, because that column computes what it computed.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from headstart.errors import BackboneError
from headstart.nets.heads import LinearHead, pool
from headstart.nets.net import BlockInfo, Net
from headstart.nets.parallel import Tower

COLUMNS = "columns"
"""Name of the block."""
GROWN = "grown"
"""Key of `Net.source` under which the growth is listed, oldest first: `{"kind": "column", "first": BLOCK}` each."""


class Columns(nn.ModuleList):
    """Chains of blocks on one input: `[N, ...]` to `[N, K C]`, the pooled outputs `[N, C]` of K columns side by side.

    layout  of what a column gives, see `heads.pool`
    """

    def __init__(self, columns: Sequence[nn.Module], layout: str) -> None:
        super().__init__(columns)
        self.layout = layout

    def forward(self, x: Tensor) -> Tensor:
        """Pooled before they are put side by side, so that a column's share does not depend on how many there are."""
        return torch.cat([pool(column(x), self.layout) for column in self], 1)


def columns_of(net: Net) -> Columns | None:
    """The grown part; None for a network that never grew."""
    if COLUMNS not in net.blocks:
        return None
    found = net.blocks[COLUMNS]
    return found if isinstance(found, Columns) else None


def _copied(net: Net) -> Columns | None:
    """The grown part of a network that was made into towers afterwards, as one of them has it."""
    if COLUMNS not in net.blocks:
        return None
    block = net.blocks[COLUMNS]
    one = block[0] if isinstance(block, Tower) else None
    return one if isinstance(one, Columns) else None


def column_blocks(net: Net, first: str) -> dict[str, nn.Module]:
    """The blocks of column 0; of a network that never grew those that would be, from `first` on."""
    grown = columns_of(net)
    if grown is not None:
        return dict(grown[0].named_children())
    names = net.block_names
    return {name: net.blocks[name] for name in names[names.index(first) :]}


def growth(net: Net) -> list[dict[str, Any]]:
    """How the network grew, as JSON, oldest first; what `regrow` repeats."""
    grown = _copied(net) or columns_of(net)
    if grown is None:
        return []
    first = next(name for name, _ in grown[0].named_children())
    return [{"kind": "column", "first": first} for _ in range(len(grown) - 1)]


def put_column(net: Net, first: str, blocks: Mapping[str, nn.Module]) -> None:
    """Add a column of these blocks, in place; the first time the blocks from `first` on become column 0.

    Heads go on reading what they read: the columns that are there now. The caller has looked for `column_faults`.
    """
    names = list(column_blocks(net, first))
    assert list(blocks) == names, f"a column has blocks {names}"
    for name in net.heads:
        _read_what_is_there(net, net.head(name))
    grown = columns_of(net) or _gather(net, names)
    grown.append(nn.Sequential(OrderedDict(blocks)))
    width = net.info[COLUMNS].channels // (len(grown) - 1)
    net.info[COLUMNS] = BlockInfo("nc", width * len(grown))
    if net.source is not None:
        net.source = {**net.source, GROWN: growth(net)}


def _gather(net: Net, names: Sequence[str]) -> Columns:
    """Make these last blocks column 0."""
    last = net.info[names[-1]]
    grown = Columns([nn.Sequential(OrderedDict((name, net.blocks[name]) for name in names))], last.layout)
    for name in names:
        del net.blocks[name], net.info[name]
    net.blocks[COLUMNS] = grown.eval()
    net.info[COLUMNS] = BlockInfo("nc", last.channels)
    return grown


def _read_what_is_there(net: Net, head: LinearHead) -> None:
    if net.last in head.reads:
        width = sum(net.info[tap].channels for tap in head.reads)
        head.channels = (0, width) if head.channels is None else head.channels
        head.reads = tuple(COLUMNS if tap == net.last else tap for tap in head.reads)


def column_faults(net: Net, first: str) -> list[str]:
    """Why a column from block `first` on cannot be added, in words."""
    if net.towers is not None:
        return [f"the network has towers, of the tasks {', '.join(net.towers.tasks)}; grow it before it gets them"]
    grown = growth(net)
    if grown:
        started = grown[0]["first"]
        if first != started:
            return [f"the network has grown columns from block {started!r} on; later ones begin there too, not at {first!r}"]
        return _head_faults(net, [COLUMNS])
    if COLUMNS in net.blocks:
        return [f"the network has a block called {COLUMNS!r} of its own; rename it"]
    if first not in net.blocks:
        return [f"there is no block {first!r} to grow from; blocks are {net.block_names}"]
    return _head_faults(net, list(column_blocks(net, first)))


def _head_faults(net: Net, upper: Sequence[str]) -> list[str]:
    """Heads that could not go on reading what they read were the blocks `upper` to become columns, or one more of them."""
    found = []
    for name in net.heads:
        reads = net.head(name).reads
        if inside := [tap for tap in reads if tap in upper[:-1]]:
            found.append(
                f"head {name!r} reads blocks {inside}, which would lie within columns; grow from a block above them"
            )
        if upper[-1] in reads[:-1]:
            found.append(f"head {name!r} reads the last block before others; let it read {upper[-1]!r} last")
    return found


def regrow(net: Net, grown: Sequence[Mapping[str, Any]], make: Callable[[], Net] | None = None) -> None:
    """Repeat a growth on a network of the same blocks without heads, in place; the new columns hold no learned weights.

    make  gives a network like the one before it grew, whose blocks the next column takes; None: copies of column 0

    Raises BackboneError for a kind of growth or a block that this version does not know.
    """
    for one in grown:
        if one.get("kind") != "column":
            raise BackboneError(f"the network was grown by {one}, which this version of headstart does not know")
        first = str(one["first"])
        faults = column_faults(net, first)
        if faults:
            raise BackboneError(f"the network cannot be grown again as it was: {faults[0]}")
        blocks = column_blocks(copy.deepcopy(net) if make is None else make(), first)
        put_column(net, first, blocks)
