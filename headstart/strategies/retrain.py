"""Draw weights anew."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import RetrainConfig
from headstart.data.task import Task
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.strategies.common import supervised_stage, top_blocks, weighted_blocks


def retrain(net: Net, task: Task, cfg: RetrainConfig | None = None) -> Iterator[Stage]:
    """Throw weights away and learn them again at the full rate: all of them, or only the top blocks.

    The blocks below keep their weights, frozen or at the rate `below`. Starting from nothing is also the honest baseline
    for every transfer: what does the source network bring at all?
    """
    cfg = cfg or RetrainConfig()
    net.add_head(task.name, task.num_classes)
    names = weighted_blocks(net)
    fresh = names if cfg.top is None else top_blocks(net, cfg.top)
    reinitialise(net, fresh, seed_for(cfg.seed, "retrain"))
    trains = {f"blocks.{name}": 1.0 for name in fresh} | {f"heads.{task.name}": 1.0}
    if cfg.below > 0:
        trains |= {f"blocks.{name}": cfg.below for name in names if name not in fresh}
    yield supervised_stage("retrain", net, task, trains, cfg.recipe)
