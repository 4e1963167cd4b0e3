"""A new head on what there is, found by a solver: nothing old is touched."""

from __future__ import annotations

from collections.abc import Iterator

from headstart.catalog.continual import NewHeadConfig
from headstart.data.task import Task
from headstart.engine.past import Past
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Solve
from headstart.strategies.common import class_weights
from headstart.strategies.continual.common import settle
from headstart.strategies.early_probe import depths_of


def new_head(net: Net, task: Task, cfg: NewHeadConfig | None = None, *, past: Past) -> Iterator[Solve]:
    """Keep every block and every old head as it is, and solve for the new task's head on features of frozen blocks.

    It reads the last block, one at another depth, or the depth that cross-validation on the new images finds best: early
    features are more general. Of `learn` only `class_weights` is used, for nothing is trained by gradient steps. The first
    task is learned in the same way.
    """
    cfg = cfg or NewHeadConfig()
    depths = depths_of(net)
    problems(ConfigError, "new_head cannot be done as asked:", [*cfg.faults(), *_depth_faults(net, cfg.depth)])
    sets: dict[str, tuple[tuple[str, ...], ...]] = {"last": (), "best": tuple((name,) for name in depths)}
    sets["all"] = (tuple(depths),)
    place = settle("new_head", net, task, past, cfg.learn)
    weights = class_weights(task) if cfg.learn.recipe.class_weights else None
    reads = sets.get(cfg.depth, ((cfg.depth,),))
    yield Solve("new_head", task, place.head, reads, cfg.solver, cfg.penalties, cfg.folds, weights)


def _depth_faults(net: Net, depth: str) -> list[str]:
    if depth in ("last", "best", "all") or depth in net.blocks:
        return []
    return [f"depth={depth}: neither last, best nor all, nor a block; blocks are {', '.join(net.block_names)}"]
