"""Fine-tune everything."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import FullConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import layerwise, supervised_stage


def full(net: Net, task: Task, cfg: FullConfig | None = None) -> Iterator[Stage]:
    """Fine-tune every block at a tenth (or a hundredth) of the learning rate and the head at the full one.

    With `decay` below one the rate falls from block to block towards the input, because lower blocks are more general.
    """
    cfg = cfg or FullConfig()
    net.add_head(task.name, task.num_classes)
    trains = {**layerwise(net, cfg.scale, cfg.decay), f"heads.{task.name}": 1.0}
    yield supervised_stage("fine_tune", net, task, trains, cfg.recipe)
