"""Memory aware synapses: weights that the old answers change with are held harder; no labels are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headstart.catalog.regularised import MasConfig
from headstart.data.task import Task
from headstart.engine.importance import mas_importance
from headstart.engine.past import Past
from headstart.engine.run import memo, under_way
from headstart.errors import ConfigError, problems
from headstart.nets.net import Net
from headstart.stage import Stage
from headstart.strategies.continual.common import new_loss, settle, stage, trains
from headstart.strategies.continual.held import (
    Weights,
    drawn,
    holding,
    not_known,
    only,
    remembered,
    warm_up,
)
from headstart.terms.base import Term


def mas(net: Net, task: Task, cfg: MasConfig | None = None, *, past: Past) -> Iterator[Stage]:
    """strength/2 * sum_i Omega_i (theta_i - theta*_i)^2 on all that trains and was there before (Aljundi et al. 2018).

    Omega is the mean over samples of |d ||f(x)||^2 / d theta| on the task's own images, f its logits, and adds up over
    tasks; theta* are the weights when the new task begins. The paper writes lambda for half of our strength.
    """
    cfg = cfg or MasConfig()
    problems(ConfigError, "mas cannot be done as asked:", cfg.faults())
    kept: dict[str, Any] = past.state.get("mas", {})
    for one in not_known("mas", kept, past):
        found = _importance(f"mas-{task.name}-before-{one.name}", net, one.task, one.heads, cfg, past)
        kept = accumulated(kept, one.name, found)
    place = settle("mas", net, task, past, cfg.learn)
    terms: dict[str, Term] = {"new": new_loss(task, place, cfg.learn)}
    if kept:
        yield from warm_up(net, task, place, cfg.learn, cfg.warmup_epochs, past)
        held = holding(net, place, cfg.learn, past, cfg.strength, kept)
        terms |= {"old": held} if held is not None else {}
    yield stage("mas", net, task, cfg.learn, trains(net, place, cfg.learn), terms)
    found = _importance(f"mas-{task.name}", net, task, (*place.beside, place.head), cfg, past)
    past.state["mas"] = accumulated(kept, task.name, found)


def accumulated(kept: dict[str, Any], name: str, found: Weights) -> dict[str, Any]:
    """The state with one task more, whose importances add to those before."""
    before: Weights = kept.get("importance", {})
    total = before | {one: before[one] + more if one in before else more for one, more in found.items()}
    return {"importance": total, "tasks": [*kept.get("tasks", []), name]}


def _importance(name: str, net: Net, task: Task, heads: tuple[str, ...], cfg: MasConfig, past: Past) -> Weights:
    """Omega of what `heads` answer about `task`, computed once per run."""
    count, seed = drawn(past, task, cfg.samples)
    past.spend("importance", forward=count, backward=count)

    def compute() -> Weights:
        found = mas_importance(net, task, heads, samples=cfg.samples, seed=seed, log=under_way(net).log)
        return only(found, remembered(net, past, heads))

    kept: Weights = memo(name, compute)
    return kept
