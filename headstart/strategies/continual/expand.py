"""Network expansion: new columns of blocks beside the old ones, which stay as they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.continual import ExpandConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.columns import COLUMNS, column_faults
from headstart.nets.grow import add_column, default_first
from headstart.nets.net import Net
from headstart.nets.norms import folded_away
from headstart.seeding import seed_for
from headstart.stage import Stage, Train
from headstart.strategies.continual.common import new_loss, settle, stage, trains


def expand(net: Net, task: Task, cfg: ExpandConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """Grow a column of upper blocks for the new task, and train it and the new head; all that was there stays frozen.

    The column starts as a copy of the old network's upper blocks (or drawn anew) and reads the same lower blocks; the new
    head reads the old columns and the new one. Old heads read what they read, so their answers stay the same to the bit.
    The first task is simply learned, as fine-tuning does.

    This is no progressive network (Rusu et al. 2016): there each layer of a new column reads all layers below it in the
    old columns; here columns meet at the head alone, and share the blocks below the first of them.
    """
    cfg = cfg or ExpandConfig()
    problems(ConfigError, "expand cannot be done as asked:", cfg.faults())
    first = cfg.first or default_first(net)
    problems(ConfigError, "expand cannot be done as asked:", column_faults(net, first))
    place = settle("expand", net, task, past, cfg.learn)
    if not past.tasks:
        terms = {"new": new_loss(task, place, cfg.learn)}
        yield stage("learn", net, task, cfg.learn, trains(net, place, cfg.learn), terms)
        return
    column = add_column(net, first, start=cfg.start, seed=seed_for(past.seed, "column", task.name))
    net.add_head(place.head, task.num_classes)  # once more, now that there is a column to read
    what: dict[str, float | Train] = {f"blocks.{column}": _rule(net, cfg), f"heads.{place.head}": 1.0}
    terms = {"new": new_loss(task, place, cfg.learn)}
    if cfg.warmup_epochs:
        alone = trains(net, place, replace(cfg.learn, scale=0.0))
        yield stage("warm_up", net, task, cfg.learn, alone, terms, epochs=cfg.warmup_epochs)
    yield stage("expand", net, task, cfg.learn, what, terms)


def _rule(net: Net, cfg: ExpandConfig) -> Train:
    """A copy trains as shared blocks do; what was drawn anew at the full rate, with statistics of its own."""
    if cfg.start == "fresh":
        return Train(1.0, norm="train")
    frozen = cfg.learn.norm == "frozen" or folded_away(net.blocks[COLUMNS])
    return Train(cfg.learn.scale, norm="frozen" if frozen else "train")
