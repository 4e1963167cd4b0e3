"""Heads on earlier layers."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import EarlyProbeConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Solve
from headstart.strategies.common import class_weights, weighted_blocks


def early_probe(net: Net, task: Task, cfg: EarlyProbeConfig | None = None) -> Iterator[Solve]:
    """Keep the backbone as it is and read it earlier: at one depth, or at all depths side by side.

    Early features are more general, which helps when the target is unlike the source. Reading all depths is the idea of
    Head2Toe (Evci et al. 2022) without its selection of features: here the ridge penalty does the choosing, and every
    block contributes its spatial average.
    """
    cfg = cfg or EarlyProbeConfig()
    weights = class_weights(task) if cfg.class_weights else None
    depths = depths_of(net)
    sets: tuple[tuple[str, ...], ...] = ((cfg.depth,),)
    if cfg.depth in ("all", "best"):
        sets = (tuple(depths),) if cfg.depth == "all" else tuple((name,) for name in depths)
    net.add_head(task.name, task.num_classes, sets[-1])
    yield Solve("early_probe", task, task.name, sets, cfg.head, cfg.penalties, cfg.folds, weights)


def depths_of(net: Net) -> list[str]:
    """The blocks a probe by depth reads: those with weights, up to the network's last block.

    A last block without weights only pools what the one before it says: it is read in that one's place, not beside it.
    """
    names = weighted_blocks(net)
    return names if names[-1] == net.last else [*names[:-1], net.last]
