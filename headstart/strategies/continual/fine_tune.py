"""The new task alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.continual import FineTuneConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains


def fine_tune(net: Net, task: Task, cfg: FineTuneConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Train shared blocks and the new head on the new task, from the old weights; nothing holds the old skill.

    With `learn.top` only the top blocks change (fine-tuning from block k on). Old heads stay as they are, unless the new
    task's loss is over the classes of all heads.
    """
    cfg = cfg or FineTuneConfig()
    place = settle("fine_tune", net, task, past, cfg.learn)
    if cfg.warmup_epochs:
        alone = replace(cfg.learn, scale=0.0)
        terms = {"new": new_loss(task, place, cfg.learn)}
        yield stage("warm_up", net, task, cfg.learn, trains(net, place, alone), terms, epochs=cfg.warmup_epochs)
    what = trains(net, place, cfg.learn)
    yield stage("fine_tune", net, task, cfg.learn, what, {"new": new_loss(task, place, cfg.learn)})
