"""Make a network larger, the old part staying what it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Literal

from torch import nn

from headstart.errors import ConfigError, problems
from headstart.nets.columns import COLUMNS, GROWN, column_blocks, column_faults, columns_of, growth, put_column
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net, count_parameters
from headstart.nets.sources import from_source, ready


def default_first(net: Net) -> str:
    """Where columns begin if nobody says: as the network has grown already, else with its upper half of weighted blocks."""
    grown = growth(net)
    if grown:
        return str(grown[0]["first"])
    names = [name for name, block in net.blocks.items() if count_parameters(block)]
    if not names:
        raise ConfigError("the network has no blocks with weights, so nothing can be grown beside them")
    return names[len(names) // 2]


def add_column(net: Net, first_block: str, *, start: Literal["copy", "fresh"] = "copy", seed: int = 0) -> str:
    """Put a second chain of the blocks from `first_block` on beside the first, in place; returns its name (`columns.1`).

    start  `copy`: of column 0, the old network's; `fresh`: weights drawn anew from `seed`

    The blocks from `first_block` on become column 0 of one block, `columns`, that runs all columns on the same input and
    puts their pooled outputs side by side. Heads that are there read column 0 alone and answer as before, to the bit; a
    head added afterwards reads all columns. Done again, another column is added. `save_net` and `load_net` need no code
    for it. Unlike progressive networks (Rusu et al. 2016) columns do not read one another below the head.

    Raises ConfigError for a block that is not there, or is not where earlier columns began, and for heads that read within
    a column; BackboneError for a network given as a module whose weights cannot be drawn anew. Nothing is changed then.
    """
    faults = column_faults(net, first_block)
    if start not in ("copy", "fresh"):
        faults.append(f"start={start!r} is not one of 'copy', 'fresh'")
    problems(ConfigError, "the network cannot grow as asked:", faults)
    old = column_blocks(net, first_block)
    new = copy.deepcopy(old) if start == "copy" else _fresh(net, old, seed)
    put_column(net, first_block, new)
    grown = columns_of(net)
    assert grown is not None
    grown[-1].to(net.device)
    ready(net)
    return f"{COLUMNS}.{len(grown) - 1}"


def _fresh(net: Net, old: Mapping[str, nn.Module], seed: int) -> dict[str, nn.Module]:
    """Blocks like `old` with weights as the network's library draws them, or its layers themselves."""
    if net.source is not None:
        other = from_source({key: value for key, value in net.source.items() if key != GROWN}, seed)
        return {name: other.blocks[name] for name in old}
    alone = Net({name: copy.deepcopy(block) for name, block in old.items()}, net.input, {}, None).cpu()
    reinitialise(alone, list(old), seed)
    return dict(alone.blocks.items())
