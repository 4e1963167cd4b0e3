"""Several heads as one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from headstart.errors import ConfigError
from headstart.nets.net import Net


def join_heads(net: Net, heads: Sequence[str], name: str) -> str:
    """Add a head called `name` that says what `heads` say side by side, each on the channels it reads; returns the name.

    Equal to them to rounding. Calibrations are left out: they belong to each head alone.
    Raises ConfigError for heads that read several towers.
    """
    parts = [net.head(one) for one in heads]
    towers = {one.tower for one in parts}
    if len(towers) > 1:
        raise ConfigError(f"heads {list(heads)} read several towers, and one head reads one; join heads of one tower")
    reads = tuple(block for block in net.block_names if any(block in one.reads for one in parts))
    first = dict(zip(reads, np.cumsum([0, *(net.info[block].channels for block in reads)]).tolist(), strict=False))
    linear = net.add_head(name, sum(one.num_classes for one in parts), reads, tower=towers.pop()).linear
    at = 0
    with torch.no_grad():
        for one in parts:
            columns = [first[block] + k for block in one.reads for k in range(net.info[block].channels)]
            columns = columns if one.channels is None else columns[slice(*one.channels)]
            rows = slice(at, at + one.num_classes)
            linear.weight[rows].index_add_(1, torch.tensor(columns, device=net.device), one.linear.weight)
            linear.bias[rows] = one.linear.bias
            at += one.num_classes
    return name
