"""Fine-tune the top."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import PartialConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import supervised_stage, top_blocks


def partial(net: Net, task: Task, cfg: PartialConfig | None = None) -> Iterator[Stage]:
    """Fine-tune the top blocks at a fraction of the learning rate and the head at the full one; the rest stays frozen.

    The frozen part is computed once when its views are fixed. The head starts at zero, so the first answers are even.
    """
    cfg = cfg or PartialConfig()
    net.add_head(task.name, task.num_classes)
    trains = {f"blocks.{name}": cfg.scale for name in top_blocks(net, cfg.top)}
    yield supervised_stage("fine_tune_top", net, task, {**trains, f"heads.{task.name}": 1.0}, cfg.recipe)
