"""Experience replay."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.rehearsal import ReplayConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.memories import after_task, check_room, draws, heads_of, held_before, with_old
from headstart.terms.replay import Replay


def replay(net: Net, task: Task, cfg: ReplayConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Train everything on the new task and, at every step, on as many stored samples of the old ones.

    Mean cross-entropy of both, side by side (Ratcliff 1990; Chaudhry et al. 2019, "tiny episodic memories", whose memory
    follows the stream: here it changes when a task is done, so that a task replays only those before it). Old heads train
    with the blocks. A stored sample counts within its head where the task is known, and over all classes otherwise.
    """
    cfg = cfg or ReplayConfig()
    check_room("replay", task, past, capacity=cfg.capacity, max_bytes=cfg.max_bytes)
    place = settle("replay", net, task, past, cfg.learn)
    past.memory = with_old(cfg.policy, net, past, cfg.capacity)
    new = {"new": new_loss(task, place, cfg.learn)}
    made = stage("replay", net, task, cfg.learn, trains(net, place, cfg.learn, old_heads=True), new)
    held = held_before(past, task, cfg.capacity)
    if len(held):
        old = Replay(task.name, held, heads_of(net, place, past), draws(past, made, cfg.replay_size), weight=cfg.weight)
        made = replace(made, terms={**new, "old": old})
    else:  # nothing would hold the old heads in place
        made = replace(made, trains=trains(net, place, cfg.learn))
    yield made
    past.memory = after_task(cfg.policy, net, made.task, past, cfg.capacity)
