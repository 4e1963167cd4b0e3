"""Averaged Gradient Episodic Memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.balance.agem import AGem
from headstart.catalog.rehearsal import AgemConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.memories import after_task, check_room, draws, heads_of, held_before, with_old
from headstart.terms.replay import Replay


def agem(net: Net, task: Task, cfg: AgemConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Train on the new task, every gradient projected where it points against that of stored samples.

    Chaudhry et al. 2019: a step may not raise the mean loss of a batch drawn from all old tasks, to first order; the stored
    samples are not learned from. The optimiser's momentum and weight decay come after the projection, as in the authors'
    code. Their memory takes equal numbers of each class at random, which is `class_balanced`.
    """
    cfg = cfg or AgemConfig()
    check_room("agem", task, past, capacity=cfg.capacity, max_bytes=cfg.max_bytes)
    place = settle("agem", net, task, past, cfg.learn)
    past.memory = with_old(cfg.policy, net, past, cfg.capacity)
    new = {"new": new_loss(task, place, cfg.learn)}
    held = held_before(past, task, cfg.capacity)
    made = stage("agem", net, task, cfg.learn, trains(net, place, cfg.learn, old_heads=bool(len(held)) or None), new)
    if len(held):
        old = Replay(task.name, held, heads_of(net, place, past), draws(past, made, cfg.replay_size))
        made = replace(made, terms={**new, "memory": old}, balance=AGem("memory"))
    yield made
    past.memory = after_task(cfg.policy, net, made.task, past, cfg.capacity)
