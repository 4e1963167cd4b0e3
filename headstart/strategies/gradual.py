"""Gradual unfreezing."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.strategies import GradualConfig
from headstart.data.task import Task
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.common import layerwise, supervised_stage, weighted_blocks


def gradual(net: Net, task: Task, cfg: GradualConfig | None = None) -> Iterator[Stage]:
    """Train the head alone, then unfreeze blocks from the top, some more in every stage (Howard & Ruder 2018).

    Optimiser memory of what trained before is carried on. Each stage has its share of the epochs and its own fall of the
    learning rate; the paper unfreezes one layer per epoch and shapes the rate over the whole training.
    """
    cfg = cfg or GradualConfig()
    net.add_head(task.name, task.num_classes)
    names = weighted_blocks(net)
    rates = layerwise(net, cfg.scale, cfg.decay)
    stages = max(min(cfg.stages, len(names) + 1), 2)
    begun = False
    for number in range(stages):
        open_blocks = names[len(names) - round(len(names) * number / (stages - 1)) :]
        trains = {f"blocks.{name}": rates[f"blocks.{name}"] for name in open_blocks} | {f"heads.{task.name}": 1.0}
        epochs = cfg.recipe.epochs * (number + 1) // stages - cfg.recipe.epochs * number // stages
        if epochs:
            yield supervised_stage(f"unfreeze_{number}", net, task, trains, cfg.recipe, epochs=epochs, carry=begun)
            begun = True
