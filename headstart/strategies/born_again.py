"""The same architecture, taught by itself."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

from headstart.catalog.strategies import BornAgainConfig
from headstart.data.task import Task
from headstart.errors import ConfigError, problems
from headstart.nets.initialise import reinitialise
from headstart.nets.net import Net
from headstart.seeding import seed_for
from headstart.stage import Stage
from headstart.strategies.common import class_weights, supervised_stage, weighted_blocks
from headstart.strategies.teaching import answers_on
from headstart.terms.base import Term
from headstart.terms.distill import Distill
from headstart.terms.supervised import Supervised
from headstart.terms.teacher import Live


def born_again(net: Net, task: Task, cfg: BornAgainConfig | None = None) -> Iterator[Stage]:
    """Train, then draw all weights anew and learn from what the network before answers, again and again.

    The first generation learns from labels alone, from the weights it has; every later one has the one before as its
    teacher (born-again networks, Furlanello et al. 2018). The last one is what stays. The paper's loss has no temperature
    and leaves the labels out or weighs them alike; here it is the one of `distill`.
    """
    cfg = cfg or BornAgainConfig()
    problems(ConfigError, "born_again cannot be done as asked:", cfg.faults())
    names = weighted_blocks(net)
    trains = {f"blocks.{name}": 1.0 for name in names} | {f"heads.{task.name}": 1.0}
    for generation in range(cfg.generations + 1):
        teacher = Live(copy.deepcopy(net), task.name) if generation else None
        if generation:
            reinitialise(net, names, seed_for(cfg.seed, "born-again", generation))
        net.add_head(task.name, task.num_classes)
        stage = supervised_stage(f"generation_{generation}", net, task, trains, cfg.recipe)
        yield stage if teacher is None else replace(stage, terms=_terms(net, task, cfg, stage, teacher))


def _terms(net: Net, task: Task, cfg: BornAgainConfig, stage: Stage, teacher: Live) -> dict[str, Term]:
    terms: dict[str, Term] = {}
    if cfg.share < 1:
        weights = class_weights(task) if cfg.recipe.class_weights else None
        terms["hard"] = Supervised(task.name, smoothing=cfg.recipe.smoothing, class_weights=weights, share=1 - cfg.share)
    if cfg.share > 0:
        (answers,) = answers_on(stage, net, [teacher], live=int(not cfg.record))
        terms["soft"] = Distill(task.name, answers, temperature=cfg.temperature, weight=cfg.share)
    return terms
